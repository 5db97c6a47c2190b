"""How a database is reached: engines, transactions, and errors of one line.

A read sees one moment; a write is one transaction that is retried where the database says it certainly did not
land, and whose lost answer at COMMIT is kept apart from a failure. A connection is opened for one transaction, or for
those of one call, and closed after it, so a Registry can be used across a fork and owns nothing that must be closed.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError

from raie.registry.db import sqlite_files
from raie.registry.db.shown_url import is_secret_key, secrets_in, shown, shown_in
from raie.registry.db.tables import SCHEMA_REVISION
from raie.registry.deadline import timeout_of
from raie.registry.errors import (
    AccessDenied,
    CommitStateUnknown,
    DatabaseBusy,
    DatabaseFull,
    DatabaseUnreachable,
    InvalidValue,
    RegistryError,
    SchemaMismatch,
)

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

__all__ = [
    "Database",
    "check_schema",
    "chunked",
    "clock_skew_s",
    "connected",
    "missing_file",
    "open_engine",
    "reading",
    "upsert",
    "write",
]

_log = logging.getLogger(__name__)

T = TypeVar("T")

Database: TypeAlias = Engine | Connection
"""Where a transaction runs: on a connection of its own, or on the one that a whole call shares."""

SQLITE_TIMEOUT_S = 15.0
_EXAMPLES = "such as sqlite:///raie.db or postgresql://user@host/name"
WRITE_ATTEMPTS = 8
IN_ONE_STATEMENT = 500
_SERIALISATION = {"40001", "40P01"}
_CONNECTION_STATES = ("08", "57P")
"""Of a connection that a server, or a pooler before it, ended."""
_POSTGRES = {"55P03": DatabaseBusy, "57014": DatabaseBusy, "53100": DatabaseFull, "25006": DatabaseFull}
_DENIED = "42501"
_READ_ONLY_STATE = "25006"
_SQLITE_READ_ONLY = 8
_SQLITE = {5: DatabaseBusy, 6: DatabaseBusy, 8: DatabaseFull, 13: DatabaseFull}
_SQLITE_IOERR = 10
_SQLITE_BROKEN = {_SQLITE_IOERR, 11, 14, 26}
_SQLITE_NO_ROOM_TO_OPEN = 4874
"""SQLITE_IOERR_SHMSIZE: the disk has no room for the index of the write-ahead log, which every connection needs."""
_ADVICE_FILE = "check the file, its permissions and the space on its disk"
_READ_ONLY = (
    "reading commands work; to write, name the primary server, or a login or a file that may be written, in "
    "RAIE_DATABASE_URL or raie.toml"
)
_ADVICE = {
    DatabaseUnreachable: "check that it runs, its address and its credentials",
    DatabaseBusy: "another program holds its lock, or it is slow; try again later, or add ?timeout=SECONDS to its URL",
    DatabaseFull: "free disk space or make it writable, then try again",
}


def open_engine(database_url: str, statement_s: float | None = None) -> Engine:
    """An engine for `sqlite:///file` or `postgresql://...` that opens its connections lazily.

    `?timeout=SECONDS` in the URL says how long SQLite waits for a lock (15), and anybody for a statement of PostgreSQL;
    statement_s: the latter where the URL does not say it, None for 30.
    Raises InvalidValue for any other URL. Every later failure of the database is a DatabaseUnreachable.
    """
    url = _parse(database_url)
    timeout_s = timeout_of(url.query["timeout"]) if "timeout" in url.query else None
    url = url.difference_update_query(["timeout"])
    if url.drivername == "sqlite":
        engine = create_engine(url, poolclass=NullPool)
        event.listen(engine, "do_connect", sqlite_files.connector)
        event.listen(engine, "connect", sqlite_files.preparer(timeout_s or SQLITE_TIMEOUT_S))
        event.listen(engine, "begin", _begin_sqlite)
    else:
        # psycopg takes a moment to import, and an SQLite file does not need it.
        from raie.registry.db import postgres

        timeout_s = timeout_s or statement_s or postgres.TIMEOUT_S
        arguments, begin = postgres.arguments(timeout_s, url.query), postgres.beginner(timeout_s, url.query)
        # An engine shows its URL, with every parameter in it.
        url = url.difference_update_query([*postgres.MOVED, *filter(is_secret_key, url.query)])
        engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
        event.listen(engine, "do_connect", postgres.connector(timeout_s))
        event.listen(engine, "begin", begin)
    event.listen(engine, "handle_error", _translate_for(database_url))
    return engine


def _parse(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        # The text may hold a password that did not parse as one, so it is not repeated.
        raise InvalidValue(f"Expected a database URL {_EXAMPLES}, found another text") from None
    if url.drivername == "sqlite" and url.database and url.database != ":memory:":
        return url
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    raise InvalidValue(f"Expected a database URL {_EXAMPLES}, found {url.drivername}:")


def _begin_sqlite(connection: Connection) -> None:
    """Writers take the lock at once: going from reading to writing fails under contention instead of waiting."""
    reads = connection.get_execution_options().get("reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """One connection for all the transactions of a call, which takes it where it takes an engine.

    To open and close one takes longer than a commit: SQLite empties its log when the last connection is closed.
    """
    with engine.connect() as connection:
        yield connection


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """A connection on which every query sees the database at one moment."""
    with _on(database, reads=True) as connection:
        yield connection


def write(database: Database, step: Callable[[Connection], T]) -> T:
    """The result of step(connection), run in one transaction and committed.

    The step may run more than once: a serialisation failure or deadlock certainly did not land and is retried.
    Raises CommitStateUnknown where the answer to COMMIT was lost, and whatever the step raises.
    """
    for attempt in range(WRITE_ATTEMPTS):
        try:
            with _on(database, reads=False) as connection:
                result = step(connection)
                _commit(connection)
                return result
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _SERIALISATION:
                raise
            _log.warning(
                "write transaction met a conflict (SQLSTATE %s); attempt %d of %d",
                getattr(error.orig, "sqlstate", None),
                attempt + 1,
                WRITE_ATTEMPTS,
            )
            time.sleep(random.uniform(0, 0.01 * 2**attempt))
    raise DatabaseBusy(
        f"Expected a transaction to land within {WRITE_ATTEMPTS} attempts, found a conflict in each"
    )


@contextmanager
def _on(database: Database, *, reads: bool) -> Iterator[Connection]:
    """A connection for one transaction: a new one, or the one that is given, in no transaction afterwards."""
    options: dict[str, Any] = {"reads": reads}
    if database.dialect.name == "postgresql":
        level = "REPEATABLE READ" if reads else "READ COMMITTED"
        # None, not False: where the server or the role makes sessions read-only, that is meant.
        options |= {"isolation_level": level, "postgresql_readonly": reads or None}
    if isinstance(database, Engine):
        with database.connect() as connection, _unwritten(connection):
            yield connection.execution_options(**options)
        return
    try:
        with _unwritten(database):
            yield database.execution_options(**options)
    finally:
        # Where the connection is broken, the error that showed it says more than that of this rollback.
        with suppress(DatabaseUnreachable):
            database.rollback()


@contextmanager
def _unwritten(connection: Connection) -> Iterator[None]:
    """Raises DatabaseBusy where somebody wrote an SQLite file that is read without a lock, and so of two moments."""
    driver = connection.connection.dbapi_connection
    try:
        yield
    except DatabaseUnreachable:
        if not (isinstance(driver, sqlite_files.ReadOnlyConnection) and driver.was_written()):
            raise
    if isinstance(driver, sqlite_files.ReadOnlyConnection) and driver.was_written():
        raise DatabaseBusy(
            f"Expected {driver.file} to stay as it is while it is read, found that somebody wrote it; repeat"
        )


def upsert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say what to do on a conflict: both databases have it, each under its own name."""
    # Each dialect is imported where a database of its kind is written to: PostgreSQL's alone costs every command 40 ms.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def chunked(values: list[T], size: int = IN_ONE_STATEMENT) -> Iterator[list[T]]:
    """The values in lists short enough for the parameters of one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _commit(connection: Connection) -> None:
    try:
        connection.commit()
    except DatabaseUnreachable as lost:
        # SQLite may have written all of it before an I/O error.
        half_written = getattr(lost.__cause__, "sqlite_errorcode", 0) & 0xFF == _SQLITE_IOERR
        if isinstance(lost, DatabaseBusy | DatabaseFull) and not half_written:
            raise
        raise CommitStateUnknown(
            f"Expected an answer to COMMIT, found none: it may have landed; delete nothing and retry ({lost})"
        ) from lost


def missing_file(engine: Engine) -> str | None:
    """The path of an SQLite database whose file is not there; None for any other."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    return file if file is not None and not Path(file).exists() else None


