"""How PostgreSQL is reached and waited for. The only file that imports psycopg; imported where a URL names PostgreSQL.

Who ends a wait: for a connection, psycopg; for a lock or a statement, the server, which then says so; for a host that
is gone, the TCP timers of both sides; and for everything else the deadline in here: a pooler, a firewall or a stopped
server that keeps the connection and says nothing answers every TCP probe.

Nothing is kept in a session, because behind a pooler in transaction mode the next transaction may run in another one:
no startup options, no prepared statements. What a transaction needs is set in it, by its first statement.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping
from math import ceil
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from sqlalchemy import Connection

from raie.registry.errors import InvalidValue, SchemaMismatch

__all__ = ["MOVED", "TIMEOUT_S", "arguments", "beginner", "connector"]

T = TypeVar("T")

TIMEOUT_S = 30.0
CONNECT_S = 5
LOCK_S = 15.0
GONE_S = 30
"""Either side takes the other for gone when the network has let nothing through for so long."""
IDLE_S = 600
"""The server ends a transaction whose client lives and asks nothing: a stopped process must not keep its locks."""

MOVED = ("client_encoding", "options", "prepare_threshold")
"""Parameters of a URL that psycopg is not given: they would be of the session, or are always the same here."""

_PROBES = {"idle": GONE_S // 2, "interval": GONE_S // 6, "count": 3}
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,62}")
# Operators and functions by their whole names: until this has run, somebody else's of the same name could be found. A
# query over the catalogue says the same, and costs each new connection a millisecond more.
_SEARCH_PATH = """
SELECT pg_catalog.set_config('search_path', coalesce(
  (SELECT pg_catalog.quote_ident(s::pg_catalog.text) OPERATOR(pg_catalog.||) ', pg_temp'
   FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS s
   WHERE pg_catalog.to_regclass(pg_catalog.quote_ident(s::pg_catalog.text) OPERATOR(pg_catalog.||) '.alembic_version')
     IS NOT NULL LIMIT 1),
  pg_catalog.quote_ident(pg_catalog.current_schema()::pg_catalog.text) OPERATOR(pg_catalog.||) ', pg_temp',
  pg_catalog.current_setting('search_path')), true)"""


def arguments(timeout_s: float, query: Mapping[str, Any]) -> dict[str, Any]:
    """What psycopg.connect is given: our values, and before them what the URL's query says.

    Raises InvalidValue for a parameter that libpq does not know, and for one that is there twice.
    """
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    for name, value in query.items():
        if name not in known and name not in MOVED:
            raise InvalidValue(
                f"Expected parameters of libpq in the database URL, found ?{name[:60]}=; correct it"
            )
        if not isinstance(value, str) and name not in ("host", "port"):
            raise InvalidValue(f"Expected ?{name}= once in the database URL, found it {len(value)} times")
    client = {
        "connect_timeout": min(CONNECT_S, ceil(timeout_s)),
        "application_name": "raie",
        "tcp_user_timeout": 1000 * GONE_S,
    }
    client |= {f"keepalives_{name}": value for name, value in _PROBES.items()}
    given = {name: value for name, value in query.items() if name not in (*MOVED, "host", "port")}
    # Any other encoding of a client would hand over bytes where text is expected, or refuse half of all characters.
    return client | given | {"client_encoding": "utf8", "prepare_threshold": None}


def beginner(timeout_s: float, query: Mapping[str, Any]) -> Callable[[Connection], None]:
    """A handler of SQLAlchemy's begin that sets what a transaction needs, for this transaction alone.

    Time limits, and the search path: the schema of the registry, and temporary tables last, so that nobody's table or
    function in another schema is taken for ours. Settings in the URL's `options` come before these.
    Raises InvalidValue for options that are not of the form `-c NAME=VALUE`.
    """
    limits = {
        # Both end before the deadline: the server's own refusal says more than silence.
        "lock_timeout": min(LOCK_S, 0.5 * timeout_s),
        "statement_timeout": 0.8 * timeout_s,
        "idle_in_transaction_session_timeout": IDLE_S,
        # A client that is gone with its machine or its network: by itself the server keeps its locks for hours.
        "tcp_user_timeout": GONE_S,
    }
    settings = {name: f"{1000 * seconds:.0f}" for name, seconds in limits.items()}
    settings |= {f"tcp_keepalives_{name}": str(value) for name, value in _PROBES.items()}
    settings |= _settings_of(str(query.get("options", "")))
    calls = [
        f"pg_catalog.set_config({_literal(name)}, {_literal(value)}, true)" for name, value in settings.items()
    ]
    # Not what another client of a pooler has left in the session.
    path = "" if "search_path" in settings else "SET LOCAL search_path TO DEFAULT; "
    script = f"{path}SELECT {', '.join(calls)}; {_SEARCH_PATH}".replace("%", "%%")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(script)

    return begin


def _settings_of(options: str) -> dict[str, str]:
    """The settings in libpq's `options`: `-c name=value`, `-cname=value` and `--name=value`, with \\ before a space."""
    words = [re.sub(r"\\(.)", r"\1", argument) for argument in re.findall(r"(?:\\.|[^\s\\])+", options)]
    settings: dict[str, str] = {}
    while words:
        argument = words.pop(0)
        if argument.startswith("--"):
            text = argument[2:]
        elif argument.startswith("-c"):
            text = argument[2:] or (words.pop(0) if words else "")
        else:
            text = ""
        name, equals, value = text.partition("=")
        name = name.replace("-", "_")
        if not equals or not _SETTING.fullmatch(name):
            raise InvalidValue(
                "Expected ?options= of the database URL as -c NAME=VALUE, for each setting one, found something else"
            )
        settings[name] = value
    return settings


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def connector(timeout_s: float) -> Callable[..., psycopg.Connection[Any]]:
    """A handler of SQLAlchemy's do_connect whose connections wait for every answer for timeout_s at most."""

    def connect(_dialect: Any, _record: Any, given: list[Any], named: dict[str, Any]) -> psycopg.Connection[Any]:
        connection = _Connection.connect(*given, **named)
        try:
            _require_encoding(connection)
        except SchemaMismatch:
            connection.close()
            raise
        connection.timeout_s = timeout_s
        return connection

    return connect


def _require_encoding(connection: psycopg.Connection[Any]) -> None:
    """Raises SchemaMismatch for a database that stores bytes of any encoding, and so says of no text what it is."""
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        raise SchemaMismatch(
            f"Expected a database of encoding UTF8, found {connection.info.dbname} with SQL_ASCII; make one that is: "
            "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )


class _Connection(psycopg.Connection[Any]):
    """A connection that closes itself rather than wait for ever."""

    timeout_s = TIMEOUT_S

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
        """As psycopg's; raises OperationalError, the connection closed, where there is no answer in time."""
        return super().wait(self._until(time.monotonic() + self.timeout_s, gen), *arguments, **options)

    def _until(self, ends: float, gen: PQGen[T]) -> Generator[Any, Any, T]:
        """The same dialogue with the socket, ended at a time; psycopg reports every tenth of a second."""
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if time.monotonic() >= ends:
                    self.close()
                    raise psycopg.OperationalError(f"no answer within {self.timeout_s:.3g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result
