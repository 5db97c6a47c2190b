"""What an edit asks of its store: calls, requests to S3 and seconds, blob by blob as before and in one go; ratios."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from raie import migrations
from raie.command_blobs import CommandBlobs
from raie.edits import workflow
from raie.edits.workflow import apply_edit, plan_edit, run_setup
from raie.engine.config import BackboneConfig, EditConfig, EngineConfig, RegionConfig
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.engine.model import Settings
from raie.registry import ArtifactStore, Digest, Registry
from raie.registry.store.s3 import S3Store
from tests.benchmarks.measuring import columns

pytestmark = pytest.mark.benchmark

MODEL = "recsys"
ROUNDS = 3
ENGINE = EngineConfig(
    backbone=BackboneConfig(dim=16, layers=1, heads=1, epochs=2),
    regions=RegionConfig(regions=5),
    edit=EditConfig(shared_epochs=1, epochs=1),
)


@dataclass(frozen=True)
class BlobByBlob(CommandBlobs):
    """As edits were before: each blob by itself, and nothing remembered."""

    def get(self, digest: Digest) -> bytes:
        return self.registry.get(digest)

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        return [self.registry.put(blob) for blob in data]


class Counted:
    """A store whose calls are counted."""

    def __init__(self, store: ArtifactStore, calls: Counter[str]) -> None:
        self._store, self._calls = store, calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            self._calls[name] += 1
            return method(*arguments, **options)

        return call


def counting_requests(store: ArtifactStore, requests: Counter[str]) -> None:
    """Count every request that this store sends to S3."""
    if isinstance(store, S3Store):
        client = store._objects._client
        client.meta.events.register_first("before-send.s3", lambda request, **_: requests.update([request.method]))


def test_an_edit_blob_by_blob_and_in_one_go(store_url: str, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = disk / "log.csv"
    write_csv(drifting_log(SyntheticConfig(users=300)), log)
    names: dict[str, Any] = {"actor": "ada", "reason": "", "progress": lambda *_: None}
    made = dict[str, list[tuple[int, int, float]]]()
    ids = set[str]()
    for round_number in range(ROUNDS):
        for how, blobs in (("blob by blob", BlobByBlob), ("in one go", CommandBlobs)):
            folder = disk / f"{how}-{round_number}".replace(" ", "-")
            folder.mkdir()
            migrations.upgrade(f"sqlite:///{folder}/registry.db")
            url = f"{store_url}/{folder.name}" if store_url.startswith("s3:") else str(folder / "store")
            registry = Registry.open(f"sqlite:///{folder}/registry.db", url)
            run_setup(registry, MODEL, log, "0.5", Settings(ENGINE, LogSettings()), work=folder, **names)
            calls, requests = Counter[str](), Counter[str]()
            counting_requests(registry.store, requests)
            monkeypatch.setattr(workflow, "CommandBlobs", blobs)
            counted = replace(registry, store=Counted(registry.store, calls))  # type: ignore[arg-type]
            begun = time.perf_counter()
            plan = plan_edit(counted, MODEL, log, "0.8", None)
            _, snapshot = apply_edit(counted, MODEL, plan, work=folder, workers=1, **names)
            made.setdefault(how, []).append((calls.total(), requests.total(), time.perf_counter() - begun))
            ids.add(snapshot.id)
            print(f"\n{how}: {dict(calls)} {dict(requests)}", end="")
    assert len(ids) == 1, "both ways make the same snapshot"
    rows = [[statistics.median(column) for column in zip(*rounds, strict=True)] for rounds in made.values()]
    table = [[how, *(f"{value:.4g}" for value in row)] for how, row in zip(made, rows, strict=True)]
    shares = [f"{new / old:.2f}" if old else "-" for old, new in zip(*rows, strict=True)]
    where = "S3" if store_url.startswith("s3:") else "folder"
    print(
        f"\n{where}, {os.cpu_count()} cores\n"
        + columns(["edit apply", "store calls", "S3 requests", "s"], [*table, ["ratio", *shares]])
    )
