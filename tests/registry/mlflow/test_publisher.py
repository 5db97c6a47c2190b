"""The publisher against a real MLflow: what it shows equals the registry, and no failure makes a duplicate."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select, update

from raie.migrations import upgrade
from raie.registry import Author, Content, InvalidValue, Registry, Snapshot, audit
from raie.registry.db.engine import reading, write
from raie.registry.db.tables import outbox_events
from raie.registry.errors import MlflowUnreachable
from raie.registry.events.openlineage import DataRange
from raie.registry.mlflow import client as connection
from raie.registry.mlflow import payload as record
from raie.registry.mlflow import publisher
from raie.registry.mlflow.checkpoints import published_in_mlflow
from raie.registry.mlflow.edit_facts import EditFacts
from raie.registry.mlflow.publisher import MlflowPublisher, status
from raie.registry.mlflow.upserts import regions_of
from raie.registry.outbox import Progress, drain, requeue
from raie.registry.outbox_records import OutboxEvent, SyncReport
from raie.registry.values import entry_digest
from tests.conftest import free_port
from tests.registry.mlflow.mlflow_files import half_made, kill_while_it_makes
from tests.registry.mlflow.mlflow_history import CODE, change, edit, history, shape, sync

# MLflow's own imports and SQL warn of what a later Python or SQLAlchemy will drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

T = TypeVar("T")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow in a SQLite file of its own; tests share it and keep apart by their models' names.

    The file that is there first is half made, as an interrupted sync of an earlier release left it, and the first sync
    of this one is killed while it makes the file: every test of this module needs what the next sync makes of that.
    """
    folder = tmp_path_factory.mktemp("mlflow")
    half_made(folder / "mlflow.db")
    kill_while_it_makes(folder / "mlflow.db", signal.SIGKILL, after_s=0.3)
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def small(tmp_path: Path) -> Registry:
    return new_registry(tmp_path)


@pytest.fixture
def mlflow(tracking: str) -> Iterator[Any]:
    with connection.quiet_mlflow():
        yield connection.open_client(tracking)


@pytest.fixture(scope="module")
def story(tracking: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, list[Snapshot]]:
    """A registry whose model `story` is published, for the tests that only look."""
    registry = new_registry(tmp_path_factory.mktemp("story"))
    snapshots = history(registry, "story")
    assert sync(registry, tracking) == SyncReport(published=6, remaining=0)
    return registry, snapshots


def new_registry(folder: Path) -> Registry:
    url = f"sqlite:///{folder}/registry.db"
    upgrade(url)
    return Registry.open(url, str(folder / "blobs"))


def test_mlflow_shows_every_edit_snapshot_and_alias_of_the_registry(
    story: tuple[Registry, list[Snapshot]], mlflow: Any
) -> None:
    registry, (first, second, third) = story
    shown = shape(mlflow, "story")

    runs = {run[0]: run for run in shown["runs"]}
    names = {
        1: ["edit 1: setup", "region 0: setup", "region 1: setup"],
        2: ["edit 2: edit", "region 0: update", "region 2: add"],
        3: ["edit 3: rollback", "region 0: revert", "region 2: retire"],
    }
    assert list(runs) == [f"{number}/{name}" for number, edit_names in names.items() for name in edit_names]
    assert {run[1] for run in runs.values()} == {"FINISHED"}
    parents = {name: dict(run[3]).get("mlflow.parentRunId") for name, run in runs.items()}
    assert parents["2/region 0: update"] == "2/edit 2: edit"
    assert parents["2/edit 2: edit"] is None

    snapshots = [first.id, second.id, third.id]
    versions = shown["versions"]
    assert [dict(tags)["raie.snapshot"] for _, _, tags, _ in versions] == snapshots
    assert [dict(tags).get("raie.parent") for _, _, tags, _ in versions] == [None, *snapshots[:2]]
    assert [dict(tags)["raie.content"] for _, _, tags, _ in versions] == [
        first.content.digest,
        second.content.digest,
        first.content.digest,
    ]
    page = versions[1][3]
    end = "?workflowType=machine_learning"
    assert f"](#/models/story/versions/1{end})" in page
    assert f"/runs/2/edit 2: edit{end})" in page
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| ")}
    assert list(rows)[-3:] == ["| 0", "| 2", "| 1"]
    assert f"/models/story-region-0-v2{end}) | [edit 2]" in rows["| 0"]
    assert f"/runs/1/region 1: setup{end}) | [edit 1][] |" in rows["| 1"]
    assert page.endswith(f"[edit 1]: #/models/story/versions/1{end}")
    undone = [line for line in versions[2][3].splitlines() if line.startswith(("| 0 ", "| 1 "))]
    # The version that the first edit made is back since the rollback; the other was there all the time.
    assert [(line.count("[edit 1](#"), line.split(" | ")[-1]) for line in undone] == [
        (1, "this edit |"),
        (1, "[edit 1][] |"),
    ]
    assert shown["aliases"] == {
        alias.name: 1 + snapshots.index(alias.snapshot) for alias in registry.aliases("story")
    }
    assert shown["aliases"] == {"candidate": 2, "production": 3}