def check_schema(engine: Engine, then: Callable[[Connection], T]) -> T:
    """What then(connection) gives, once the database is known to be at this package's revision.

    Raises SchemaMismatch where it is at another, and DatabaseUnreachable where there is none.
    """
    # SQLite would make an empty database of a mistyped path.
    if (file := missing_file(engine)) is not None:
        raise DatabaseUnreachable(f"Expected a database at {file}, found no file; `raie init` makes one")
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            raise SchemaMismatch("Expected a registry in this database, found none; run `raie db upgrade`")
        revisions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        _require_revision(revisions)
        return then(connection)


def _require_revision(revisions: Sequence[str]) -> None:
    if revisions != [SCHEMA_REVISION]:
        named = ", ".join(revisions) or "none"
        # Revisions are numbered, so that a newer one is known for newer where its script is not there.
        newer = named > SCHEMA_REVISION and bool(revisions)
        advice = (
            "it is newer: install the raie that wrote it, or a later one" if newer else "run `raie db upgrade`"
        )
        raise SchemaMismatch(f"Expected the database at revision {SCHEMA_REVISION}, found {named}; {advice}")


def _translate_for(database_url: str) -> Callable[[ExceptionContext], RegistryError | None]:
    """A hook that answers a driver's error with a RegistryError where the database is at fault."""
    address, secrets = shown(database_url), secrets_in(database_url)
    in_a_file = database_url.startswith("sqlite")

    def translate(context: ExceptionContext) -> RegistryError | None:
        detail = _one_line(context.original_exception, secrets)
        if getattr(context.original_exception, "sqlstate", None) == _DENIED:
            return AccessDenied(
                f"Expected the right to do this in the database {address}, found: {_primary(context, detail)}; ask its "
                "owner for the role that has it"
            )
        if _is_unfit(context):
            return InvalidValue(
                f"Expected names and numbers that the database can hold, found: {detail}; correct them"
            )
        kind = _kind(context)
        if kind is None:
            return None
        if context.is_disconnect and context.execution_context is not None:
            # SQLAlchemy leaves the cursor to the garbage collector, and a server-side one then complains.
            context.execution_context.cursor.close()
        if _is_read_only(context):
            return DatabaseFull(
                f"Expected a database that may be written, found {address}: {detail}; {_READ_ONLY}"
            )
        advice = _ADVICE_FILE if in_a_file and kind is DatabaseUnreachable else _ADVICE[kind]
        return kind(f"Expected the database {address} to answer, found: {detail}; {advice}")

    return translate


