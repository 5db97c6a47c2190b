"""MLflow's SQLite file while it is made: half made by an earlier release, and by a process that is stopped meanwhile."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

__all__ = ["half_made", "kill_while_it_makes", "making", "opens"]

ROOT = Path(__file__).resolve().parents[3]
# A test run in the background hands on that SIGINT is ignored.
_MAKE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    "; from raie.registry.mlflow.client import make_file; make_file(sys.argv[1])"
)
_OPEN = (
    "import sys; from raie.registry.mlflow.client import open_client"
    "; print(open_client(sys.argv[1]).get_experiment('0').name)"
)


def half_made(file: Path) -> None:
    """What an earlier release left when it was interrupted: the first tables, which MLflow cannot go on from."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256) NOT NULL);"
            "CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY);"
            "CREATE TABLE registered_models (name VARCHAR(256) PRIMARY KEY);"
            "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY);"
            "INSERT INTO alembic_version VALUES ('89d4b8295536');"
        )
    # Long ago: nobody is still making it.
    os.utime(file, (1.0e9, 1.0e9))


def making(file: Path) -> subprocess.Popen[bytes]:
    """A process that makes the file as a first sync does."""
    command = [sys.executable, "-W", "ignore", "-c", _MAKE, f"sqlite:///{file}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_while_it_makes(file: Path, sign: signal.Signals, after_s: float) -> None:
    """Starts such a process and stops it this many seconds after it has begun to write."""
    before = _bytes(file.parent)
    process = making(file)
    deadline = time.monotonic() + 120
    while _bytes(file.parent) == before and process.poll() is None:
        assert time.monotonic() < deadline, "the process did not begin"
        time.sleep(0.01)
    time.sleep(after_s)
    process.send_signal(sign)
    process.wait(60)


def _bytes(folder: Path) -> int:
    # A journal may go between the look at the folder and the look at the file.
    return sum(entry.stat().st_size for entry in folder.iterdir() if entry.suffix in (".db", ".new"))


def opens(file: Path) -> bool:
    """Whether MLflow can use the file, asked in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", _OPEN, f"sqlite:///{file}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip() == "Default"
