"""What a large log costs: reading and cutting against pandas' reading alone, and the peak memory of 25,000,000 rows.

LOG_ROWS=5000000 takes fewer. Nothing is asserted but that the commands succeed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest

from raie.engine.config import WindowConfig
from raie.engine.data.interactions import read_log
from raie.engine.data.window_length import choose_length
from raie.engine.data.windows import cut_windows
from tests.benchmarks.large_logs import LogShape, write_log
from tests.benchmarks.measuring import columns

ROWS = int(os.environ.get("LOG_ROWS", "25000000"))
ROUNDS = 7
_SETUP_WINDOWS = """
import sys
from raie.engine.config import EditConfig, WindowConfig
from raie.engine.data.interactions import read_log
from raie.engine.data.sampling import setup_windows
from raie.engine.data.window_length import choose_length
log = read_log(sys.argv[1], duplicates="drop")
setup_windows(log, choose_length(log, WindowConfig()).configured(WindowConfig()), EditConfig(), 1)
"""


@pytest.mark.benchmark
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_million_rows_read_and_cut_against_pandas_reading_them(disk: Path, kind: str) -> None:
    log = disk / f"log.{kind}"
    write_log(log, LogShape(1_000_000))
    calls: dict[str, Callable[[], object]] = {
        "read and cut": lambda: _cut(log),
        "read": lambda: read_log(log, duplicates="drop"),
        "pandas": lambda: pandas.read_csv(log) if kind == "csv" else pandas.read_parquet(log),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if number:
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {
        name: [statistics.median(column) for column in zip(*all_, strict=True)] for name, all_ in seconds.items()
    }
    of_pandas = medians["pandas"]
    rows = [
        (name, f"{wall:.2f}", f"{cpu:.2f}", f"{wall / of_pandas[0]:.2f}", f"{cpu / of_pandas[1]:.2f}")
        for name, (wall, cpu) in medians.items()
    ]
    print("\n" + columns((f"1,000,000 rows, {kind}", "s", "CPU s", "ratio", "ratio of CPU"), rows))


def _cut(log: Path) -> object:
    interactions = read_log(log, duplicates="drop")
    return cut_windows(interactions, choose_length(interactions, WindowConfig()).configured(WindowConfig()))


@pytest.mark.scale
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_peak_memory_of_a_large_log(disk: Path, kind: str) -> None:
    log = disk / f"log.{kind}"
    write_log(log, LogShape(ROWS))
    rows = []
    for name, words in (
        ("raie data describe", ["-m", "raie.cli.main", "data", "describe", str(log), "--duplicates", "drop"]),
        ("windows of the setup", ["-c", _SETUP_WINDOWS, str(log)]),
    ):
        begun = time.monotonic()
        # Of each command alone: the peak of all children of a process is that of the largest.
        peak = subprocess.run(
            [sys.executable, "-c", _MEASURED, sys.executable, *words], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        rows.append((name, f"{time.monotonic() - begun:.0f}", f"{int(peak) / 2**20:.2f}"))
    print("\n" + columns((f"{ROWS:,} rows, {kind}", "s", "peak GiB"), rows))


_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
