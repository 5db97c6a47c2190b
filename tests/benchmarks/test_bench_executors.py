"""An edit of eight regions on Ray with two processors beside the same edit in this process, and on two processes of it.

Ratios and bytes are printed. Eight topics go on as they were, and the gate takes each window for an update of the nearest
region, so all eight train. Ray runs and its workers have imported what they need before anything is measured, as on a
cluster that is in use; what that takes is printed too. On a machine that does other work the ratio says little: the load
is printed beside.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from raie.engine.data.synthetic import Drift, SyntheticConfig, drifting_log, write_csv
from raie.executors import ray_executor
from raie.executors.ray_executor import RayExecutor
from raie.executors.ray_worker import pickled
from raie.new_workspace import create
from raie.workspace_file import find
from tests.benchmarks.measuring import columns
from tests.cli.executors.ray_here import NOT_INSTALLED, ray_environment

pytestmark = pytest.mark.benchmark

RUNS = 3
REGIONS = 8
LOG = SyntheticConfig(users=1_600, topics=REGIONS, first=Drift(stable=tuple(range(REGIONS))))
SETUP, EDIT = "2024-04-30T00:00:00Z", "2024-05-30T00:00:00Z"
ENGINE = {
    "backbone": {"epochs": 3},
    "regions": {"regions": REGIONS},
    "gate": {"policy": "nearest", "min_windows": 1},
    "edit": {"epochs": 8, "patience": 0},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with its setup."""
    folder = tmp_path_factory.mktemp("base")
    write_csv(drifting_log(LOG), folder / "log.csv")
    create(folder)
    find(folder).setup(folder / "log.csv", until=SETUP, engine=ENGINE)
    return folder


@pytest.fixture(scope="module")
def started() -> Iterator[float]:
    """Seconds that a Ray with two processors took to start; it runs until the end."""
    ray = pytest.importorskip("ray", reason=NOT_INSTALLED)
    with ray_environment() as options:
        begun = time.perf_counter()
        ray.init("local", num_cpus=2, **options)
        yield time.perf_counter() - begun
        ray.shutdown()


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes that went to workers and came from them, by what they are."""
    counts = dict.fromkeys(("shared", "tasks", "results"), 0)
    packed, share, result = ray_executor.packed, RayExecutor.share, RayExecutor._result

    def count(kind: str, data: bytes) -> None:
        counts[kind] += len(data)

    def counted_packed(*arguments: Any) -> Any:
        made = packed(*arguments)
        count("tasks", made[0])
        return made

    def counted_share(self: RayExecutor, value: Any) -> Any:
        count("shared", pickled(value))
        return share(self, value)

    def counted_result(self: RayExecutor, ref: Any) -> Any:
        count("results", self._ray.get(ref))
        return result(self, ref)

    monkeypatch.setattr(ray_executor, "packed", counted_packed)
    monkeypatch.setattr(RayExecutor, "share", counted_share)
    monkeypatch.setattr(RayExecutor, "_result", counted_result)
    return counts


def edited(base: Path, folder: Path, executor: str, workers: int) -> tuple[str, dict[str, float]]:
    """The snapshot of an edit in a copy of the workspace, and seconds by stage."""
    shutil.copytree(base, folder)
    stamps: dict[str, list[float]] = {}
    workspace = find(folder)
    planned = workspace.plan(folder / "log.csv", until=EDIT)
    begun = time.perf_counter()
    made = workspace.apply(
        planned,
        workers=workers,
        executor=executor,
        progress=lambda stage, done, total: stamps.setdefault(stage, []).append(time.perf_counter()),
    )
    assert made is not None
    assert len(made.report["regions"]) == REGIONS
    seconds = {"apply": time.perf_counter() - begun}
    seconds |= {stage: times[-1] - times[0] for stage, times in stamps.items()}
    return made.id, seconds


def test_eight_regions_on_ray_with_two_processors_against_this_process(
    base: Path, started: float, moved: dict[str, int], tmp_path: Path
) -> None:
    cold, first = edited(base, tmp_path / "cold", "ray", 2)
    sent = dict(moved)
    kinds = ("local", 1), ("local", 2), ("ray", 2)
    runs: dict[tuple[str, int], list[dict[str, float]]] = {kind: [] for kind in kinds}
    for number in range(RUNS):
        for kind in kinds:
            made, seconds = edited(base, tmp_path / f"{kind[0]}-{kind[1]}-{number}", *kind)
            assert made == cold
            runs[kind].append(seconds)
    rows = []
    for stage in first:
        alone, paired, ray = (median(run[stage] for run in runs[kind]) for kind in kinds)
        times = (f"{seconds:.2f}" for seconds in (alone, paired, ray, first[stage]))
        rows.append((stage, *times, f"{alone / paired:.2f}", f"{alone / ray:.2f}"))
    head = (
        "stage",
        "local, 1: seconds",
        "local, 2",
        "Ray, 2",
        "Ray, cold",
        "local 1 / local 2",
        "local 1 / Ray 2",
    )
    print("\n" + columns(head, rows))
    print(f"Ray started in {started:.1f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; goal 1.7")
    print("bytes of an edit: " + ", ".join(f"{kind} {size:,}" for kind, size in sent.items()))
