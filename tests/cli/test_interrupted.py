"""A real process is stopped in the middle of an edit: nothing moved, nothing is left running, resume finishes it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli import trained
from tests.cli.conftest import Raie
from tests.cli.trained import FIRST, LOG, MODEL

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = "error: interrupted; `raie edit resume 2` goes on"
PATIENCE_S = 120.0
APPLY = ["edit", "apply", LOG, "--until", FIRST, "--reason", "stopped"]

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals to groups of processes are POSIX")


@contextmanager
def applying(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A real `raie edit apply`, leader of a process group of its own, none of which outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "raie.cli.main", "--workspace", str(folder), *APPLY, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)


def members(group: int) -> list[int]:
    """The processes of a group that still run."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,pid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pgid, pid, state in rows if int(pgid) == group and not state.startswith("Z")]


def wait_for(is_reached: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is reached while the process runs."""
    end = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def recorded(folder: Path) -> Callable[[], bool]:
    """Whether the edit has recorded the adapter of all touched regions together: their own trainings come next."""
    registry = trained.opened(folder)
    return lambda: len(registry.edits(MODEL)) == 2 and "region -1" in registry.checkpoints(MODEL, 2)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of regions that train, or were stopped while they did."""
    return list((folder / ".raie" / "work" / MODEL / "edit-2").glob("region-?.safetensors"))


def side_by_side(folder: Path) -> Callable[[], bool]:
    """Whether two workers have begun to write the checkpoints of their regions."""
    return lambda: len(checkpoints(folder)) >= 2


def assert_resumable(raie: Raie, folder: Path, base: str, whole: str) -> None:
    """The head has not moved, nothing is damaged, and resume makes the snapshot that an uninterrupted edit makes."""
    assert trained.head_of(folder) == base
    assert [(edit["edit"], edit["state"]) for edit in raie("edit", "list", "--json").json["edits"]] == [
        (2, "abandoned"),
        (1, "committed"),
    ]
    assert "raie edit resume 2" in raie("log").out
    resumed = raie("edit", "resume", "2", "--workers", "1", "--json")
    assert (resumed.code, resumed.err) == (0, "")
    assert resumed.json["id"] == whole
    assert trained.head_of(folder) == whole
    assert not (folder / ".raie" / "work" / MODEL / "edit-2").exists(), "checkpoints that nobody needs any more"


def test_control_c_is_one_line_and_code_130_and_the_edit_can_be_resumed(
    raie: Raie, ready: Path, whole: str
) -> None:
    base = trained.head_of(ready)
    with applying(ready, "--workers", "1") as process:
        wait_for(recorded(ready), process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out, err) == (130, "", f"{INTERRUPTED}\n")
    assert_resumable(raie, ready, base, whole)


@pytest.mark.slow
def test_control_c_reaches_workers_that_just_start_and_is_still_one_line(ready: Path) -> None:
    base = trained.head_of(ready)
    with applying(ready, "--workers", "2") as process:
        wait_for(lambda: len(members(process.pid)) >= 3, process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out, err) == (130, "", f"{INTERRUPTED}\n")
        wait_until_gone(process.pid)
    assert trained.head_of(ready) == base


def test_sigterm_is_one_line_and_code_143_and_stops_workers_in_the_middle(
    raie: Raie, ready: Path, whole: str
) -> None:
    base = trained.head_of(ready)
    with applying(ready, "--workers", "2") as process:
        wait_for(side_by_side(ready), process)
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out, err) == (143, "", "error: terminated\n")
        wait_until_gone(process.pid)
    assert len(checkpoints(ready)) == 2, "it went on until the regions were trained"
    assert_resumable(raie, ready, base, whole)


def test_an_edit_killed_with_its_workers_is_resumed_to_the_same_snapshot(
    raie: Raie, ready: Path, whole: str
) -> None:
    base = trained.head_of(ready)
    with applying(ready, "--workers", "2") as process:
        wait_for(side_by_side(ready), process)
        process.kill()
        process.wait(PATIENCE_S)
        wait_until_gone(process.pid)
    assert_resumable(raie, ready, base, whole)


def test_a_killed_edit_is_resumed_without_its_log_and_without_its_checkpoints(
    raie: Raie, ready: Path, whole: str
) -> None:
    base = trained.head_of(ready)
    with applying(ready, "--workers", "1") as process:
        wait_for(recorded(ready), process)
        process.kill()
        process.wait(PATIENCE_S)
    shutil.rmtree(ready / ".raie" / "work", ignore_errors=True)
    (ready / LOG).unlink()
    assert_resumable(raie, ready, base, whole)


def wait_until_gone(group: int) -> None:
    """Wait until no process of a group is left: a worker that went on would write where the next one resumes."""
    end = time.monotonic() + 20
    while members(group):
        assert time.monotonic() < end, "workers outlive the process that started them"
        time.sleep(0.05)
