"""A region trained in another process, which has to reach the store that the edit was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raie.edits.remote_training import train_and_store
from raie.registry import StoreUnreachable
from raie.registry.store.local import LocalStore


def test_a_worker_that_reads_another_store_trains_nothing(tmp_path: Path) -> None:
    # As where the store is a folder that only one machine has.
    task: Any = type("Task", (), {"store": LocalStore(tmp_path), "known": "0" * 64})()
    with pytest.raises(StoreUnreachable, match="keep blobs in S3 or in a folder that all machines mount"):
        train_and_store(task)
