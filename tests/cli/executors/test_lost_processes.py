"""Workers, machines and drivers that are killed in the middle of an edit on a real Ray cost what they worked on alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import trained
from tests.cli.conftest import Raie
from tests.cli.executors.ray_here import NOT_INSTALLED, ray_environment
from tests.cli.executors.test_executor_choice import APPLY, PATIENCE_S
from tests.cli.test_interrupted import INTERRUPTED, applying, assert_resumable, recorded, wait_for

pytestmark = pytest.mark.slow


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


@pytest.mark.usefixtures("cluster")
def test_a_worker_killed_while_it_trains_costs_its_task_alone(ready: Path, whole: str, raie: Raie) -> None:
    killed: list[int] = []

    def kill() -> None:
        time.sleep(0.3)
        for pid, args in children(os.getpid()):
            if args.startswith("ray::in_worker"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = when(recorded(ready), kill)
    ran = raie(*APPLY)
    thread.join()
    assert killed
    assert ran.code == 0, ran.err
    assert trained.head_of(ready) == whole


NODES = """
import os, signal, sys, threading, time
from ray.cluster_utils import Cluster
import ray
from tests.cli.executors.test_lost_processes import when
from tests.cli.test_interrupted import recorded
from raie.cli import main
from pathlib import Path

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    # Connected while there is one machine: on the other one, this process would die with it.
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    second = cluster.add_node(num_cpus=1)
    busy = lambda: ray.available_resources().get("CPU", 0) == 0

    def kill():
        os.kill(second.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        print("killed", flush=True)

    thread = when(lambda: recorded(folder)() and busy(), kill)
    code = main.run(["--workspace", str(folder), *sys.argv[2:]])
    thread.join()
    nodes = [node["Alive"] for node in ray.nodes()]
    print("code", code, "alive", nodes.count(True), flush=True)
    ray.shutdown()
    cluster.shutdown()
"""


def test_a_machine_that_is_lost_while_it_trains_costs_its_tasks_alone(ready: Path, whole: str) -> None:
    pytest.importorskip("ray", reason=NOT_INSTALLED)
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


@pytest.mark.parametrize(
    ("number", "code", "line"), [(signal.SIGINT, 130, INTERRUPTED), (signal.SIGTERM, 143, "error: terminated")]
)
def test_a_signal_stops_the_ray_that_was_started_and_the_edit_can_be_resumed(
    ready: Path, whole: str, raie: Raie, number: signal.Signals, code: int, line: str
) -> None:
    pytest.importorskip("ray", reason=NOT_INSTALLED)
    base = trained.head_of(ready)
    with ray_environment(), applying(ready, "--executor", "ray", "--workers", "2") as process:
        wait_for(recorded(ready), process)
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
