"""A real server over real HTTP: answers as `recommend` gives them, one line for what is wrong, and a clean end."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from raie.engine.answers import Query, Wanted, answers
from raie.registry import Author, PromotionRefused, trust
from raie.serving.request_drift import drift_of_requests
from raie.serving.schema import answered
from raie.serving.sources import load
from raie.workspace_file import read
from tests.raie.serving.conftest import MODEL, Shop
from tests.raie.serving.processes import Reply, Running, serving

OPTIONS = ("--interval", "0.2", "--max-rows", "4", "--max-k", "50", "--max-items", "30", "--max-bytes", "20000")


@pytest.fixture(scope="module")
def shop(_stocked: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of these tests alone: they move its aliases one after the other."""
    folder = tmp_path_factory.mktemp("served") / "shop"
    shutil.copytree(_stocked.folder, folder)
    made = Shop(folder, _stocked.first, _stocked.second)
    made.promote(made.second, "candidate")
    return made


@dataclass(frozen=True)
class Server:
    """The server of these tests, and what it answered while the store was away: to a request, and whether it is ready."""

    running: Running
    early: Reply
    early_ready: Reply


@pytest.fixture(scope="module")
def started(shop: Shop) -> Iterator[Server]:
    options = (*OPTIONS, "--shadow", "candidate", "--share", "1", "--log-requests", str(shop.folder / "requests"))
    blobs, away = shop.folder / "blobs", shop.folder / "blobs-away"
    blobs.rename(away)
    with serving(shop.folder, *options, "--histories", str(shop.folder / "log.csv")) as running:
        early = running.post({"histories": [{"items": []}]}), running.get("/ready")
        away.rename(blobs)
        running.wait_until_ready()
        yield Server(running, *early)


@pytest.fixture
def server(started: Server) -> Running:
    return started.running


def expected(shop: Shop, snapshot: str, queries: list[Query]) -> list[dict[str, Any]]:
    """What a plain call answers, as JSON gives it."""
    loaded = load(shop.registry, shop.registry.resolve(MODEL, snapshot), None)
    return json.loads(json.dumps([answered(answer) for answer in answers(loaded, queries)]))  # type: ignore[no-any-return]


def items_of(shop: Shop) -> list[str]:
    loaded = load(shop.registry, shop.registry.resolve(MODEL, shop.first), None)
    return list(loaded.view.catalogue.items)


def test_before_the_store_answers_there_is_a_clear_503(started: Server) -> None:
    assert (started.early.status, started.early.headers["retry-after"]) == (503, "1")
    assert started.early.json["detail"].startswith(
        "expected a snapshot of alias 'production', found none loaded yet"
    )
    assert started.early_ready.status == 503
    assert started.running.get("/health").status == 200


def test_every_history_gets_the_answer_of_a_plain_call_and_a_cold_one_fails_nobody(
    shop: Shop, server: Running
) -> None:
    items = items_of(shop)
    histories: list[dict[str, Any]] = [{"items": items[:5]}, {"items": ["nobody has this"]}, {"items": []}]
    reply = server.post({"histories": histories, "k": 7, "exclude_seen": True})
    assert reply.status == 200
    queries = [Query(tuple(history["items"]), wanted=Wanted(7, True)) for history in histories]
    assert reply.json["answers"] == expected(shop, shop.first, queries)
    assert [answer["cold"] for answer in reply.json["answers"]] == [False, True, True]
    assert [answer["ignored"] for answer in reply.json["answers"]] == [0, 1, 0]
    assert {answer["snapshot"] for answer in reply.json["answers"]} == {shop.first}


def test_candidates_are_the_only_items_that_come_and_a_user_stands_for_the_stored_history(
    shop: Shop, server: Running
) -> None:
    items = items_of(shop)
    reply = server.post(
        {"histories": [{"items": items[:5]}], "candidates": [items[7], items[9], "nobody has this"]}
    )
    assert set(reply.json["answers"][0]["items"]) == {items[7], items[9]}
    lines = (shop.folder / "log.csv").read_text(encoding="utf-8").splitlines()[1:]
    user = lines[0].split(",")[0]
    server.wait_for(lambda: server.post({"histories": [{"user": user}]}).status == 200)
    kept, nobody = server.post({"histories": [{"user": user}, {"user": "nobody"}]}).json["answers"]
    rows = sorted((int(t), n, item) for n, (who, item, t) in enumerate(_rows(lines)) if who == user)
    assert [kept] == expected(shop, shop.first, [Query(tuple(item for _, _, item in rows))])
    assert nobody["cold"]


