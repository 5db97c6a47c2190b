"""The main job from a log to an edit and back, through the registry, on every database and every store."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raie.edits.workflow import apply_edit, open_view, plan_edit, resume_edit, run_setup
from raie.engine.data.synthetic import drifting_log, write_csv
from raie.engine.errors import NothingToEdit
from raie.engine.model import Settings
from raie.errors import UsageError
from raie.migrations import upgrade
from raie.registry import Author, CommitConflict, LeaseLost, Registry, Snapshot, lineage
from raie.registry.maintenance.verify import verify
from tests.raie_engine.world import ROOT, SMALL_LOG, in_another_process, small_settings

MODEL = "recsys"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """A process that resumes a backbone must sum in the same order as the one that was killed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def no_progress(what: str, done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Ground:
    """A registry by its addresses, a log, and the folder of unfinished work."""

    database: str
    store: str
    log: Path
    work: Path

    @property
    def registry(self) -> Registry:
        """Opened anew, as another process would."""
        return Registry.open(self.database, self.store)

    def until(self, edit: int) -> str:
        return list(drifting_log(SMALL_LOG).truth.cuts.values())[edit]

    def setup(self, settings: Settings | None = None, until: str | None = None) -> Snapshot:
        return run_setup(
            self.registry,
            MODEL,
            self.log,
            until or self.until(0),
            settings or small_settings(),
            actor="ada",
            reason="first",
            work=self.work,
            progress=no_progress,
        )

    def edit(self, number: int, workers: int = 1) -> Snapshot:
        registry = self.registry
        plan = plan_edit(registry, MODEL, self.log, self.until(number), None)
        _, snapshot = apply_edit(
            registry,
            MODEL,
            plan,
            actor="ada",
            reason=f"slice {number}",
            work=self.work,
            workers=workers,
            progress=no_progress,
        )
        return snapshot

    def resume(
        self, number: int, progress: Callable[[str, int, int], None] = no_progress, force: bool = False
    ) -> Snapshot:
        return resume_edit(
            self.registry,
            MODEL,
            number,
            actor="grace",
            force=force,
            work=self.work,
            workers=1,
            progress=progress,
        )

    def scores(self, snapshot: Snapshot) -> torch.Tensor:
        view = open_view(self.registry, snapshot)
        return view.router.scores(view.holdout)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    write_csv(drifting_log(SMALL_LOG), path)
    return path


def at(folder: Path, log: Path) -> Ground:
    """An empty registry in a folder."""
    folder.mkdir(exist_ok=True)
    ground = Ground(f"sqlite:///{folder}/registry.db", str(folder / "blobs"), log, folder / "work")
    upgrade(ground.database)
    return ground


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, log: Path) -> tuple[Ground, list[Snapshot]]:
    """A model set up and edited twice without any interruption; nobody changes it."""
    ground = at(tmp_path_factory.mktemp("done"), log)
    return ground, [ground.setup(), ground.edit(1), ground.edit(2)]


@pytest.fixture
def empty(tmp_path: Path, log: Path) -> Ground:
    """A registry without a model."""
    return at(tmp_path / "here", log)