def test_every_version_carries_the_end_of_the_audit_chain_so_that_a_rewritten_table_shows(
    story: tuple[Registry, list[Snapshot]], tracking: str
) -> None:
    registry, _ = story
    kept = published_in_mlflow(tracking, ["story", "unheard of"])
    with reading(registry.engine) as connection_:
        commits = [event for event in audit.events(connection_) if event.action in ("commit", "rollback")]
        assert audit.verify_chain(connection_, kept).problems == ()
        forged = [replace(checkpoint, hash="0" * 64) for checkpoint in kept] + [
            replace(kept[0], number=None, hash="1" * 64)
        ]
        (problem,) = audit.verify_chain(connection_, forged).problems
    assert {(checkpoint.number, checkpoint.hash) for checkpoint in kept} == {
        (event.id, event.hash) for event in commits
    }
    assert "rewritten: MLflow expects" in problem
    assert problem.endswith("and 3 later ends, found none")


def test_an_mlflow_that_is_not_there_keeps_no_end(tmp_path: Path) -> None:
    for uri in (f"sqlite:///{tmp_path / 'none.db'}", f"http://127.0.0.1:{free_port()}"):
        with pytest.raises(MlflowUnreachable, match="found nothing there"):
            published_in_mlflow(uri, ["story"])
    assert list(tmp_path.iterdir()) == []


def test_lineage_edges_join_each_region_version_to_the_one_before(
    story: tuple[Registry, list[Snapshot]], mlflow: Any
) -> None:
    shown = shape(mlflow, "story")
    edges = {run[0]: (run[5], run[6]) for run in shown["runs"]}
    first, second, third = (f"story-{snapshot.id[:12]}" for snapshot in story[1])
    assert edges["1/edit 1: setup"] == ([], [first])
    assert edges["2/edit 2: edit"] == ([first], [second])
    assert edges["3/edit 3: rollback"] == ([second], [third])
    assert edges["2/region 0: update"] == (["story-region-0-v1"], ["story-region-0-v2"])
    assert edges["2/region 2: add"] == ([], ["story-region-2-v1"])
    # The rollback goes back to the version that is there; nothing new appears for it.
    assert edges["3/region 0: revert"] == (["story-region-0-v2"], ["story-region-0-v1"])
    assert edges["3/region 2: retire"] == (["story-region-2-v1"], [])
    adapters = [name for name, *_ in shown["models"] if "-region-" in name]
    assert adapters == [f"story-region-{region}-v{v}" for region, v in ((0, 1), (0, 2), (1, 1), (2, 1))]
    assert {state for _, state, *_ in shown["models"]} == {"READY"}


def test_an_edits_run_holds_its_data_parameters_report_and_lineage_page(
    story: tuple[Registry, list[Snapshot]], mlflow: Any
) -> None:
    runs = {run[0]: run for run in shape(mlflow, "story")["runs"]}
    _, _, times, tags, (params, metrics), _, _, data, files = runs["1/edit 1: setup"]
    assert dict(params) == {"epochs": "10", "gate/policy": "radius", "seed": "7"}
    assert dict(metrics) == {"test/recall_10": 0.15, "regions": 2.0, "regions_changed": 2.0, "windows": 240.0}
    assert data == [("interactions-edit-1", "d" * 36)]
    assert files == ["event.json", "lineage.html"]
    assert dict(tags)["mlflow.user"] == "ada"
    closed = story[0].edit("story", 1).closed_at
    assert closed is not None
    assert times[1] == int(closed * 1000)
    region = dict(runs["1/region 0: setup"][4][1])
    assert region["radius_radians"] == 0.6
    assert region["recall_10"] == 0.14


