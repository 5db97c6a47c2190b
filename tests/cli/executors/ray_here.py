"""A real Ray on this machine, for as long as some tests run."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["NOT_INSTALLED", "ray_environment"]

NOT_INSTALLED = "Ray is not installed: pip install 'raie[ray]'"
ROOT = Path(__file__).resolve().parents[3]
_TOKEN = secrets.token_hex(32)  # one for all: a process that has connected once keeps the token


@contextlib.contextmanager
def ray_environment() -> Iterator[dict[str, Any]]:
    """The variables of a Ray that writes nothing below the developer's home, and the options of its start."""
    folder = tempfile.mkdtemp(prefix="raie-ray-")  # short: sockets lie in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # workers import tests.cli.executors.worker_tasks
        patch.setenv("RAY_AUTH_TOKEN", _TOKEN)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's own 15 would keep every worker waiting beside other tests.
        patch.setenv("RAY_worker_niceness", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR", "_temp_dir": folder}
    shutil.rmtree(folder, ignore_errors=True)
