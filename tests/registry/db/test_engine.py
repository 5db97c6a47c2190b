"""A database that is not there, not ours or not free says so in one line, soon, and without its password."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.exc import IntegrityError

from raie import migrations
from raie.registry import (
    Author,
    DatabaseBusy,
    DatabaseFull,
    DatabaseUnreachable,
    InvalidValue,
    Registry,
    SchemaMismatch,
)
from raie.registry.db.engine import connected, open_engine, reading, write
from raie.registry.maintenance.verify import verify
from raie.registry.store.open import open_store
from tests.conftest import free_port, run_sql
from tests.registry.building import MODEL, World

SECRET = "hunter2-very-secret"


def refusal(url: str, tmp_path: Path) -> str:
    with pytest.raises(DatabaseUnreachable) as refused:
        Registry.open(url, str(tmp_path / "store"))
    message = str(refused.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


def test_a_refused_port_is_one_line_within_seconds_and_without_the_password(tmp_path: Path) -> None:
    begun = time.monotonic()
    message = refusal(f"postgresql://ada:{SECRET}@127.0.0.1:{free_port()}/raie", tmp_path)
    assert "ada:***@127.0.0.1" in message
    assert time.monotonic() - begun < 8


def test_a_host_that_swallows_packets_is_given_up_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun = time.monotonic()
        refusal(
            f"postgresql://ada:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/raie?connect_timeout=2", tmp_path
        )
        assert time.monotonic() - begun < 6


def test_a_database_that_does_not_exist_on_the_server_is_one_line(postgres_server: str, tmp_path: Path) -> None:
    url = make_url(postgres_server).set(database="nowhere", password=SECRET)
    assert "nowhere" in refusal(url.render_as_string(hide_password=False), tmp_path)


def test_a_mistyped_sqlite_path_is_refused_and_no_empty_database_made(tmp_path: Path) -> None:
    message = refusal(f"sqlite:///{tmp_path / 'typo.db'}", tmp_path)
    assert "raie init" in message
    assert not (tmp_path / "typo.db").exists()


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are my notes, not a database\n" * 100)
    assert "not a database" in refusal(f"sqlite:///{tmp_path / 'notes.db'}", tmp_path)


@pytest.mark.parametrize("url", ["mysql://ada@host/raie", "raie.db", "", "sqlite://", "sqlite:///:memory:"])
def test_a_database_of_an_unknown_kind_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(InvalidValue, match=r"sqlite:///raie\.db"):
        open_engine(url)


def test_a_password_that_breaks_the_url_is_not_repeated() -> None:
    with pytest.raises(InvalidValue) as refused:
        open_engine(f"postgresql://ada:{SECRET}@host:not-a-port/raie")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_every_spelling_of_postgresql_is_the_same_driver(scheme: str) -> None:
    assert open_engine(f"{scheme}://ada@host/raie").url.drivername == "postgresql+psycopg"


def test_a_database_without_a_registry_says_to_upgrade(database_url: str, tmp_path: Path) -> None:
    with open_engine(database_url).begin() as connection:
        connection.execute(text("CREATE TABLE something_else (id INTEGER)"))
    with pytest.raises(SchemaMismatch, match="raie db upgrade"):
        Registry.open(database_url, str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("revision", "advice"),
    [("0000", "run `raie db upgrade`$"), ("9999", "it is newer: install the raie that wrote it")],
)
def test_a_database_of_another_revision_says_what_to_do(
    database_url: str, tmp_path: Path, revision: str, advice: str
) -> None:
    migrations.upgrade(database_url)
    with open_engine(database_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": revision})
    with pytest.raises(SchemaMismatch, match=rf"found {revision}; {advice}"):
        Registry.open(database_url, str(tmp_path / "store"))


def test_a_step_that_fails_leaves_nothing_behind(any_database: Registry) -> None:
    def step(connection: Connection) -> None:
        connection.execute(text("UPDATE audit_head SET event = 7"))
        connection.execute(text("INSERT INTO audit_head (id, event, hash) VALUES (1, 0, 'x')"))

    with pytest.raises(IntegrityError):
        write(any_database.engine, step)
    assert events(any_database) == 1, "that of its identity"


def events(registry: Registry) -> int:
    with reading(registry.engine) as connection:
        return int(connection.execute(text("SELECT event FROM audit_head")).scalar_one())


def test_a_reader_sees_one_moment_and_a_writer_does_not_wait_for_it(any_database: Registry) -> None:
    query = text("SELECT event FROM audit_head")
    with reading(any_database.engine) as connection:
        before = connection.execute(query).scalar()
        write(any_database.engine, lambda c: c.execute(text("UPDATE audit_head SET event = 7")))
        assert connection.execute(query).scalar() == before
    assert events(any_database) == 7


def test_a_reader_cannot_write_to_postgresql(postgres_url: str) -> None:
    migrations.upgrade(postgres_url)
    with reading(open_engine(postgres_url)) as connection, pytest.raises(DatabaseFull, match="read-only"):
        connection.execute(text("UPDATE audit_head SET event = 7"))


def test_a_statement_that_takes_too_long_is_ended_by_the_server_which_says_so(postgres_url: str) -> None:
    engine = open_engine(with_timeout(postgres_url, 0.5))
    with reading(engine) as connection, pytest.raises(DatabaseBusy, match=r"statement timeout.*\?timeout=SECONDS"):
        connection.execute(text("SELECT pg_sleep(30)"))


def test_a_lock_that_another_transaction_keeps_is_waited_for_half_as_long(postgres_url: str) -> None:
    migrations.upgrade(postgres_url)
    lock = text("SELECT id FROM audit_head FOR UPDATE")
    with open_engine(postgres_url).connect() as keeper:
        keeper.execute(lock)
        with pytest.raises(DatabaseBusy, match="lock timeout"):
            write(open_engine(with_timeout(postgres_url, 1)), lambda connection: connection.execute(lock))


def test_what_the_url_says_of_postgresql_comes_before_what_we_say(postgres_url: str) -> None:
    options = {"application_name": "nightly", "options": "-c lock_timeout=1234"}
    url = make_url(postgres_url).update_query_dict(options)
    with reading(open_engine(url.render_as_string(hide_password=False))) as connection:
        names = ("application_name", "lock_timeout", "statement_timeout")
        values = [connection.execute(text(f"SHOW {name}")).scalar() for name in names]
    assert values == ["nightly", "1234ms", "24s"]


def test_psycopg_s_own_switches_and_libpq_s_parameters_work_in_the_url(postgres_url: str) -> None:
    wanted = {"prepare_threshold": "0", "client_encoding": "latin1", "connect_timeout": "7", "sslmode": "prefer"}
    url = make_url(postgres_url).update_query_dict(wanted).render_as_string(hide_password=False)
    with reading(open_engine(url)) as connection:
        assert connection.execute(text("SELECT 'ärger €'")).scalar() == "ärger €"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("passwrod=hunter2-very-secret", r"parameters of libpq .* found \?passwrod="),
        ("row_factory=hunter2-very-secret", "parameters of libpq"),
        ("autocommit=true", "parameters of libpq"),
        ("sslmode=require&sslmode=disable", "sslmode= once"),
        ("options=-B%20hunter2-very-secret", "-c NAME=VALUE"),
        ("options=-c", "-c NAME=VALUE"),
    ],
)
def test_a_parameter_that_nobody_knows_is_one_line_without_its_value(query: str, words: str) -> None:
    with pytest.raises(InvalidValue, match=words) as refused:
        open_engine(f"postgresql://ada@host/raie?{query}")
    assert SECRET not in str(refused.value)


def test_no_parameter_of_a_url_that_may_be_secret_is_shown(tmp_path: Path) -> None:
    port = free_port()
    secret = f"password={SECRET}&sslpassword={SECRET}&options=-c%20my.token%3D{SECRET}"
    message = refusal(f"postgresql://ada@127.0.0.1:{port}/raie?{secret}&sslmode=disable", tmp_path)
    assert "password=***" in message
    assert "sslmode=disable" in message
    engine = open_engine(f"postgresql://ada:{SECRET}@127.0.0.1:{port}/raie?{secret}")
    assert SECRET not in repr(engine)
    assert SECRET not in repr(Registry(engine, open_store(str(tmp_path))))


def test_a_database_of_no_encoding_is_refused_with_the_line_that_makes_one(
    postgres_server: str, tmp_path: Path
) -> None:
    run_sql(
        postgres_server,
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    try:
        url = make_url(postgres_server).set(database="ascii").render_as_string(hide_password=False)
        for act in (migrations.upgrade, migrations.current, lambda url: Registry.open(url, str(tmp_path))):
            with pytest.raises(
                SchemaMismatch, match=r"encoding UTF8, found ascii with SQL_ASCII; .* CREATE DATABASE"
            ):
                act(url)
    finally:
        run_sql(postgres_server, "DROP DATABASE ascii WITH (FORCE)")


def test_in_a_read_only_session_reading_works_and_writing_is_one_true_line(
    postgres_url: str, scratch: Path
) -> None:
    migrations.upgrade(postgres_url)
    World(Registry.open(postgres_url, str(scratch / "store"))).setup()
    name = make_url(postgres_url).database
    run_sql(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    registry = Registry.open(postgres_url, str(scratch / "store"))
    assert verify(registry).ok
    with pytest.raises(
        DatabaseFull, match=r"may be written, found .* read-only transaction; reading commands work"
    ):
        World(registry).begin()


@pytest.mark.parametrize(("timeout", "shown"), [(None, "80s"), (10, "8s")])
def test_a_migration_may_take_longer_than_other_statements_unless_the_url_says_otherwise(
    postgres_url: str, timeout: float | None, shown: str
) -> None:
    url = postgres_url if timeout is None else with_timeout(postgres_url, timeout)
    with reading(open_engine(url, statement_s=100)) as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == shown


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "1e9"])
@pytest.mark.parametrize("url", ["sqlite:///raie.db", "postgresql://ada@host/raie"])
def test_a_timeout_that_is_none_is_refused(url: str, seconds: str) -> None:
    with pytest.raises(InvalidValue, match="timeout"):
        open_engine(f"{url}?timeout={seconds}")


def with_timeout(url: str, seconds: float) -> str:
    return make_url(url).update_query_dict({"timeout": str(seconds)}).render_as_string(hide_password=False)


def test_two_writers_that_deadlock_both_land(postgres_url: str) -> None:
    migrations.upgrade(postgres_url)
    engine = open_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO models (name, last_edit, created_at) VALUES ('a', 0, 0), ('b', 0, 0)")
        )
    meeting = threading.Barrier(2, timeout=10)

    def count(first: str, second: str) -> None:
        met: list[bool] = []

        def step(connection: Connection) -> None:
            add = text("UPDATE models SET last_edit = last_edit + 1 WHERE name = :name")
            connection.execute(add, {"name": first})
            if not met:
                met.append(True)
                meeting.wait()
            connection.execute(add, {"name": second})

        write(engine, step)

    threads = [threading.Thread(target=count, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT sum(last_edit) FROM models")).scalar_one() == 4


def test_no_connection_stays_open_between_calls(postgres_url: str, tmp_path: Path) -> None:
    migrations.upgrade(postgres_url)
    registry = Registry.open(postgres_url, str(tmp_path / "store"))
    registry.begin("recsys", "setup", seed=0, author=Author("ada"))
    query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    with reading(registry.engine) as connection:
        assert connection.execute(query).scalar_one() == 1


def test_a_rollback_opens_one_connection_for_all_its_transactions(any_database: Registry) -> None:
    world = World(any_database)
    world.setup()
    world.edit(1, text="a")
    opened: list[object] = []
    event.listen(any_database.engine, "connect", lambda *values: opened.append(values))
    any_database.rollback_edit(MODEL, 2, Author("ada"))
    any_database.rollback_to(MODEL, "edit:2", Author("ada"))
    assert len(opened) == 2


def test_a_shared_connection_reads_one_moment_and_writes_in_the_next_transaction(any_database: Registry) -> None:
    query, add = text("SELECT event FROM audit_head"), text("UPDATE audit_head SET event = event + 1")
    with connected(any_database.engine) as shared:
        with reading(shared) as connection:
            before = connection.execute(query).scalar_one()
            write(any_database.engine, lambda c: c.execute(add))
            assert connection.execute(query).scalar_one() == before
        with pytest.raises(IntegrityError):
            write(shared, lambda c: c.execute(text("INSERT INTO audit_head (id, event, hash) VALUES (1, 0, 'x')")))
        write(shared, lambda c: c.execute(add))
        with reading(shared) as connection:
            assert connection.execute(query).scalar_one() == before + 2
