"""`raie serve` that cannot begin, and `raie drift --from`: one line each, and the exit code."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Counter

from raie.cli import main
from raie.engine.answers import Answer
from raie.serving.request_log import RequestLog
from tests.raie.serving.conftest import Shop

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(shop: Shop, capfd: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main.run(["--workspace", str(shop.folder), *arguments])
        return (code, *capfd.readouterr())

    return ran


def refused(ran: tuple[int, str, str], code: int, words: str) -> None:
    assert (ran[0], ran[1]) == (code, "")
    assert words in ran[2]
    assert ran[2].count("\n") == 1
    assert "bug" not in ran[2]


def test_a_server_that_cannot_begin_says_why_in_one_line(run: Run, shop: Shop) -> None:
    refused(run("serve", "--alias", "staging"), 1, "Expected an alias 'staging' of model 'recsys', found none")
    refused(run("serve", "--shadow", "staging"), 1, "Expected an alias 'staging'")
    refused(run("serve", "--shadow", "production"), 2, "expected another alias than 'production' as the shadow")
    (shop.folder / "there.parquet").touch()
    refused(run("serve", "--log-requests", str(shop.folder / "there.parquet")), 1, "name a folder")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(run("serve", "--port", str(port)), 2, f"expected to listen at 127.0.0.1, port {port}")


def test_drift_of_a_log_of_requests_compares_what_was_served(run: Run, shop: Shop) -> None:
    regions = list(shop.registry.resolve("recsys", shop.first).content.regions)
    log = RequestLog(shop.folder / "requests")
    log.metrics = type("Metrics", (), {"log_rows_lost": Counter("lost", "Rows.", registry=CollectorRegistry())})()
    log.start()
    for snapshot, region, rows in ((shop.first, regions[0], 200), (shop.first, None, 5), (shop.second, 0, 3)):
        log.offer([Answer((), (), (), region, 1, snapshot)] * rows, [None] * rows)
    log.stop(10)

    code, out, _ = run("drift", "--from", str(shop.folder / "requests"), "--json")
    value = json.loads(out)
    assert (code, value["snapshot"], value["requests"]) == (0, shop.first, 205)
    assert (value["cold"], value["unknown_items"], value["other_snapshots"]) == (5, 205, 3)
    assert value["drifted"] == regions, "all requests went to one of two regions"
    assert value["regions"][0]["share_now"] == 1.0
    assert value["stability_index"] > 0.2
    code, out, _ = run("drift", "--from", str(shop.folder / "requests"))
    assert code == 0
    assert f"{shop.first[:12]}  205 histories served, 5 of them cold; 205 unknown items; 3 served by other" in out
    code, out, _ = run("drift", "--from", str(shop.folder / "requests"), "--ref", shop.second, "--json")
    assert json.loads(out)["requests"] == 3

    refused(run("drift"), 2, "give either LOG or --from PATH")
    refused(run("drift", "log.csv", "--from", "requests"), 2, "give either LOG or --from PATH")
    refused(run("drift", "--from", "requests", "--until", "0.5"), 2, "--until is for a LOG")
    refused(run("drift", "--from", str(shop.folder / "none.parquet")), 2, "no such file")
