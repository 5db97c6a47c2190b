"""A real Ray runs what this process would: the same snapshot, files and comparison, whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raie.edits.remote_training import train_and_store
from raie.engine.encoding import encode_on
from raie.engine.errors import InputError, WorkerLost
from raie.engine.executor import in_order
from raie.engine.router import encode_windows
from raie.errors import MissingExtra, UsageError
from raie.executors.choice import opened
from raie.registry import StoreUnreachable
from raie.registry.store.local import LocalStore
from raie.workspace_file import find
from tests.cli import trained
from tests.cli.conftest import Raie, Ran
from tests.cli.executors import ray_tasks
from tests.cli.test_interrupted import INTERRUPTED, applying, assert_resumable, wait_for
from tests.cli.trained import FIRST, LOG, MODEL, SETUP, refused

ROOT = Path(__file__).resolve().parents[3]
APPLY = ("edit", "apply", LOG, "--until", FIRST, "--executor", "ray")
PATIENCE_S = 120.0
_WHY = "Ray is not installed: pip install 'raie[ray]'"


@contextlib.contextmanager
def ray_environment() -> Iterator[dict[str, Any]]:
    """The variables of a Ray that writes nothing below the developer's home, and the options of its start."""
    folder = tempfile.mkdtemp(prefix="raie-ray-")  # short: sockets lie in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # workers import tests.cli.executors.ray_tasks
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv(
            "RAY_worker_niceness", "0"
        )  # 15 by itself: beside other tests no worker would come to its turn
        patch.delenv("RAY_ADDRESS", raising=False)
        yield {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR", "_temp_dir": folder}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray with two processors, which every test of this module uses."""
    ray = pytest.importorskip("ray", reason=_WHY)
    with ray_environment() as options:
        handler = signal.getsignal(signal.SIGTERM)
        ray.init("local", num_cpus=2, **options)
        yield ray
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("cluster")
def test_results_come_in_order_or_as_they_are_ready_and_read_what_is_shared() -> None:
    with opened("ray") as executor:
        forty = executor.share(40)
        assert list(in_order(executor, ray_tasks.added, [(forty, number) for number in range(5)])) == [
            *range(40, 45)
        ]
        seconds = [0.5, 0.0]
        assert [number for number, _ in executor.as_ready(ray_tasks.sleeps, seconds)] == [1, 0]
        assert list(in_order(executor, ray_tasks.sleeps, seconds)) == seconds


@pytest.mark.usefixtures("cluster")
def test_reports_and_errors_of_a_task_reach_this_process_as_they_are() -> None:
    heard: list[tuple[int, float]] = []
    with opened("ray") as executor:
        assert executor.run(ray_tasks.reports, 3, lambda *said: heard.append(said)) == 3
        assert heard == [(0, 0.0), (1, 0.5), (2, 1.0)]
        with pytest.raises(InputError, match=r"^expected a log, found x; take another$"):
            list(executor.as_ready(ray_tasks.refuses, ["x"]))


@pytest.mark.usefixtures("cluster")
def test_a_task_whose_process_is_killed_runs_again_in_another(tmp_path: Path) -> None:
    with opened("ray") as executor:
        ((_, process),) = executor.as_ready(ray_tasks.dies_once, [tmp_path / "left"])
    assert process != int((tmp_path / "left").read_text())


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_task_that_kills_every_process_is_given_up_in_one_line() -> None:
    with (
        opened("ray") as executor,
        pytest.raises(WorkerLost, match=r"^expected a task to finish in 4 tries, found.*$"),
    ):
        list(executor.as_ready(ray_tasks.dies_always, [0]))


@pytest.mark.usefixtures("cluster")
def test_an_edit_on_ray_makes_the_snapshot_of_an_edit_here(ready: Path, whole: str, raie: Raie) -> None:
    ran = raie(*APPLY)
    assert ran.code == 0, ran.err
    assert trained.head_of(ready) == whole


@pytest.mark.usefixtures("cluster")
def test_a_setup_on_ray_makes_the_snapshot_of_a_setup_here(
    ready: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("another")
    for name in ("raie.toml", LOG):
        shutil.copy(ready / name, folder)
    trained.command(folder, "init")
    heard: list[str] = []
    made = find(folder).setup(
        folder / LOG, until=SETUP, executor="ray", progress=lambda stage, done, total: heard.append(stage)
    )
    assert made.id == trained.head_of(ready)
    assert any("validation NDCG@10" in stage for stage in heard)


@pytest.mark.usefixtures("cluster")
def test_windows_encoded_in_parts_have_the_bits_of_all_at_once(ready: Path) -> None:
    view = find(ready)["head"]._view
    windows = view.replay(0)
    windows = windows.take(np.arange(700) % len(windows))
    with opened("ray") as executor:
        parts = encode_on(executor, view.backbone, view.backbone_bytes, windows, size=256)
    assert np.array_equal(parts, encode_windows(view.backbone, windows))


@pytest.mark.usefixtures("cluster")
def test_a_batch_on_ray_writes_the_file_of_a_batch_here(
    ready: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raie.batch.users_of_log.BLOCK_USERS", 50)
    for executor in ("local", "ray"):
        ran = raie("recommend", LOG, "--all-users", "--output", f"{executor}.csv", "--executor", executor)
        assert ran.code == 0, ran.err
    assert (ready / "ray.csv").read_bytes() == (ready / "local.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_comparison_on_ray_has_the_numbers_of_one_here(ready: Path, raie: Raie) -> None:
    options = ("--strategies", "popularity,global-lora,raie", "--edits", "1", "--ref", "edit:1", "--json")
    compared = []
    for executor in ("local", "ray"):
        ran = raie(
            "compare", LOG, *options, "--work", executor, "--executor", executor, "--out", f"{executor}-out"
        )
        assert ran.code == 0, ran.err
        compared.append(without_seconds(ran.json))
    assert compared[0] == compared[1]
    steps = [len(list((ready / name).rglob("*.cell"))) for name in ("local", "ray")]
    assert steps[0] == steps[1] == 8


def without_seconds(value: Any) -> Any:
    """The values of a comparison without times, which no two runs share."""
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if "seconds" not in key}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def test_a_worker_that_reads_another_store_trains_nothing(tmp_path: Path) -> None:
    # As where the store is a folder that only one machine has.
    task: Any = type("Task", (), {"store": LocalStore(tmp_path), "known": "0" * 64})()
    with pytest.raises(StoreUnreachable, match="keep blobs in S3 or in a folder that all machines mount"):
        train_and_store(task)


# --- Processes and machines that are killed


def children(pid: int) -> list[tuple[int, str]]:
    """(pid, command) of all processes below one."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "ppid=,pid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    descendants, below = [], {pid}
    while below:
        direct = [(int(child), args) for parent, child, args in rows if int(parent) in below]
        descendants += direct
        below = {child for child, _ in direct}
    return descendants


def when(reached: Callable[[], object], act: Callable[[], object]) -> threading.Thread:
    """A thread that does something once something is reached."""

    def wait() -> None:
        end = time.monotonic() + PATIENCE_S
        while not reached():
            if time.monotonic() > end:
                return
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def trains_regions(folder: Path) -> Callable[[], bool]:
    """Whether the shared adapter of the edit is recorded: the regions' own trainings are what runs next."""
    registry = trained.opened(folder)
    return lambda: len(registry.edits(MODEL)) == 2 and "region -1" in registry.checkpoints(MODEL, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_worker_killed_while_it_trains_costs_its_task_alone(ready: Path, whole: str, raie: Raie) -> None:
    killed: list[int] = []

    def kill() -> None:
        time.sleep(0.3)
        for pid, args in children(os.getpid()):
            if args.startswith("ray::_in_worker"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = when(trains_regions(ready), kill)
    ran = raie(*APPLY)
    thread.join()
    assert killed
    assert ran.code == 0, ran.err
    assert trained.head_of(ready) == whole


NODES = """
import os, signal, sys, threading, time
from ray.cluster_utils import Cluster
import ray
from tests.cli.executors.test_executors import trains_regions, when
from tests.cli.trained import head_of
from raie.cli import main
from pathlib import Path

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    busy = lambda: ray.available_resources().get("CPU", 0) == 0

    def kill():
        os.kill(second.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        print("killed", flush=True)

    thread = when(lambda: trains_regions(folder)() and busy(), kill)
    code = main.run(["--workspace", str(folder), *sys.argv[2:]])
    thread.join()
    nodes = [node["Alive"] for node in ray.nodes()]
    print("code", code, "alive", nodes.count(True), flush=True)
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.slow
def test_a_machine_that_is_lost_while_it_trains_costs_its_tasks_alone(ready: Path, whole: str) -> None:
    pytest.importorskip("ray", reason=_WHY)
    (ready / "nodes.py").write_text(NODES)
    with ray_environment():
        ran = subprocess.run(
            [sys.executable, "nodes.py", str(ready), *APPLY],
            cwd=ready,
            capture_output=True,
            text=True,
            timeout=400,
        )
    assert "killed\n" in ran.stdout, ran
    assert "code 0 alive 1\n" in ran.stdout, ran
    assert trained.head_of(ready) == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "line"), [(signal.SIGINT, 130, INTERRUPTED), (signal.SIGTERM, 143, "error: terminated")]
)
def test_a_signal_stops_the_ray_that_was_started_and_the_edit_can_be_resumed(
    ready: Path, whole: str, raie: Raie, number: signal.Signals, code: int, line: str
) -> None:
    pytest.importorskip("ray", reason=_WHY)
    base = trained.head_of(ready)
    with ray_environment(), applying(ready, "--executor", "ray", "--workers", "2") as process:
        wait_for(trains_regions(ready), process)
        started = children(process.pid)
        if number == signal.SIGINT:  # of a terminal, which goes to all; Ray's own processes do not hear it
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err.splitlines()[-1]) == (code, line), err
        end = time.monotonic() + 30
        while left := {pid for pid, _ in started} & {pid for pid, args in children(0) if "<defunct>" not in args}:
            assert time.monotonic() < end, left
            time.sleep(0.1)
    assert any("raylet" in args for _, args in started), started
    assert_resumable(raie, ready, base, whole)


# --- Which one


def test_without_the_extra_one_line_says_how_to_install_it(
    ready: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    before = trained.state(ready)
    refused(raie(*APPLY), 1, ["expected ray", "pip install 'raie[ray]'"])
    assert trained.state(ready) == before


def test_the_option_comes_before_the_environment_and_that_before_the_file(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find(ready).executor == "local"
    text = (ready / "raie.toml").read_text(encoding="utf-8")
    (ready / "raie.toml").write_text(f'executor = "ray"\n{text}', encoding="utf-8")
    assert find(ready).executor == "ray"
    monkeypatch.setenv("RAIE_EXECUTOR", "cloud")
    with pytest.raises(UsageError, match="local, ray, found 'cloud': choose one with --executor"):
        find(ready).edit(LOG, until=FIRST)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra):
        find(ready).edit(LOG, until=FIRST, executor="ray")


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_one_line_and_begins_no_edit(ready: Path) -> None:
    pytest.importorskip("ray", reason=_WHY)
    before = trained.state(ready)
    with ray_environment():
        ran = subprocess.run(
            [sys.executable, "-m", "raie.cli.main", "--workspace", str(ready), *APPLY],
            cwd=ready,
            env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    refused(Ran(ran.returncode, ran.stdout, ran.stderr), 6, ["expected a Ray cluster at RAY_ADDRESS 127.0.0.1:1"])
    assert trained.state(ready) == before