@pytest.fixture(scope="module")
def _set_up(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Path:
    folder = tmp_path_factory.mktemp("set up")
    at(folder, log).setup()
    return folder


@pytest.fixture
def made(_set_up: Path, tmp_path: Path, log: Path) -> Ground:
    """A model that was set up and not edited yet."""
    shutil.copytree(_set_up, tmp_path / "made")
    return at(tmp_path / "made", log)


FRESH_SCORES = """
import hashlib, sys
from raie.edits.workflow import open_view
from raie.registry import Registry
registry = Registry.open(sys.argv[1], sys.argv[2])
view = open_view(registry, registry.resolve("recsys", sys.argv[3]))
print(hashlib.sha256(view.router.scores(view.holdout).numpy().tobytes()).hexdigest())
"""


def test_set_up_edit_roll_back_and_promote_on_every_database_and_store(
    database_url: str, store_url: str, log: Path, tmp_path: Path, done: tuple[Ground, list[Snapshot]]
) -> None:
    upgrade(database_url)
    ground = Ground(database_url, store_url, log, tmp_path / "work")
    registry = ground.registry
    made, first, second = ground.setup(), ground.edit(1), ground.edit(2)
    # The same seeds on the same log: the ids do not depend on where they are kept.
    assert [made.id, first.id, second.id] == [snapshot.id for snapshot in done[1]]
    assert [edit.state for edit in registry.edits(MODEL)] == ["committed"] * 3
    assert not any(ground.work.rglob("*.safetensors")), "finished edits leave no checkpoint"

    registry.promote(MODEL, "head", "production", Author("ada"))
    undone = registry.rollback_edit(MODEL, first.edit, Author("ada", "the first edit only"))
    touched = {change.change.region for change in lineage.operations(registry, MODEL, second.edit)}
    assert touched
    for region in touched & set(second.content.regions):
        assert undone.content.regions[region] == second.content.regions[region]
    gone = set(first.content.regions) - set(made.content.regions)
    assert not gone & set(undone.content.regions)
    assert ground.scores(undone).isnan().sum() == 0

    back = registry.rollback_to(MODEL, made.id, Author("ada", "all of it"))
    assert back.content.digest == made.content.digest
    assert back.id != made.id
    assert torch.equal(ground.scores(back), ground.scores(made))
    served = registry.resolve(MODEL, "production")
    assert served.id == second.id
    mine = hashlib.sha256(ground.scores(served).numpy().tobytes()).hexdigest()
    assert in_another_process(FRESH_SCORES, database_url, store_url, "production") == mine
    assert verify(registry).ok


def test_a_rolled_back_model_gives_the_old_scores_bit_for_bit_in_a_fresh_process(
    made: Ground,
) -> None:
    before = made.registry.resolve(MODEL, "head")
    expected = hashlib.sha256(made.scores(before).numpy().tobytes()).hexdigest()
    edited = made.edit(1)
    assert not torch.equal(made.scores(edited)[:, : made.scores(before).shape[1]], made.scores(before))
    back = made.registry.rollback_edit(MODEL, 2, Author("ada"))
    assert back.content.digest == before.content.digest
    assert in_another_process(FRESH_SCORES, made.database, made.store, "head") == expected


def test_windows_routed_elsewhere_score_the_same_bits_after_an_edit(done: tuple[Ground, list[Snapshot]]) -> None:
    ground, (made, first, _) = done
    registry = ground.registry
    before, after = open_view(registry, made), open_view(registry, first)
    windows = before.holdout
    touched = [operation.change.region for operation in lineage.operations(registry, MODEL, first.edit)]
    here = after.router.assign(windows)
    elsewhere = (before.router.assign(windows) == here) & ~np.isin(here, touched)
    assert elsewhere.any()
    scores = before.router.scores(windows)
    assert torch.equal(after.router.scores(windows)[elsewhere, : scores.shape[1]], scores[elsewhere])


def test_an_edit_records_what_it_did_and_how_it_went(done: tuple[Ground, list[Snapshot]]) -> None:
    ground, (_, first, _) = done
    edit = ground.registry.edit(MODEL, first.edit)
    report: Any = edit.report
    assert edit.result == first.id
    assert edit.plan_digest is not None
    assert report["untouched_identical"] is True
    actions = {operation.change.action for operation in lineage.operations(ground.registry, MODEL, first.edit)}
    assert actions >= {"update", "expand"}
    added = {row["region"] for row in report["regions"]} - set(range(5))
    assert len(added) >= 2
    # Which of them the few held-out windows confirm differs from processor to processor.
    assert set(first.content.regions) == set(range(5)) | added - set(report["rejected"])


def test_a_plan_changes_nothing_and_is_the_same_again(done: tuple[Ground, list[Snapshot]]) -> None:
    ground, _ = done
    before = ground.registry.edits(MODEL)
    plans = [plan_edit(ground.registry, MODEL, ground.log, None, None).prepared.plan for _ in range(2)]
    assert plans[0].digest == plans[1].digest
    assert plan_edit(ground.registry, MODEL, ground.log, None, 7).prepared.plan.seed == 7
    assert ground.registry.edits(MODEL) == before


def test_nothing_new_begins_no_edit(done: tuple[Ground, list[Snapshot]]) -> None:
    ground, _ = done
    before = ground.registry.edits(MODEL)
    with pytest.raises(NothingToEdit):
        plan_edit(ground.registry, MODEL, ground.log, ground.until(2), None)
    assert ground.registry.edits(MODEL) == before


def test_an_edit_before_the_set_up_says_what_to_do(empty: Ground) -> None:
    with pytest.raises(UsageError, match="raie setup"):
        plan_edit(empty.registry, MODEL, empty.log, None, None)


def test_a_set_up_that_can_never_work_is_closed_and_another_can_follow(empty: Ground) -> None:
    with pytest.raises(NothingToEdit):
        empty.setup(until="2024-01-01T01:00:00Z")
    (edit,) = empty.registry.edits(MODEL)
    assert (edit.state, "found none" in str(edit.close_reason)) == ("aborted", True)
    settings = small_settings(epochs=1)
    assert empty.setup(settings).edit == 2


def test_two_edits_planned_on_one_head_do_not_both_land(made: Ground) -> None:
    """They read the same rows after the same watermark, so the later one must be planned again."""
    registry = made.registry
    plan = plan_edit(registry, MODEL, made.log, made.until(1), None)
    head = made.edit(1)
    arguments: dict[str, Any] = {"actor": "ada", "reason": "", "work": made.work, "workers": 1}
    # With the same windows its content would be the head's, which is no conflict.
    changed = replace(plan, prepared=replace(plan.prepared, train_until=plan.prepared.train_until - 86_400))
    with pytest.raises(CommitConflict):
        apply_edit(registry, MODEL, changed, progress=no_progress, **arguments)
    assert registry.head(MODEL) == head
    assert verify(registry).ok


CHILD = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.cli.test_edits import Ground
import tests.cli.test_edits as workflows
database, store, log, work, what, stop = sys.argv[1:]

def stuck(doing, done, total):
    if doing.startswith(what) and done >= int(stop):
        print("ready", flush=True)
        time.sleep(300)

workflows.no_progress = stuck
ground = Ground(database, store, Path(log), Path(work))
ground.setup() if what == "backbone" else ground.edit(1)
"""


def kill_at(ground: Ground, what: str, stop: int, recorded: Callable[[], bool]) -> None:
    """Run setup or the first edit in a process of its own and kill it at a step, once that step is recorded."""
    command = [
        sys.executable,
        "-c",
        CHILD,
        ground.database,
        ground.store,
        ground.log,
        ground.work,
        what,
        str(stop),
    ]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 30
        while not recorded():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # While the process lives the edit is its own.
        (running,) = [edit for edit in ground.registry.edits(MODEL) if edit.state == "running"]
        with pytest.raises(LeaseLost):
            ground.resume(running.number)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        process.stdout.close()


def regions_recorded(ground: Ground) -> list[int]:
    keys = ground.registry.checkpoints(MODEL, 2)
    return [int(key.split()[1]) for key in keys if key.startswith("region ") and not key.endswith("-1")]


def test_an_edit_killed_in_its_middle_is_finished_by_another_process_with_the_same_id(
    made: Ground, done: tuple[Ground, list[Snapshot]]
) -> None:
    before = made.registry.head(MODEL)
    kill_at(made, "regions", 2, lambda: len(regions_recorded(made)) == 1)
    registry = made.registry
    assert registry.head(MODEL) == before
    report = verify(registry)
    assert report.ok, report
    assert [(edit.number, edit.state) for edit in registry.edits(MODEL) if edit.kind == "edit"] == [
        (2, "abandoned")
    ]
    steps: list[tuple[str, int, int]] = []
    finished = made.resume(2, lambda *step: steps.append(step))
    assert steps[0][:2] == ("regions", 2), "what was recorded is not trained again"
    assert finished.id == done[1][1].id
    assert registry.edit(MODEL, 2).state == "committed"
    assert verify(registry).ok
    with_report: Any = registry.edit(MODEL, 2).report
    whole: Any = done[0].registry.edit(MODEL, 2).report
    assert without_seconds(with_report) == without_seconds(whole)


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_seconds(inner) for name, inner in value.items() if name != "seconds"}
    return [without_seconds(inner) for inner in value] if isinstance(value, list) else value


def test_an_edit_killed_after_all_its_training_resumes_without_its_log(
    made: Ground, done: tuple[Ground, list[Snapshot]], tmp_path: Path
) -> None:
    moved = replace(made, log=tmp_path / "moved.csv")
    moved.log.write_bytes(made.log.read_bytes())
    kill_at(moved, "evaluating", 0, lambda: True)
    moved.log.unlink()
    assert moved.resume(2).id == done[1][1].id


def test_a_set_up_killed_while_it_trains_goes_on_where_it_was(
    empty: Ground, done: tuple[Ground, list[Snapshot]]
) -> None:
    checkpoint = empty.work / MODEL / "edit-1" / "backbone.safetensors"
    kill_at(empty, "backbone", 3, checkpoint.exists)
    registry = empty.registry
    assert registry.head(MODEL) is None
    assert verify(registry).ok
    assert [(edit.kind, edit.state) for edit in registry.edits(MODEL)] == [("setup", "abandoned")]
    steps: list[int] = []
    assert empty.resume(1, lambda _, step, total: steps.append(step)).id == done[1][0].id
    assert steps[0] == 4


def test_a_set_up_killed_once_it_has_trained_does_not_train_again(
    empty: Ground, done: tuple[Ground, list[Snapshot]]
) -> None:
    report: Any = done[0].registry.edit(MODEL, 1).report
    kill_at(empty, "backbone", report["backbone"]["epochs"], lambda: True)
    steps: list[int] = []
    assert empty.resume(1, lambda _, step, total: steps.append(step)).id == done[1][0].id
    assert steps == []


def test_a_set_up_does_not_go_on_with_another_log(empty: Ground, tmp_path: Path) -> None:
    moved = replace(empty, log=tmp_path / "moved.csv")
    moved.log.write_bytes(empty.log.read_bytes())
    kill_at(moved, "backbone", 1, lambda: True)
    lines = moved.log.read_text().splitlines(keepends=True)
    moved.log.write_text("".join(lines[:-1]))
    with pytest.raises(UsageError, match="expected the log that setup 1 began with"):
        moved.resume(1)
