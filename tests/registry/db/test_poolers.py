"""Behind a pooler in transaction mode every command works, and nothing is left in, or taken from, a session."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from raie import migrations
from raie.registry import Author, Registry
from raie.registry.audit import chain_head
from raie.registry.db.engine import open_engine, reading, write
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from tests.conftest import free_port, run_sql
from tests.registry.building import MODEL, World

PGBOUNCER = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture(scope="module")
def pooler(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a PgBouncer with its own settings but for transaction mode and one session to a database."""
    if PGBOUNCER is None:
        pytest.skip("needs the pgbouncer program (Debian: apt-get install pgbouncer), or its path in PGBOUNCER")
    server, port = make_url(postgres_server), free_port()
    folder = Path("/tmp") / f"raie-pgbouncer-{port}"
    folder.mkdir()
    host = server.query.get("host") or server.host
    where = f"host={host} port={server.port or 5432} user={server.username}"
    lines = [
        f"[databases]\n* = {where}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}",
        "unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 1",
    ]
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    # It does not run as root; who runs the server may open its socket.
    user = Path(str(host)).stat()
    as_user = ["setpriv", f"--reuid={user.st_uid}", f"--regid={user.st_gid}", "--clear-groups"]
    process = subprocess.Popen(
        [*(as_user if os.getuid() == 0 else []), PGBOUNCER, folder / "pgbouncer.ini"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait(port, process)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)
        shutil.rmtree(folder)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.05)
    raise AssertionError("pgbouncer did not listen within 5 s")


@pytest.fixture
def pooled(pooler: int, postgres_url: str) -> str:
    """An empty database, reached through the pooler."""
    return f"postgresql://ada@127.0.0.1:{pooler}/{make_url(postgres_url).database}"


def test_behind_a_pooler_a_model_is_set_up_edited_promoted_rolled_back_and_collected(
    pooled: str, scratch: Path
) -> None:
    migrations.upgrade(pooled)
    registry = Registry.open(f"{pooled}?prepare_threshold=0", str(scratch / "store"))
    world = World(registry)
    first = world.setup()
    for number in range(2, 8):
        world.edit(number % 3, text=str(number))
    registry.promote(MODEL, "head", "production", Author("ada"))
    assert registry.rollback_edit(MODEL, 7, Author("ada")).content == registry.resolve(MODEL, "edit:6").content
    assert registry.rollback_to(MODEL, "edit:1", Author("ada")).content == first.content
    registry.put(b"nobody names me")
    assert expire(registry, MODEL, Rule(), author=Author("cron")).expired
    assert gc(registry, author=Author("cron"), grace_s=0).removed
    assert verify(registry).ok


def test_limits_hold_in_each_transaction_and_stay_in_none(pooled: str) -> None:
    url = make_url(pooled).update_query_dict(
        {"options": "-c statement_timeout=1234 -cwork_mem=5MB", "timeout": "20"}
    )
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "work_mem", "search_path")
    with reading(open_engine(url.render_as_string())) as connection:
        values = [connection.execute(text(f"SHOW {name}")).scalar() for name in names]
    assert values == ["1234ms", "10s", "10min", "5MB", "public, pg_temp"]
    # What is rolled back leaves nothing anyhow.
    write(open_engine(pooled), lambda connection: connection.execute(text("CREATE TABLE x (id int)")))
    with reading(open_engine(pooled)) as connection:
        prepared = connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar()
    import psycopg

    with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as stranger:
        left = [stranger.execute(f"SHOW {name}").fetchone() for name in names[:3]]
    assert left == [("0",), ("0",), ("0",)]
    assert prepared == 0


def test_what_another_client_left_in_the_session_moves_no_table(pooled: str, postgres_url: str) -> None:
    migrations.upgrade(pooled)
    with reading(open_engine(postgres_url)) as connection:
        ours = chain_head(connection)
    run_sql(postgres_url, "CREATE SCHEMA evil", "CREATE TABLE evil.audit_head (id int, event int, hash text)")
    import psycopg

    with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as stranger:
        stranger.execute("SET search_path = evil, public")
        stranger.execute("CREATE TEMPORARY TABLE audit_head (id int, event int, hash text)")
        stranger.execute("SET statement_timeout = '50ms'")
    with reading(open_engine(pooled)) as connection:
        assert chain_head(connection) == ours
        connection.execute(text("SELECT pg_sleep(0.1)"))
