"""What clients see while a server's database, store and disk fail, and while it stops: right answers. Minutes long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from tests.benchmarks.measuring import columns
from tests.conftest import database
from tests.outages.disk import full, small_disk
from tests.raie.serving.conftest import MODEL, Shop, stocked
from tests.raie.serving.load import Load, bodies, expected
from tests.raie.serving.processes import Running, serving
from tests.registry.store.proxy import Proxy, Slow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

SECRET, LONG_S = "s3cret", 4.0
Fault = Callable[[], AbstractContextManager[None]]


@dataclass
class Grounds:
    """A shop whose database and store a server reaches through networks that fail on demand."""

    shop: Shop
    to_database: Proxy
    to_store: Proxy
    environment: dict[str, str]
    objects: Path
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def served_now(self, running: Running) -> str:
        snapshot: str = running.get("/ready").json["snapshot"]
        return snapshot

    def another(self, running: Running) -> str:
        """Promotes the snapshot that is not served; its id."""
        target = self.shop.second if self.served_now(running) == self.shop.first else self.shop.first
        self.shop.promote(target)
        return target

    def suffer(self, name: str, running: Running, load: Load, fault: Fault, kind: str | None) -> None:
        """A fault during which the alias moves: the old snapshot answers on, and the new one once all is well."""
        old, begun = self.served_now(running), time.monotonic()
        with fault():
            target = self.another(running)
            if kind is not None:
                running.wait_for(lambda: (running.get("/snapshot").json["behind"] or {}).get("kind") == kind)
            time.sleep(LONG_S)
            during = load.outcomes(begun)
            assert kind is None or self.served_now(running) == old
        after = running.wait_for(lambda: self.served_now(running) == target, 60)
        self.rows.append((name, str(dict(during)), kind or "-", f"{after:.1f} s"))
        assert set(load.outcomes(begun)) == {"200"}, load.outcomes(begun)


@pytest.fixture
def grounds(
    postgres_server: str, s3_url: str, s3_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Grounds]:
    with ExitStack() as stack:
        url = make_url(stack.enter_context(database(postgres_server)))
        shop = stocked(tmp_path, 120, url.render_as_string(hide_password=False), s3_url)
        to_database = stack.enter_context(Proxy(f"{url.query['host']}/.s.PGSQL.5432"))
        endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
        to_store = stack.enter_context(Proxy((str(endpoint.hostname), int(endpoint.port or 0))))
        far = url.set(host="127.0.0.1", port=to_database.port, password=SECRET, query={"timeout": "2"})
        environment = {
            "RAIE_DATABASE_URL": far.render_as_string(hide_password=False),
            "RAIE_STORE": f"{s3_url}?timeout=3",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{to_store.port}",
        }
        yield Grounds(shop, to_database, to_store, environment, s3_folder)


def test_whatever_fails_clients_get_right_answers_or_a_clear_503_at_the_start(
    grounds: Grounds, tmp_path: Path
) -> None:
    shop = grounds.shop
    asked = bodies(shop)
    right = expected(shop, asked)
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk"))
        options = ("--interval", "0.5", "--log-requests", str(disk / "requests"), "--log-every", "0.3")
        away = stack.enter_context(ExitStack())
        away.enter_context(grounds.to_database.refusing())
        running = stack.enter_context(serving(shop.folder, *options, environment=grounds.environment))
        load = stack.enter_context(Load(running.url, asked, right))
        time.sleep(LONG_S)
        at_start = load.outcomes()
        detail = running.post(asked[0]).json["detail"]
        away.close()
        running.wait_until_ready()
        grounds.rows.append(
            ("database away at the start", str(dict(at_start)), "DatabaseUnreachable", "then answers")
        )
        assert set(at_start) == {"503"}
        assert "DatabaseUnreachable" in detail

        suffer = lambda name, fault, kind: grounds.suffer(name, running, load, fault, kind)  # noqa: E731
        suffer("nothing", ExitStack, None)
        suffer("database refuses and is cut", grounds.to_database.refusing, "DatabaseUnreachable")
        suffer("store refuses and is cut", grounds.to_store.refusing, "StoreUnreachable")
        slow: Fault = lambda: grounds.to_store.failing(Slow(rb"GET /\S+/sha256/"))  # noqa: E731
        suffer("store slow: a byte in 0.1 s", slow, "StoreUnreachable")
        suffer("blob corrupted in the store", lambda: corrupted(grounds, running), "BlobCorrupt")
        suffer("disk of the log full", lambda: full(disk), None)
        lost = [
            line for line in running.get("/metrics").body.decode().splitlines() if "log_rows_lost_total" in line
        ]
        grounds.rows[-1] = (*grounds.rows[-1][:3], f"rows of the log lost: {lost[-1].split()[-1]}")

        facts = running.get("/snapshot").body + running.get("/metrics").body
        begun = time.monotonic()
        assert running.stop() == 0
        time.sleep(0.5)
        stopped = load.outcomes(begun)
        grounds.rows.append(("SIGTERM under load", str(dict(stopped)), "-", "exit code 0"))
        log = running.log.read_text(encoding="utf-8")
    print(f"\n{columns(('what', 'clients saw', 'the server says', 'after it'), grounds.rows)}")
    print(f"all in all {sum(load.outcomes().values()):,} requests")
    assert set(stopped) <= {"200", "ConnectionRefusedError"}
    for secret in (SECRET, str(grounds.to_database.port), str(grounds.to_store.port)):
        assert secret.encode() not in facts
    assert SECRET not in log


@contextmanager
def corrupted(grounds: Grounds, running: Running) -> Iterator[None]:
    """One byte of an adapter is another that only the snapshot has which is not served now."""
    shop = grounds.shop
    served = grounds.served_now(running)
    (newer,) = {shop.first, shop.second} - {served}
    mine, theirs = (
        {
            digest
            for entry in shop.registry.resolve(MODEL, id_).content.regions.values()
            for digest in entry.values()
        }
        for id_ in (newer, served)
    )
    digest = sorted(mine - theirs)[0]
    file = next(path for path in grounds.objects.rglob(f"*{digest[2:]}*") if path.is_file())
    whole = file.read_bytes()
    file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    yield
    file.write_bytes(whole)