def _rows(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    for line in lines:
        user, item, at = line.split(",")[:3]
        yield user, item, at


BAD = [
    (b"not json", 422, "body: expected JSON"),
    (b'{"k": ' + b"9" * 5000 + b"}", 422, "body: expected JSON that can be read"),
    (b"[" * 15_000, 422, "body: expected JSON"),
    (b'{"histories": [{"items": [NaN]}]}', 422, "histories.0.items.0: expected a valid string, found nan"),
    (b"\xff\xfe", 422, "body: expected JSON"),
    (b"", 422, "body: expected"),
    ({"histories": [{"items": [], "a\nb\u202e": 1}]}, 422, "histories.0.a\\nb\\u202e: expected no such field"),
    ({"histories": [{"items": ["a"], "times": [10**30]}]}, 422, "histories.0.times.0: expected"),
    ({"histories": [{"items": [True]}]}, 422, "histories.0.items.0: expected a valid string, found True"),
    ({"histories": "x"}, 422, "histories: expected a valid list"),
    ({}, 422, "histories: expected a value"),
    ({"histories": [{"items": [1, {}]}]}, 422, "histories.0.items.1: expected a valid"),
    ({"histories": [{"items": ["a"]}, {}]}, 422, "histories.1.items: expected item ids, found none"),
    (
        {"histories": [{"items": ["a"], "times": [1, 2]}]},
        422,
        "histories.0.times: expected one time for each of 1 items",
    ),
    ({"histories": [{"items": ["a"], "weight": 2}]}, 422, "histories.0.weight: expected no such field"),
    ({"histories": [{"items": ["a"]}] * 5}, 422, "histories: expected 4 histories or fewer, found 5"),
    ({"histories": [{"items": ["a"] * 31}]}, 422, "histories.0.items: expected 30 items or fewer, found 31"),
    ({"histories": [{"items": ["a"]}], "k": 0}, 422, "k: expected"),
    ({"histories": [{"items": ["a"]}], "k": 51}, 422, "k: expected 50 items or fewer, found 51"),
    ({"histories": [{"items": ["a"]}], "k": "many"}, 422, "k: expected a valid integer, found 'many'"),
    ({"histories": [{"items": ["x" * 20_001]}]}, 413, "body: expected 20000 bytes or fewer"),
]


@pytest.mark.parametrize(("body", "status", "line"), BAD, ids=range(len(BAD)))
def test_bad_input_is_one_line_with_the_path_of_the_field(
    server: Running, body: Any, status: int, line: str
) -> None:
    reply = server.post(body)
    assert (reply.status, list(reply.json)) == (status, ["detail"])
    assert reply.json["detail"].startswith(line)
    assert "\n" not in reply.json["detail"]


def test_requests_at_the_same_time_are_answered_as_each_alone(shop: Shop, server: Running) -> None:
    items = items_of(shop)
    bodies = [{"histories": [{"items": items[n : n + 6]}], "k": 3 + n % 4} for n in range(24)]
    alone = [server.post(body).json for body in bodies]
    together: list[Any] = [None] * len(bodies)

    def ask(numbers: range) -> None:
        with server.client() as client:
            for number in numbers:
                together[number] = client.post(bodies[number]).json

    threads = [threading.Thread(target=ask, args=(range(start, 24, 8),)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_the_interface_describes_itself_and_its_facts_hold_no_address(shop: Shop, server: Running) -> None:
    described = server.get("/openapi.json").json
    assert set(described["paths"]) == {"/recommend", "/snapshot", "/health", "/ready", "/metrics"}
    assert described["components"]["schemas"]["RecommendRequest"]["examples"]
    facts = server.get("/snapshot").json
    assert (facts["alias"], facts["snapshot"], facts["behind"]) == ("production", shop.first, None)
    assert (facts["model"], facts["edit"], facts["swaps"]) == (MODEL, 1, 0)
    assert (facts["shadow"]["alias"], facts["shadow"]["snapshot"]) == ("candidate", shop.second)
    assert server.get("/health").json == {"status": "ok"}
    text = server.get("/metrics").body.decode()
    for name in (
        "request_seconds_bucket",
        "batch_rows_count",
        'answers_total{region="none"}',
        "snapshot_age_seconds",
    ):
        assert f"raie_{name}" in text
    assert f'raie_snapshot_info{{alias="production",snapshot="{shop.first}"}} 1.0' in text
    assert str(shop.folder) not in text + json.dumps(facts) + json.dumps(described)


def test_an_alias_that_moves_is_followed_and_a_server_that_stops_has_logged_and_recorded_everything(
    shop: Shop, server: Running
) -> None:
    """The last test of this server: it stops it."""
    items, folder = items_of(shop), shop.folder
    shop.promote(shop.second)
    server.wait_for(lambda: server.get("/ready").json.get("snapshot") == shop.second)
    reply = server.post({"histories": [{"items": items[:5]}]})
    assert reply.json["answers"] == expected(shop, shop.second, [Query(tuple(items[:5]))])
    shop.promote(shop.first)
    server.wait_for(lambda: server.get("/ready").json.get("snapshot") == shop.first)
    database = folder / "registry.db"
    database.rename(folder / "away.db")
    server.wait_for(lambda: server.get("/snapshot").json["behind"] is not None)
    behind = server.get("/snapshot").json["behind"]
    assert (behind["kind"], behind["refused"]) == ("DatabaseUnreachable", None)
    assert server.post({"histories": [{"items": items[:5]}]}).json["answers"][0]["snapshot"] == shop.first
    assert 'raie_last_error_info{kind="DatabaseUnreachable"} 1.0' in server.get("/metrics").body.decode()
    (folder / "away.db").rename(database)
    server.wait_for(lambda: server.get("/snapshot").json["behind"] is None)
    shop.registry.delete_alias(MODEL, "production", Author("ada", "by mistake"))
    server.wait_for(lambda: "behind" in server.get("/ready").json)
    ready = server.get("/ready")
    assert (ready.status, ready.json["snapshot"], ready.json["behind"]["kind"]) == (
        200,
        shop.first,
        "AliasDeleted",
    )
    assert 'raie_last_error_info{kind="AliasDeleted"} 1.0' in server.get("/metrics").body.decode()
    shop.promote(shop.first)
    server.wait_for(lambda: "behind" not in server.get("/ready").json)
    for start in range(6):
        server.post({"histories": [{"items": items[start : start + 8], "user": "u7"}]})
    with server.client() as client:
        assert "connection" not in client.post({"histories": [{"items": []}]}).headers
        server.process.terminate()
        server.wait_for(lambda: server.get("/ready").status == 503)
        last = client.post({"histories": [{"items": []}]})
        assert (last.status, last.headers["connection"]) == (200, "close")
    assert server.process.wait(30) == 0
    _require_log(folder, shop)
    _require_evaluation(shop)


def _require_log(folder: Path, shop: Shop) -> None:
    tables = [pq.read_table(file) for file in (folder / "requests").glob("*.parquet")]
    assert {name for table in tables for name in table.column_names} == {"time", "snapshot", "region", "ignored"}
    drift = drift_of_requests(read(folder / "raie.toml"), folder / "requests")
    assert drift.snapshot == shop.first
    assert drift.requests == sum(table["snapshot"].to_pylist().count(shop.first) for table in tables) > 20
    assert 0 < drift.cold < drift.requests
    assert sum(region.requests for region in drift.regions) == drift.requests - drift.cold
    assert sum(region.share_now for region in drift.regions) == pytest.approx(1)


def _require_evaluation(shop: Shop) -> None:
    threshold = {"thresholds": {"shadow:overlap@10": 0.01, "shadow:speed": 0.0001}}
    trust.set_policy(shop.registry, MODEL, "production", threshold, author=Author("ada"))
    checks = trust.rehearse(shop.registry, MODEL, shop.second, "production").checks
    assert [check.passed for check in checks] == [True, True], checks
    assert re.search(r"0\.\d+ \(evaluation \d+\)|1 \(evaluation \d+\)", checks[0].actual)
    trust.set_policy(
        shop.registry, MODEL, "production", {"thresholds": {"shadow:overlap@10": 1.01}}, author=Author("ada")
    )
    with pytest.raises(PromotionRefused, match=r"shadow, overlap@10: expected overlap@10 of 1.01 or more"):
        shop.promote(shop.second)
