"""Requests over HTTP as a ratio to the router in process, and to what MLflow serves of the same model.

Rates are of the wall's clock, and of little worth where other work shares the cores; the processor's time is that of the
serving processes alone.
"""

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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from raie.engine.answers import LoadedSnapshot, Query, answers
from raie.publishing.served_code import MODEL_CODE
from raie.registry.mlflow.publisher import sync
from raie.serving.sources import load
from tests.benchmarks.measuring import columns
from tests.conftest import free_port
from tests.raie.serving.conftest import MODEL, Shop, stocked
from tests.raie.serving.processes import serving

pytestmark = [pytest.mark.benchmark, pytest.mark.filterwarnings("ignore")]

ROUNDS, ROUND_S = 3, 1.5
Ask = Callable[[], object]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("bench"), users=600, dim=64)


def histories(loaded: LoadedSnapshot, count: int) -> list[list[str]]:
    generator, items = random.Random(3), loaded.view.catalogue.items
    return [generator.sample(items, 20) for _ in range(count)]


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
def mlflow_serving(shop: Shop) -> Iterator[tuple[int, int]]:
    """The port and the process group of MLflow's server."""
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
        yield port, process.pid
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


def processor_s(who: int) -> float:
    """Seconds of the processor that a process has used; of a process group by its negative number, as kill has it."""
    used = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, fields = stat.read_text(encoding="utf-8").partition(" ")
        except OSError:  # it has ended since
            continue
        numbers = fields.rpartition(")")[2].split()
        if who in (int(pid), -int(numbers[2])):
            used += int(numbers[11]) + int(numbers[12])
    return used / os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """One way of asking: a call asks so many times; who: the process or the group that does the work."""

    ask: Ask
    requests: int
    who: int
    rates: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)

    def measure(self) -> None:
        before, begun, calls = processor_s(self.who), time.perf_counter(), 0
        while time.perf_counter() - begun < ROUND_S:
            self.ask()
            calls += 1
        asked = calls * self.requests
        self.rates.append(asked / (time.perf_counter() - begun))
        self.processor_ms.append(1000 * (processor_s(self.who) - before) / asked)


def ratio(measured: list[float], base: list[float]) -> str:
    return f"{statistics.median(m / b for m, b in zip(measured, base, strict=True)):.2f}"


def test_requests_per_second(shop: Shop) -> None:
    loaded = load(shop.registry, shop.registry.resolve(MODEL, "production"), None)
    rows = []
    with serving(shop.folder) as running, mlflow_serving(shop) as (mlflow_port, mlflow_group):
        running.wait_until_ready()
        port, pid = int(running.url.rpartition(":")[2]), running.process.pid
        for size in (1, 64):
            asked = histories(loaded, size)
            queries = [Query(tuple(history)) for history in asked]
            body = {"histories": [{"items": history} for history in asked]}
            table = {"dataframe_split": {"columns": ["items"], "data": [[history] for history in asked]}}
            ours, theirs = (
                partial(asking, port, "/recommend", body),
                partial(asking, mlflow_port, "/invocations", table),
            )
            ways = {
                "router in process": Measured(partial(answers, loaded, queries), 1, os.getpid()),
                "raie serve, 1 client": Measured(ours(), 1, pid),
                "raie serve, 8 clients": Measured(at_once(ours, 8), 160, pid),
                "mlflow models serve, 1 client": Measured(theirs(), 1, -mlflow_group),
                "mlflow models serve, 8 clients": Measured(at_once(theirs, 8), 160, -mlflow_group),
            }
            for way in ways.values():
                way.ask()
            for _ in range(ROUNDS):
                for way in ways.values():
                    way.measure()
            base = ways["router in process"]
            for name, way in ways.items():
                rate, used = statistics.median(way.rates), statistics.median(way.processor_ms)
                ratios = ratio(way.rates, base.rates), ratio(base.processor_ms, way.processor_ms)
                rows.append((size, name, f"{rate:.0f}", f"{rate * size:.0f}", ratios[0], f"{used:.1f}", ratios[1]))
    head = ("batch", "what", "requests/s", "histories/s", "to the router", "processor ms", "router's to it")
    print(f"\n{columns(head, rows)}")
