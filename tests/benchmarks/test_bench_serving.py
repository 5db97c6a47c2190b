"""Requests per second over HTTP as a ratio to the router in process, and to what MLflow serves of the same model."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raie.engine.answers import LoadedSnapshot, Query, answers
from raie.registry.mlflow.publisher import sync
from raie.served_code import MODEL_CODE
from raie.serving.sources import load
from tests.benchmarks.measuring import columns
from tests.conftest import free_port
from tests.raie.serving.conftest import MODEL, Shop, stocked
from tests.raie.serving.processes import serving

pytestmark = [pytest.mark.benchmark, pytest.mark.filterwarnings("ignore")]

ROUNDS, ROUND_S = 5, 1.5
Ask = Callable[[], object]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("bench"), users=600, dim=64)


def histories(loaded: LoadedSnapshot, count: int) -> list[list[str]]:
    generator, items = random.Random(3), loaded.view.catalogue.items
    return [generator.sample(items, 20) for _ in range(count)]


def per_second(ask: Ask, seconds: float = ROUND_S) -> float:
    """Calls per second, one after the other."""
    begun, calls = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        ask()
        calls += 1
    return calls / (time.perf_counter() - begun)


def at_once(make: Callable[[], Ask], clients: int) -> Ask:
    """So many clients side by side; a call is one request of each."""
    asks = [make() for _ in range(clients)]

    def all_of_them() -> None:
        threads = [threading.Thread(target=lambda ask=ask: [ask() for _ in range(20)]) for ask in asks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return all_of_them


def asking(port: int, path: str, body: Any) -> Ask:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = json.dumps(body).encode()

    def ask() -> None:
        try:
            connection.request("POST", path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException):  # closed since, because nothing was asked for a while
            connection.close()
            connection.request("POST", path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
        read = answer.read()
        assert answer.status == 200, read

    return ask


@contextmanager
def mlflow_serving(shop: Shop) -> Iterator[int]:
    uri, port = f"sqlite:///{shop.folder}/mlflow.db", free_port()
    sync(shop.registry, uri, MODEL_CODE)
    environment = {
        **os.environ,
        "RAIE_DATABASE_URL": f"sqlite:///{shop.folder}/registry.db",
        "RAIE_STORE": str(shop.folder / "blobs"),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{MODEL}@production"]
    command += ["--env-manager", "local", "--port", str(port)]
    with (shop.folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(port, process, shop.folder / "mlflow.log")
        yield port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_requests_per_second(shop: Shop) -> None:
    loaded = load(shop.registry, shop.registry.resolve(MODEL, "production"), None)
    rows = []
    with serving(shop.folder) as running, mlflow_serving(shop) as mlflow_port:
        running.wait_until_ready()
        port = int(running.url.rpartition(":")[2])
        for size in (1, 64):
            asked = histories(loaded, size)
            queries = [Query(tuple(history)) for history in asked]
            body = {"histories": [{"items": history} for history in asked]}
            table = {"dataframe_split": {"columns": ["items"], "data": [[history] for history in asked]}}
            calls: dict[str, tuple[Ask, int]] = {
                "router in process": (lambda queries=queries: answers(loaded, queries), 1),  # type: ignore[misc]
                "raie serve, 1 client": (asking(port, "/recommend", body), 1),
                "raie serve, 8 clients": (at_once(lambda body=body: asking(port, "/recommend", body), 8), 160),  # type: ignore[misc]
                "mlflow models serve, 1 client": (asking(mlflow_port, "/invocations", table), 1),
                "mlflow models serve, 8 clients": (
                    at_once(lambda table=table: asking(mlflow_port, "/invocations", table), 8),  # type: ignore[misc]
                    160,
                ),
            }
            rates: dict[str, list[float]] = {name: [] for name in calls}
            for ask, _ in calls.values():
                ask()
            for _ in range(ROUNDS):
                for name, (ask, requests) in calls.items():
                    rates[name].append(per_second(ask) * requests)
            base = rates["router in process"]
            for name, measured in rates.items():
                ratio = statistics.median(m / b for m, b in zip(measured, base, strict=True))
                rate = statistics.median(measured)
                rows.append((size, name, f"{rate:.0f}", f"{rate * size:.0f}", f"{ratio:.2f}"))
    print(f"\n{columns(('batch', 'what', 'requests/s', 'histories/s', 'to the router'), rows)}")
