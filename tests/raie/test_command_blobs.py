"""What a command puts and reads: every blob once, and nothing that an interrupted edit needs later than it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raie.command_blobs import CommandBlobs
from raie.edits.workflow import apply_edit, plan_edit, run_setup
from raie.engine.config import BackboneConfig, EditConfig, EngineConfig, RegionConfig
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.engine.model import Settings
from raie.registry import LocalStore, Registry, digest_of

MODEL = "recsys"


class Spy:
    """The digests that reach a folder's put, get and check."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.put, self.read, self.checked = Counter[str](), Counter[str](), Counter[str]()
        for name, calls in (("put", self.put), ("get", self.read), ("check", self.checked)):
            patch.setattr(LocalStore, name, self._counted(getattr(LocalStore, name), calls))

    @staticmethod
    def _counted(method: Any, calls: Counter[str]) -> Any:
        def call(store: LocalStore, what: Any) -> Any:
            calls[digest_of(what) if isinstance(what, bytes) else what] += 1
            return method(store, what)

        return call


@pytest.fixture
def spy() -> Iterator[Spy]:
    with pytest.MonkeyPatch.context() as patch:
        yield Spy(patch)


def test_an_edit_puts_and_reads_no_blob_twice_and_records_each_region_once_its_blobs_are_there(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, log = local_registry, tmp_path / "log.csv"
    write_csv(drifting_log(SyntheticConfig(users=80)), log)
    engine = EngineConfig(
        backbone=BackboneConfig(dim=16, layers=1, heads=1, epochs=1),
        regions=RegionConfig(regions=2),
        edit=EditConfig(shared_epochs=1, epochs=1),
    )
    names: dict[str, Any] = {"actor": "ada", "reason": "", "work": tmp_path, "progress": lambda *_: None}
    run_setup(registry, MODEL, log, "0.5", Settings(engine, LogSettings()), **names)
    stored = {blob.digest for blob in registry.store.iterate()}
    recorded: list[str] = []
    record_checkpoint = Registry.record_checkpoint

    def recording(self: Registry, model: str, number: int, key: str, value: Any) -> None:
        there = {blob.digest for blob in registry.store.iterate()}
        assert set(value.get("blobs", {}).values()) <= there
        recorded.append(key)
        record_checkpoint(self, model, number, key, value)

    monkeypatch.setattr(Registry, "record_checkpoint", recording)
    spy = Spy(monkeypatch)
    plan = plan_edit(registry, MODEL, log, "0.8", None)
    # As the command line does: the registry that applies the plan is not the object that made it.
    another = Registry.open(str(registry.engine.url), str(registry.store.top))  # type: ignore[attr-defined]
    apply_edit(another, MODEL, plan, workers=1, **names)
    assert set(recorded) == {
        "prepared",
        "region -1",
        *(f"region {region}" for region in plan.prepared.plan.touched),
    }
    made = {blob.digest for blob in registry.store.iterate()} - stored
    assert spy.put == dict.fromkeys(made, 1), "what is new is put once, and what was there is not put"
    assert spy.checked == dict.fromkeys(made, 1), "what was put is read back once"
    assert set(spy.read.values()) == {1}
    assert set(spy.read) <= stored, "what this command has put is not fetched"


def test_what_was_read_or_put_is_not_put_again(local_registry: Registry, spy: Spy) -> None:
    (old,) = local_registry.put_all([b"old"])
    spy.put.clear()
    blobs = CommandBlobs(local_registry)
    assert blobs.get(old) == b"old"
    digests = [digest_of(text) for text in (b"old", b"new", b"new")]
    assert blobs.put_all([b"old", b"new", b"new"]) == digests
    assert blobs.put_all([b"new"]) == digests[1:2]
    assert blobs.get(digests[1]) == b"new"
    assert spy.put == {digests[1]: 1}
    assert spy.read == {old: 1}


def test_an_edit_puts_again_what_an_earlier_one_put_and_a_gc_may_have_taken(local_registry: Registry) -> None:
    blobs = CommandBlobs(local_registry)
    (digest,) = blobs.of_an_edit(local_registry).put_all([b"plan"])
    local_registry.store.delete(digest)
    assert blobs.of_an_edit(local_registry).put_all([b"plan"]) == [digest]
    assert local_registry.get(digest) == b"plan"
