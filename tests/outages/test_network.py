"""Whatever the network does, an error comes soon and in one line, nothing is half there, and a retry ends well."""

from __future__ import annotations

import gc as garbage
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine, text

from raie.registry import ArtifactStore, Author, DatabaseUnreachable, Digest, Registry, open_store
from raie.registry.db.engine import open_engine, reading
from raie.registry.maintenance.verify import gc, verify
from tests.outages import network
from tests.outages.network import Scenario
from tests.outages.outage import SECRET, Outage, Work, collect, edit, load
from tests.outages.report import Report, attempt
from tests.registry.store.proxy import Answered, Proxy, Recorded

# A request that was given up leaves its socket to the thread that still waits for an answer, and to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module", autouse=True)
def sockets_collected_here() -> Iterator[None]:
    """So that no later test, of another file, hears of a socket that one of these left; to collect takes 0.2 s."""
    yield
    garbage.collect()


@pytest.fixture
def s3_proxy(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Between S3 and whoever opens a store there from here on."""
    where = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    with Proxy((str(where.hostname), int(where.port or 0))) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy


@pytest.mark.parametrize("scenario", network.S3, ids=str)
def test_a_fault_between_us_and_s3(
    scenario: Scenario,
    s3_proxy: Proxy,
    s3_registry: Registry,
    s3_url: str,
    results: Mapping[Work, str],
    report: Report,
) -> None:
    after = replace(s3_registry, store=open_store(s3_url).within(s3_registry.store.scope))
    during = (
        replace(after, store=open_store(s3_url + scenario.timeout).within(s3_registry.store.scope))
        if scenario.timeout
        else after
    )
    outage = Outage(scenario.around(s3_proxy), during, after, s3_registry, results)
    ended, again = outage.outcome(scenario.work, scenario.expected)
    report.add("S3", scenario.name, scenario.work.__name__, ended, again)


@pytest.mark.parametrize("scenario", network.POSTGRES, ids=str)
def test_a_fault_between_us_and_postgresql(
    scenario: Scenario, postgres_registry: Registry, results: Mapping[Work, str], report: Report
) -> None:
    url = postgres_registry.engine.url
    with Proxy(f"{url.query['host']}/.s.PGSQL.5432") as proxy:
        far = url.set(host="127.0.0.1", port=proxy.port, password=SECRET, query={}).render_as_string(False)
        during, after = (
            replace(postgres_registry, engine=open_engine(far + options)) for options in (scenario.timeout, "")
        )
        outage = Outage(scenario.around(proxy), during, after, postgres_registry, results)
        ended, again = outage.outcome(scenario.work, scenario.expected)
    report.add("PostgreSQL", scenario.name, scenario.work.__name__, ended, again)


def test_a_stale_list_costs_nothing_that_is_needed(
    s3_registry: Registry, s3_url: str, s3_proxy: Proxy, results: Mapping[Work, str], report: Report
) -> None:
    through = replace(s3_registry, store=open_store(s3_url).within(s3_registry.store.scope))
    with s3_proxy.failing(old := Recorded(rb"list-type")):
        assert collect(through) == "gone"
    late = through.store.put(b"nobody's either")
    edit(through)
    with s3_proxy.failing(Answered(rb"list-type", instead=old.answers)):
        ended = attempt(lambda: collect(through))
    assert (ended.error, ended.result) == (None, "gone")
    assert through.store.exists(late), "the old list does not name it"
    assert load(through) == results[edit]
    collect(through)
    assert not through.store.exists(late)
    report.add("S3", "stale list", "collect", ended, "same result")


REFUSALS = {
    "access denied": ("NOLOGIN", "LOGIN"),
    "expired credentials": ("VALID UNTIL '2001-01-01'", "VALID UNTIL 'infinity'"),
    "too many connections": ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),
}
"""What a role of PostgreSQL is like while it is refused, and afterwards."""


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("work", [edit, load])
def test_a_role_that_postgresql_refuses(
    refusal: str, work: Work, postgres_registry: Registry, results: Mapping[Work, str], report: Report
) -> None:
    refused, welcome = REFUSALS[refusal]
    engine = postgres_registry.engine
    with role(engine, refused) as name:
        url = engine.url.set(username=name, password=SECRET)
        its_own = replace(postgres_registry, engine=open_engine(url.render_as_string(hide_password=False)))
        outage = Outage(
            until(engine, f"ALTER ROLE {name} {welcome}"), its_own, its_own, postgres_registry, results
        )
        ended, again = outage.outcome(work, DatabaseUnreachable)
    report.add("PostgreSQL", refusal, work.__name__, ended, again)


def test_gc_removes_no_further_object_once_its_connection_broke_and_its_locks_are_gone(
    postgres_registry: Registry, results: Mapping[Work, str]
) -> None:
    digests = sorted(postgres_registry.put_all([bytes([number]) for number in range(5)]))
    with pytest.raises(DatabaseUnreachable):
        gc(
            replace(postgres_registry, store=Cutting(postgres_registry.store, postgres_registry.engine)),
            author=Author("ada"),
            grace_s=0,
        )
    assert [postgres_registry.store.exists(digest) for digest in digests] == [False, True, True, True, True]
    assert load(postgres_registry) == results[load]
    assert [blob.digest for blob in gc(postgres_registry, author=Author("ada"), grace_s=0).removed] == digests
    assert verify(postgres_registry).ok


class Cutting:
    """A store that works, while something cuts gc's connection as soon as the first object is gone."""

    def __init__(self, store: ArtifactStore, engine: Engine) -> None:
        self._store, self._engine = store, engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, digest: Digest) -> None:
        self._store.delete(digest)
        with reading(self._engine) as connection:
            others = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {others}"))


@contextmanager
def role(engine: Engine, attributes: str) -> Iterator[str]:
    """A role of this test's own that may do everything and must give its password."""
    name = f"role_{engine.url.database}"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:

        def run(statement: str) -> str:
            rows = connection.execute(text(statement))
            return str(rows.scalar()) if rows.returns_rows else ""

        rules = Path(run("SHOW hba_file"))
        before = rules.read_text()
        run(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
        run(f"ALTER ROLE {name} {attributes}")
        run(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
        run(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}")
        rules.write_text(f"local all {name} scram-sha-256\n{before}")
        run("SELECT pg_reload_conf()")
        try:
            yield name
        finally:
            rules.write_text(before)
            run("SELECT pg_reload_conf()")
            run(f"DROP OWNED BY {name}")
            run(f"DROP ROLE {name}")


@contextmanager
def until(engine: Engine, statement: str) -> Iterator[None]:
    """What is so is so until the block ends."""
    yield
    with engine.begin() as connection:
        connection.execute(text(statement))
