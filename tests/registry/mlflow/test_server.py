"""The publisher against MLflow's real server, through a network that loses answers."""

from __future__ import annotations

import http.client
import http.server
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raie.registry import Author, Registry
from raie.registry.mlflow.client import answers, open_client, quiet_mlflow, ui_command
from raie.registry.mlflow.publisher import status
from tests.conftest import free_port
from tests.registry.mlflow.mlflow_history import change, edit, history, shape, sync

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of MLflow's server over an empty SQLite file, started as `raie mlflow ui` starts it."""
    with _serving(tmp_path, None) as address:
        yield address


@pytest.fixture
def server_on_postgresql(tmp_path: Path, postgres_url: str) -> Iterator[str]:
    """The address of one over PostgreSQL, whose columns refuse what SQLite takes."""
    with _serving(tmp_path, postgres_url) as address:
        yield address


@contextmanager
def _serving(tmp_path: Path, backend: str | None) -> Iterator[str]:
    port = free_port()
    argv, environment = ui_command(f"sqlite:///{tmp_path}/server/mlflow.db", port)
    if backend is not None:
        argv[argv.index("--backend-store-uri") + 1] = backend
    (tmp_path / "server").mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not answers(address):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


class _Lossy(http.server.BaseHTTPRequestHandler):
    """Passes each request on, and loses some of the answers; which, the seed decides."""

    upstream = ""
    chance = random.Random(7)
    share = 0.0
    lost = 0
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        host = self.upstream.removeprefix("http://")
        there = http.client.HTTPConnection(host, timeout=30)
        there.request(self.command, self.path, body, {**dict(self.headers), "Host": host, "Connection": "close"})
        answer = there.getresponse()
        content = answer.read()
        there.close()
        if not self.path.startswith("/health") and self.chance.random() < self.share:
            type(self).lost += 1
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def lossy(server: str) -> Iterator[str]:
    """The address of a proxy before the server that loses answers until `_Lossy.share` is 0."""
    _Lossy.upstream, _Lossy.share, _Lossy.lost = server, 0.3, 0
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Lossy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_address[1]}"
    proxy.shutdown()
    proxy.server_close()


def test_lost_answers_make_no_duplicate(local_registry: Registry, lossy: str) -> None:
    history(local_registry, "lossy")
    begun, syncs = time.monotonic(), 1
    while sync(local_registry, lossy).remaining:
        syncs += 1
        assert syncs < 200
    print(f"\n{_Lossy.lost} answers lost, {syncs} syncs, {time.monotonic() - begun:.1f} s")
    assert _Lossy.lost > 10
    _Lossy.share = 0.0
    with quiet_mlflow():
        shown = shape(open_client(lossy), "lossy")
    runs = [run[0] for run in shown["runs"]]
    assert len(runs) == len(set(runs)) == 9
    assert len(shown["models"]) == 4 + 3
    assert [version for version, *_ in shown["versions"]] == [1, 2, 3]
    assert shown["aliases"] == {"candidate": 2, "production": 3}
    assert sync(local_registry, lossy, again=True).failed == ()
    with quiet_mlflow():
        assert shape(open_client(lossy), "lossy") == shown


def test_a_history_goes_through_the_server_and_links_to_its_pages(local_registry: Registry, server: str) -> None:
    history(local_registry, "linked")
    environment = dict(os.environ)
    begun = time.monotonic()
    assert sync(local_registry, server).published == 6
    print(f"\nthree edits and three alias moves through the server: {time.monotonic() - begun:.1f} s")
    assert dict(os.environ) == environment
    with quiet_mlflow():
        versions = open_client(server).search_model_versions("name = 'linked'")
    assert all(f"]({server}/#/" in version.description for version in versions)


def test_a_long_reason_passes_a_server_on_postgresql_and_an_alias_moved_there_is_put_back(
    local_registry: Registry, server_on_postgresql: str
) -> None:
    reason = "Changed after the [review](http://evil) of ticket 1. " * 160
    regions = range(150)
    versions, changes = dict.fromkeys(regions, 1), [change(region, "setup") for region in regions]
    first = edit(local_registry, "long", "setup", versions, *changes, reason=reason)
    second = edit(local_registry, "long", "edit", versions | {0: 2}, change(0, "update"), reason=reason)
    local_registry.promote("long", second.id, "production", Author("ada", reason))
    report = sync(local_registry, server_on_postgresql)
    assert (report.published, report.failed, report.aliases) == (3, (), ())
    with quiet_mlflow():
        client = open_client(server_on_postgresql)
        assert status(local_registry, server_on_postgresql).aliases == ()
        client.set_registered_model_alias("long", "production", "1")
        (gap,) = status(local_registry, server_on_postgresql).aliases
        assert (gap.found_version, gap.found_snapshot, gap.snapshot) == ("1", first.id, second.id)
        assert [gap.version for gap in sync(local_registry, server_on_postgresql).aliases] == ["2"]
        client.delete_registered_model_alias("long", "production")
        assert [gap.found_version for gap in status(local_registry, server_on_postgresql).aliases] == [None]
        assert [gap.version for gap in sync(local_registry, server_on_postgresql).aliases] == ["2"]
        assert client.get_registered_model("long").aliases == {"production": "2"}