def _primary(context: ExceptionContext, otherwise: str) -> str:
    """What the server says without its context, which may hold a whole statement."""
    diagnosis = getattr(context.original_exception, "diag", None)
    return getattr(diagnosis, "message_primary", None) or otherwise


def _is_read_only(context: ExceptionContext) -> bool:
    error = context.original_exception
    code = getattr(error, "sqlite_errorcode", 0)
    return getattr(error, "sqlstate", None) == _READ_ONLY_STATE or code & 0xFF == _SQLITE_READ_ONLY


def _is_unfit(context: ExceptionContext) -> bool:
    """Whether a value cannot be stored: half a character, a NUL on PostgreSQL, a number of more than 64 bits."""
    unfit = isinstance(context.original_exception, UnicodeEncodeError | OverflowError)
    return unfit or isinstance(context.sqlalchemy_exception, DataError)


def _kind(context: ExceptionContext) -> type[DatabaseUnreachable] | None:
    error = context.original_exception
    if isinstance(error, RegistryError):
        return None
    code = getattr(error, "sqlite_errorcode", None)
    if code == _SQLITE_NO_ROOM_TO_OPEN:
        return DatabaseFull
    if code is not None:
        return _SQLITE.get(code & 0xFF, DatabaseUnreachable if code & 0xFF in _SQLITE_BROKEN else None)
    state = getattr(error, "sqlstate", None) or ""
    if state in _POSTGRES:
        return _POSTGRES[state]
    if state in _SERIALISATION and _reads(context):
        # A replica cancels a query whose rows it must remove; nobody tries a read again.
        return DatabaseBusy
    connecting = context.connection is None and isinstance(context.sqlalchemy_exception, DBAPIError)
    broke = state.startswith(_CONNECTION_STATES) or context.is_disconnect
    return DatabaseUnreachable if broke or connecting else None


def _reads(context: ExceptionContext) -> bool:
    return context.connection is not None and bool(context.connection.get_execution_options().get("reads"))


def _one_line(error: BaseException, secrets: Iterable[str]) -> str:
    line = shown_in(re.sub(r"\s+", " ", str(error)).strip())
    for secret in secrets:
        line = line.replace(secret, "***")
    return line if len(line) <= 300 else f"{line[:297]}..."


def clock_skew_s(engine: Engine) -> float | None:
    """How far the database's clock is ahead of this machine's, in seconds; None where it is the same clock.

    Args:
        engine: of the registry's database.

    Raises:
        DatabaseUnreachable: where there is no answer.
    """
    if engine.dialect.name != "postgresql":
        return None
    with reading(engine) as connection:
        before = time.time()
        there = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        return there - (before + time.time()) / 2