def test_a_regions_version_has_digest_size_parent_version_data_and_what_it_gained(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    gained = {"before Recall@10": 0.25, "after Recall@10": 0.5, "before NDCG@10": 0.1}
    edit(small, "region", "setup", {0: 1}, change(0, "setup"))
    second = edit(small, "region", "edit", {0: 2}, replace(change(0, "update"), metrics=gained))
    sync(small, tracking)
    experiment = mlflow.get_experiment_by_name("region").experiment_id
    models = {m.name: m for m in mlflow.search_logged_models([experiment])}
    tags, first = (models[f"region-region-0-v{version}"].tags for version in (2, 1))
    entry = second.content.regions[0]
    wanted = {
        "raie.digest": entry_digest(entry),
        "raie.size_bytes": str(len("state 0 2" + "lora 0 2")),
        "raie.parent_version": "1",
        "raie.data_digest": "d" * 64,
        "raie.windows": "120",
        "raie.edit": "2",
    }
    assert wanted.items() <= tags.items()
    assert tags["raie.digest.lora"] == entry["lora"]
    assert "raie.parent_version" not in first
    page = tags["mlflow.note.content"].splitlines()
    assert page[2].startswith(f"**Version before** [v1](#/experiments/{experiment}/models/")
    assert page[-1] == "**Recall@10** on its new windows 0.2500 → 0.5000"
    assert {m.key for m in models["region-region-0-v2"].metrics} >= {"before_Recall_10", "windows"}


def test_a_rollbacks_runs_take_no_less_than_no_time_and_repeat_no_metric_of_the_training_that_it_undid(
    story: tuple[Registry, list[Snapshot]], mlflow: Any
) -> None:
    shown = shape(mlflow, "story")
    runs = {run[0]: run for run in shown["runs"]}
    assert all(end >= start for start, end in (run[2] for run in runs.values()))
    assert dict(runs["2/region 0: update"][4][1])["recall_10"] == 0.14
    for name in ("3/region 0: revert", "3/region 2: retire"):
        assert set(dict(runs[name][4][1])) == {"centre_shift_radians", "windows"}
    models = {name: metrics for name, _, _, metrics in shown["models"]}
    assert models["story-region-0-v1"] == len(runs["1/region 0: setup"][4][1])
    assert (runs["3/edit 3: rollback"][7], runs["2/edit 2: edit"][7][0][0]) == ([], "interactions-edit-2")


def test_what_an_edit_trained_with_is_a_param_of_its_runs(small: Registry, tracking: str, mlflow: Any) -> None:
    edit(small, "params", "setup", {0: 1}, change(0, "setup"))
    facts = EditFacts(DataRange(12, None, 99), {"rank": 8, "learning_rate": 0.0003})
    drain(small.engine, MlflowPublisher(tracking, small.engine, CODE, lambda event: facts))
    experiment = mlflow.get_experiment_by_name("params").experiment_id
    runs = mlflow.search_runs([experiment], "params.rank = '8' and params.learning_rate = '0.0003'")
    assert sorted(run.info.run_name for run in runs) == ["edit 1: setup", "region 0: setup"]
    assert mlflow.search_logged_models([experiment], "params.rank = '8'")[0].name == "params-region-0-v1"
    (data,) = next(run for run in runs if run.info.run_name == "edit 1: setup").inputs.dataset_inputs
    assert json.loads(data.dataset.profile) == {"windows": 120, "rows": 12, "after": None, "until": 99}


def test_nothing_but_descriptions_is_copied_into_mlflow(
    story: tuple[Registry, list[Snapshot]], tracking: str, mlflow: Any
) -> None:
    snapshot = story[1][1]
    version = mlflow.get_model_version("story", "2")
    folder = Path(version.source.removeprefix("file://"))
    described = json.loads((folder / "snapshot.json").read_text())
    assert described["id"] == snapshot.id
    assert Content.from_json(described["content"]) == snapshot.content
    root = Path(tracking.removeprefix("sqlite:///")).parent / "mlflow-artifacts" / "story"
    assert (folder / "model.py").read_text() == CODE
    assert {path.name for path in root.rglob("*") if path.is_file()} <= {
        "snapshot.json",
        "lineage.html",
        "event.json",
        "MLmodel",
        "model.py",
        "requirements.txt",
    }


def test_syncing_twice_adds_nothing_even_when_all_is_published_again(
    story: tuple[Registry, list[Snapshot]], tracking: str, mlflow: Any
) -> None:
    before = shape(mlflow, "story")
    assert sync(story[0], tracking) == SyncReport(published=0, remaining=0)
    assert sync(story[0], tracking, again=True) == SyncReport(published=6, remaining=0)
    assert shape(mlflow, "story") == before


def test_publishing_again_writes_the_page_of_an_earlier_release_anew_and_leaves_a_persons_own(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    edit(small, "anew", "setup", {0: 1, 1: 1}, change(0, "setup"), change(1, "setup"))
    edit(small, "anew", "edit", {0: 2, 1: 1}, change(0, "update"))
    sync(small, tracking)
    second = mlflow.get_model_version("anew", "2")
    older = {r: {"model_id": e["model_id"], "version": e["version"]} for r, e in regions_of(second.tags).items()}
    for version in ("1", "2"):
        mlflow.delete_model_version_tag("anew", version, record.DESCRIBED)
        mlflow.set_model_version_tag("anew", version, "raie.regions", json.dumps(older))
        mlflow.update_model_version("anew", version, "**Snapshot** `0123` of 2 regions")
    edit(small, "anew", "edit", {0: 3, 1: 1}, change(0, "update"))
    sync(small, tracking)
    page = mlflow.get_model_version("anew", "3").description
    assert page.splitlines()[-1].endswith(") | – | – |"), "nothing is made up of what nobody recorded"

    mlflow.update_model_version("anew", "1", "our own words")
    sync(small, tracking, again=True)
    assert mlflow.get_model_version("anew", "1").description == "our own words"
    assert mlflow.get_model_version("anew", "2").description == second.description
    assert dict(mlflow.get_model_version("anew", "2").tags) == dict(second.tags)
    page = mlflow.get_model_version("anew", "3").description
    assert page.endswith("[edit 1]: #/models/anew/versions/1?workflowType=machine_learning")


def test_a_first_sync_that_is_killed_leaves_neither_half_a_file_nor_anything_beside_it(
    story: tuple[Registry, list[Snapshot]], tracking: str
) -> None:
    folder = Path(tracking.removeprefix("sqlite:///")).parent
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlflow-artifacts"}
    assert status(story[0], tracking).reachable is True


class _Watched:
    """The publisher, with what MLflow's alias shows after every step of every event."""

    def __init__(self, inner: MlflowPublisher, look: Callable[[], int | None]) -> None:
        self.inner, self.target, self.look = inner, inner.target, look
        self.seen: list[int | None] = []

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        self.inner.publish(event, _WatchedProgress(self, progress))


class _WatchedProgress(Progress):
    def __init__(self, watch: _Watched, inner: Progress) -> None:
        self._watch, self._inner = watch, inner

    def step(self, name: str, act: Callable[[], T]) -> T:
        result = self._inner.step(name, act)
        self._watch.seen.append(self._watch.look())
        return result


def _alias_in(tracking: str, model: str) -> int | None:
    """The version that MLflow's `production` shows, read as a server of models reads it."""
    query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = 'production'"
    with closing(sqlite3.connect(tracking.removeprefix("sqlite:///"))) as connection_:
        row = connection_.execute(query, (model,)).fetchone()
    return None if row is None else int(row[0])


def test_no_reader_meets_an_older_alias_after_a_newer_however_late_or_often_it_is_published(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    first = edit(small, "late", "setup", {0: 1}, change(0, "setup"))
    small.promote("late", first.id, "production", Author("ada", "first"))
    second = edit(small, "late", "edit", {0: 2}, change(0, "update"))
    for snapshot, reason in ((second, "second"), (first, "back"), (second, "again")):
        small.promote("late", snapshot.id, "production", Author("ada", reason))
    watch = _Watched(MlflowPublisher(tracking, small.engine, CODE), lambda: _alias_in(tracking, "late"))
    assert drain(small.engine, watch).remaining == 0
    assert set(watch.seen) == {None, 2}
    assert watch.seen == sorted(watch.seen, key=lambda version: version or 0)
    notes = {v.version: v.tags.get("raie.alias.production") for v in mlflow.search_model_versions("name = 'late'")}

    watch.seen.clear()
    assert requeue(small.engine) == 6
    drain(small.engine, watch)
    assert set(watch.seen) == {2}
    assert len(watch.seen) > 10
    versions = mlflow.search_model_versions("name = 'late'")
    assert {v.version: v.tags.get("raie.alias.production") for v in versions} == notes
    said = {str(number): note and note.rpartition(": ")[2] for number, note in notes.items()}
    assert said == {"1": None, "2": "again"}, "only the version that the alias points to says why"


def test_an_alias_moved_or_deleted_in_mlflow_is_named_by_status_and_put_back_by_sync(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    first = edit(small, "drift", "setup", {0: 1}, change(0, "setup"))
    second = edit(small, "drift", "edit", {0: 2}, change(0, "update"))
    small.promote("drift", second.id, "production", Author("ada"))
    assert sync(small, tracking) == SyncReport(published=3, remaining=0)
    mlflow.set_registered_model_alias("drift", "production", "1")
    mlflow.set_registered_model_alias("drift", "of-mlflow-alone", "1")
    (gap,) = status(small, tracking).aliases
    assert (gap.snapshot, gap.found_version, gap.found_snapshot) == (second.id, "1", first.id)
    (closed,) = sync(small, tracking).aliases
    assert closed == replace(gap, version="2")
    mlflow.delete_registered_model_alias("drift", "production")
    (closed,) = sync(small, tracking).aliases
    assert (closed.found_version, closed.version) == (None, "2")
    assert mlflow.get_registered_model("drift").aliases == {"production": 2, "of-mlflow-alone": 1}
    assert status(small, tracking).aliases == ()
    mlflow.delete_model_version("drift", "2")
    (lost,) = sync(small, tracking).aliases
    assert lost.version is None
    assert "raie mlflow sync --again" in str(lost.error)
    assert sync(small, tracking, again=True).aliases == ()
    assert mlflow.get_registered_model("drift").aliases == {"production": 3, "of-mlflow-alone": 1}


def test_a_sync_reports_each_step_and_each_alias_and_compares_the_aliases_though_nothing_is_pending(
    small: Registry, tracking: str
) -> None:
    first = edit(small, "steps", "setup", {0: 1}, change(0, "setup"))
    for alias in ("candidate", "production"):
        small.promote("steps", first.id, alias, Author("ada"))
    reported: list[tuple[str, int, int]] = []
    publisher.sync(small, tracking, CODE, progress=lambda *progress: reported.append(progress))
    assert ("publishing, edit 1, region 0", 0, 3) in reported
    assert ("publishing, alias production, alias", 2, 3) in reported
    assert reported[-2:] == [("comparing aliases", 0, 2), ("comparing aliases", 1, 2)]

    reported.clear()
    report = publisher.sync(small, tracking, CODE, progress=lambda *progress: reported.append(progress))
    assert (report.published, report.compared) == (0, 2)
    assert reported == [("comparing aliases", 0, 2), ("comparing aliases", 1, 2)]
    away = sync(small, f"http://127.0.0.1:{free_port()}")
    assert (away.published, away.remaining, away.compared) == (0, 0, None)
    assert "to say where its aliases are, found no answer" in str(away.stopped)


def test_what_mlflow_refuses_for_good_holds_back_only_what_needs_it(
    small: Registry, tracking: str, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(small, "refused", "setup", {0: 1, 1: 1}, change(0, "setup"), change(1, "setup"))
    second = edit(small, "refused", "edit", {0: 2, 1: 1}, change(0, "update"))
    small.promote("refused", second.id, "candidate", Author("ada"))
    third = edit(small, "refused", "edit", {0: 2, 1: 2}, change(1, "update"))
    small.promote("refused", third.id, "production", Author("ada"))
    bystander = edit(small, "bystander", "setup", {0: 1}, change(0, "setup"))
    small.promote("bystander", bystander.id, "production", Author("ada"))
    real = record.edit_metrics
    monkeypatch.setattr(
        record,
        "edit_metrics",
        lambda payload: real(payload) | ({"no*name": 1.0} if payload["snapshot"]["id"] == second.id else {}),
    )
    report = sync(small, tracking)
    assert [(f.model, f.subject) for f in report.failed] == [("refused", "edit 2"), ("refused", "alias candidate")]
    assert "no*name" in report.failed[0].error
    assert (report.published, report.remaining) == (5, 2)
    assert mlflow.get_registered_model("refused").aliases == {"production": 2}
    assert mlflow.get_registered_model("bystander").aliases == {"production": 1}
    shown = status(small, tracking)
    assert [(f.event, f.attempts) for f in shown.failures] == [(f.event, 1) for f in report.failed]
    assert shown.aliases == (), "an alias that waits for its version has not drifted"
    later = dict(mlflow.get_model_version("refused", "2").tags)
    assert sorted(json.loads(later["raie.regions"])) == ["0", "1"], "adapters are found without the refused parent"

    monkeypatch.setattr(record, "edit_metrics", real)
    report = sync(small, tracking)
    assert (report.published, report.remaining, report.failed) == (2, 0, ())
    assert mlflow.get_registered_model("refused").aliases == {"candidate": 3, "production": 2}


def test_a_reason_longer_than_mlflow_takes_is_cut_there_and_whole_in_an_artifact(
    small: Registry, tracking: str, mlflow: Any, tmp_path: Path
) -> None:
    reason = "Changed after the [review](http://evil) of ticket 1. " * 160
    snapshot = edit(small, "long", "setup", {0: 1}, change(0, "setup"), reason=reason)
    small.promote("long", snapshot.id, "production", Author("ada", reason))
    assert sync(small, tracking) == SyncReport(published=2, remaining=0)
    (version,) = mlflow.search_model_versions("name = 'long'")
    assert len(version.description) <= 5000
    assert "](http" not in version.description.replace("](#/", "")
    assert max(map(len, version.tags.values())) <= 5000
    run = mlflow.get_run(version.run_id)
    assert max(map(len, run.data.tags.values())) <= 5000
    for name in ("reason.txt", "production.txt"):
        text = Path(mlflow.download_artifacts(version.run_id, name, str(tmp_path))).read_text(encoding="utf-8")
        assert text.endswith(reason)
    assert "production.txt of the version's run" in version.tags["raie.alias.production"]


def test_no_password_is_kept_with_an_event_or_shown_and_old_ones_are_cleaned(
    small: Registry, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(small, "hidden", "setup", {0: 1}, change(0, "setup"))
    with_password = f"http://ada:p%2Fw%40hunter2@127.0.0.1:{free_port()}"
    kept = "Expected MLflow at http://ada:p/w@hunter2@127.0.0.1 to answer, found Basic YWRhOnAvd0BodW50ZXIy"

    def as_an_earlier_release_left_it(connection_: Any) -> None:
        connection_.execute(update(outbox_events).values(last_error=kept))

    write(small.engine, as_an_earlier_release_left_it)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken-of-ada")
    assert "hunter2" not in str(status(small, with_password))
    report = sync(small, with_password)
    with reading(small.engine) as connection_:
        rows = str(connection_.execute(select(outbox_events.c.last_error, outbox_events.c.progress)).all())
    assert report.stopped is not None
    assert not [secret for secret in ("hunter2", "p%2Fw", "p/w", "YWRh") if secret in f"{report} {rows}"]
    for uri in ("http://ada:hun/ter2@127.0.0.1:9", "http://ada:p@hun/ter2@127.0.0.1:9", "http://ada:hun ter2@h:9"):
        with pytest.raises(InvalidValue, match="percent-encoded") as refused:
            sync(small, uri)
        assert "hun" not in str(refused.value)
    for uri in ("http://ada:hunter2@host:port", "http://ada:hunter2@:80", "http://ada:hunter2@[::1"):
        with pytest.raises(InvalidValue, match="without a host or with a port") as refused:
            sync(small, uri)
        assert "hunter2" not in str(refused.value)


class _Crash(Exception):
    pass


class _Crashing:
    """The publisher on a machine that dies once at every step, with the step's answer lost or just saved."""

    def __init__(self, inner: MlflowPublisher, lose_answers: bool) -> None:
        self.inner, self.lose, self.target = inner, lose_answers, inner.target
        self.died: set[tuple[int, str]] = set()

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        self.inner.publish(event, _CrashingProgress(self, event.id, progress))


class _CrashingProgress(Progress):
    def __init__(self, machine: _Crashing, event: int, inner: Progress) -> None:
        self._machine, self._event, self._inner = machine, event, inner

    def step(self, name: str, act: Callable[[], T]) -> T:
        result = self._inner.step(name, lambda: self._die(name, act()) if self._machine.lose else act())
        return result if self._machine.lose else self._die(name, result)

    def _die(self, name: str, result: T) -> T:
        if (self._event, name) not in self._machine.died:
            self._machine.died.add((self._event, name))
            raise _Crash(name)
        return result


@pytest.mark.parametrize("lose_answers", [True, False])
def test_a_crash_at_every_step_leaves_what_an_undisturbed_sync_leaves(
    small: Registry, tracking: str, mlflow: Any, lose_answers: bool
) -> None:
    model = f"crash-{lose_answers}"
    edit(small, model, "setup", {0: 1}, change(0, "setup"))
    second = edit(small, model, "edit", {0: 2, 1: 1}, change(0, "update"), change(1, "add"))
    small.promote(model, second.id, "production", Author("ada"))
    machine = _Crashing(MlflowPublisher(tracking, small.engine, CODE), lose_answers)
    drains = 1
    while drain(small.engine, machine).remaining:
        drains += 1
    steps_of_an_edit, steps_of_a_region, steps_of_an_alias = 9, 3, 2
    assert len(machine.died) == drains - 1 == 2 * steps_of_an_edit + 3 * steps_of_a_region + steps_of_an_alias
    crashed = shape(mlflow, model)
    assert sync(small, tracking, again=True).published == 3
    assert shape(mlflow, model) == crashed
    assert [run[0] for run in crashed["runs"]] == [
        "1/edit 1: setup",
        "1/region 0: setup",
        "2/edit 2: edit",
        "2/region 0: update",
        "2/region 1: add",
    ]
    assert len(crashed["models"]) == 3 + 2
    assert [version for version, *_ in crashed["versions"]] == [1, 2]
    assert crashed["aliases"] == {"production": 2}


def test_a_model_and_an_alias_with_names_mlflow_refuses_are_published_under_legal_ones(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    snapshot = edit(small, "eu/it's: v2", "setup", {0: 1}, change(0, "setup"))
    for alias in ("v2", "latest", "prod.eu", "Stage"):
        small.promote("eu/it's: v2", snapshot.id, alias, Author("ada"))
    report = sync(small, tracking)
    assert report.failed == ()
    (shown,) = mlflow.search_registered_models("name LIKE 'eu-it%'")
    assert [alias.rpartition("-")[0] for alias in sorted(shown.aliases)] == ["", "latest", "prod-eu", "v2"]
    assert "Stage" in shown.aliases


def test_an_alias_of_a_snapshot_mlflow_lost_is_refused_in_one_line_until_all_is_published_again(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    snapshot = edit(small, "lost", "setup", {0: 1}, change(0, "setup"))
    sync(small, tracking)
    mlflow.delete_model_version("lost", "1")
    small.promote("lost", snapshot.id, "production", Author("ada"))
    (failure,) = sync(small, tracking).failed
    assert failure.error.startswith(f"NotFound: Expected snapshot {snapshot.id[:12]} in MLflow at sqlite:///")
    assert sync(small, tracking, again=True).failed == ()
    assert mlflow.get_registered_model("lost").aliases == {"production": 2}


def test_an_experiment_deleted_in_mlflow_is_named_and_left_alone(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    edit(small, "gone", "setup", {0: 1}, change(0, "setup"))
    mlflow.delete_experiment(mlflow.create_experiment("gone"))
    (failure,) = sync(small, tracking).failed
    assert "Expected an active experiment 'gone' in MLflow, found a deleted one" in failure.error
    mlflow.restore_experiment(mlflow.get_experiment_by_name("gone").experiment_id)
    assert sync(small, tracking).published == 1


def test_a_server_that_is_down_stops_the_sync_at_once_and_a_later_one_catches_up(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    edit(small, "down", "setup", {0: 1}, change(0, "setup"))
    address = f"http://ada:secret@127.0.0.1:{_free_port()}"
    begun = time.monotonic()
    report = sync(small, address)
    assert time.monotonic() - begun < 2
    assert report.stopped is not None
    assert "to answer, found nothing there; the events wait for the next sync" in report.stopped
    assert "secret" not in report.stopped
    small.promote("down", "head", "production", Author("ada"))
    shown = status(small, address)
    assert (shown.pending, shown.reachable, shown.last_error) == (2, False, report.stopped)
    assert sync(small, tracking).published == 2
    assert shape(mlflow, "down")["aliases"] == {"production": 1}


def test_a_server_that_accepts_and_never_answers_does_not_hold_the_sync(
    small: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(small, "silent", "setup", {0: 1}, change(0, "setup"))
    monkeypatch.setattr(connection, "REQUEST_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        report = sync(small, f"http://127.0.0.1:{server.getsockname()[1]}")
    assert time.monotonic() - begun < 2
    assert (report.published, report.remaining) == (0, 1)
    assert report.stopped is not None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_publishing_leaves_the_process_as_it_was(
    small: Registry, tracking: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    edit(small, "clean", "setup", {0: 1}, change(0, "setup"))
    before = dict(os.environ)
    assert sync(small, tracking).published == 1
    assert dict(os.environ) == before
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == "http://127.0.0.1:9"
    assert capfd.readouterr() == ("", "")


def test_without_pending_events_mlflow_is_not_even_imported(small: Registry, tracking: str) -> None:
    code = (
        "import sys; from raie.registry import Registry; from raie.registry.mlflow.publisher import status, sync\n"
        "r = Registry.open(sys.argv[1], sys.argv[2]); print(sync(r, sys.argv[3], '').published)\n"
        "status(r, sys.argv[3]); print('mlflow' in sys.modules)"
    )
    arguments = [str(small.engine.url), str(small.store.top), tracking]  # type: ignore[attr-defined]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


def test_a_tracking_uri_that_is_none_is_refused_without_its_password(small: Registry) -> None:
    for uri in ("mlruns", "sqlite://", "sqlite:///:memory:", "ftp://ada:secret@host/x", "http://", "databricks"):
        with pytest.raises(InvalidValue, match="Expected an MLflow tracking URI") as refused:
            sync(small, uri)
        assert "secret" not in str(refused.value)


def test_the_interface_is_started_lean_and_only_for_a_file(tmp_path: Path) -> None:
    argv, environment = connection.ui_command(f"sqlite:///{tmp_path}/mlflow.db", 5001)
    assert argv[1:4] == ["-m", "mlflow", "server"]
    assert argv[argv.index("--workers") + 1] == "1"
    assert argv[argv.index("--port") + 1] == "5001"
    assert argv[argv.index("--backend-store-uri") + 1] == f"sqlite:///{tmp_path}/mlflow.db"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    with pytest.raises(InvalidValue, match=r"open http://\*\*\*@host:5000 in a browser"):
        connection.ui_command("http://ada:secret@host:5000", 5001)


def test_a_deleted_alias_goes_in_mlflow_too_and_one_that_is_put_back_there_goes_again(
    small: Registry, tracking: str, mlflow: Any
) -> None:
    model = "ended"
    first, second, _ = history(small, model)
    small.delete_alias(model, "candidate", Author("ada", "no use"))
    small.rename_alias(model, "production", "live", Author("ada", "one name"))
    sync(small, tracking)
    assert shape(mlflow, model)["aliases"] == {"live": 3}
    note = mlflow.get_model_version(model, "2").tags["raie.alias.candidate"]
    assert note.endswith("deleted: no use")
    assert status(small, tracking).aliases == ()

    mlflow.set_registered_model_alias(model, "candidate", "1")
    (gap,) = status(small, tracking).aliases
    assert (gap.alias, gap.snapshot, gap.found_snapshot) == ("candidate", None, first.id)
    (closed,) = sync(small, tracking).aliases
    assert (closed.removed, closed.is_closed) == (True, True)
    assert shape(mlflow, model)["aliases"] == {"live": 3}

    # Made again before the deletion is published: the deletion takes nothing away.
    small.delete_alias(model, "live", Author("ada", "by mistake"))
    small.promote(model, second.id, "live", Author("ada"))
    sync(small, tracking)
    assert shape(mlflow, model)["aliases"] == {"live": 2}
