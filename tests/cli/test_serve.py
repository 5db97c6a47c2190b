"""MLflow serves a snapshot from code and digests: the registry's bytes, verified, and the Router's answers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from raie import evaluate
from raie.edits.workflow import apply_edit, open_view, plan_edit, run_setup
from raie.engine.config import BackboneConfig, EngineConfig, RegionConfig
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.engine.data.windows import Windows
from raie.engine.evaluation import metrics
from raie.engine.model import ModelView, Settings
from raie.engine.next_items import NOWHERE
from raie.engine.router import TopItems
from raie.errors import WorkspaceError
from raie.logs.log_reading import read_later_log
from raie.migrations import upgrade
from raie.publishing.served_code import MODEL_CODE
from raie.registry import Author, BlobCorrupt, LocalStore, PromotionRefused, Registry, Untrusted, trust
from raie.registry.mlflow.publisher import sync
from raie.registry.promotion import signing
from raie.serve import open_described
from raie.snapshots.snapshot_view import SnapshotView
from raie.workspace import Workspace
from raie.workspace_file import draft, find
from tests.cli.conftest import Raie

# MLflow's own imports warn of what a later Python will drop.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry of one small model, promoted to production and published."""
    folder = tmp_path_factory.mktemp("served")
    write_csv(drifting_log(SyntheticConfig(users=60)), folder / "log.csv")
    backbone = BackboneConfig(dim=16, layers=1, heads=1, epochs=1)
    engine = EngineConfig(backbone=backbone, regions=RegionConfig(regions=2))
    upgrade(f"sqlite:///{folder}/registry.db")
    registry = at(folder)
    settings = Settings(engine, LogSettings())
    names: dict[str, Any] = {"actor": "ada", "reason": "", "work": folder / "work", "progress": lambda *_: None}
    run_setup(registry, "recsys", folder / "log.csv", "0.5", settings, **names)
    registry.promote("recsys", "head", "production", Author("ada"))
    assert sync(registry, f"sqlite:///{folder}/mlflow.db", MODEL_CODE).published == 2
    return folder


def at(folder: Path) -> Registry:
    return Registry.open(f"sqlite:///{folder}/registry.db", str(folder / "blobs"))


@pytest.fixture
def loaded(made: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The production version as MLflow's server loads it."""
    import mlflow

    monkeypatch.setenv("RAIE_DATABASE_URL", f"sqlite:///{made}/registry.db")
    monkeypatch.setenv("RAIE_STORE", str(made / "blobs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    return mlflow.pyfunc.load_model("models:/recsys@production")


def frame(histories: list[list[str]]) -> pd.DataFrame:
    return pd.DataFrame({"items": histories})


def histories(view: ModelView, count: int) -> tuple[Windows, list[list[str]]]:
    windows = view.holdout.take(slice(0, count))
    return windows, [view.catalogue.item_ids(row[row > 0].tolist()) for row in windows.items]


def test_the_production_version_answers_as_the_router_of_its_snapshot_does(loaded: Any, made: Path) -> None:
    registry = at(made)
    view = open_view(registry, registry.resolve("recsys", "production"))
    windows, items = histories(view, 8)
    answers = loaded.predict(frame(items), params={"k": 5})
    expected = view.router.top_k(windows, 5)
    assert answers["items"].tolist() == [view.catalogue.item_ids(row.tolist()) for row in expected.rows]
    assert answers["region"].tolist() == view.router.assign(windows).tolist()
    # Scores of another batch size pass through the same blocks.
    assert answers["scores"].tolist() == [[float(score) for score in row] for row in expected.scores]
    assert answers["ignored"].tolist() == [0] * 8


def test_a_request_may_hold_unknown_items_and_leaves_out_seen_ones_only_when_asked(
    loaded: Any, made: Path
) -> None:
    registry = at(made)
    view = open_view(registry, registry.resolve("recsys", "head"))
    history = list(view.catalogue.items[:25])
    everything = {"k": 1000, "exclude_seen": True}
    answer = loaded.predict(frame([["never seen", *history]]), params=everything).iloc[0]
    assert answer["ignored"] == 1
    assert not set(answer["items"]) & set(history)
    assert len(answer["items"]) == len(view.catalogue.items) - 25
    for params in ({"k": 1000}, {"k": 1000, "exclude_seen": False}):
        answer = loaded.predict(frame([history]), params=params).iloc[0]
        assert sorted(answer["items"]) == sorted(view.catalogue.items)


def test_a_request_without_any_known_item_gets_what_is_popular_and_no_region(loaded: Any) -> None:
    answers = loaded.predict(frame([["t0-core-00"], ["never seen"], []]))
    assert (answers["region"][0] >= 0, *answers["region"][1:]) == (True, NOWHERE, NOWHERE)
    assert answers["ignored"].tolist() == [0, 1, 0]
    assert answers["items"][1] == answers["items"][2] != answers["items"][0]


Lists = dict[str, list[tuple[str, float]]]


def served_lists(loaded: Any, past: pd.DataFrame, exclude_seen: bool | None) -> Lists:
    histories = past.groupby("user_id")["item_id"].agg(list)
    answers = loaded.predict(frame(histories.tolist()), params={"k": 20, "exclude_seen": exclude_seen})
    pairs = zip(answers["items"], answers["scores"], strict=True)
    return {str(user): list(zip(*pair, strict=True)) for user, pair in zip(histories.index, pairs, strict=True)}


def api_lists(snapshot: SnapshotView, log: Path, exclude_seen: bool | None) -> Lists:
    answers = snapshot.recommendations(log, 20, exclude_seen=exclude_seen)
    return {str(answer.user): [(best.item, best.score) for best in answer.items] for answer in answers}


def command_lists(raie: Raie, log: Path, users: list[str], *flags: str) -> Lists:
    asked = [text for user in users for text in ("--user", user)]
    ran = raie("recommend", str(log), *asked, *flags, "--top", "20", "--ref", "production", "--json")
    answers = ran.json["recommendations"]
    return {answer["user"]: [(best["item"], best["score"]) for best in answer["items"]] for answer in answers}


def evaluated_lists(workspace: Workspace, log: Path, view: ModelView, monkeypatch: pytest.MonkeyPatch) -> Lists:
    """What `raie evaluate` ranks first for the last interaction of each user, whose history is all before it."""
    scored: list[tuple[Windows, TopItems]] = []

    def ranks(score: Callable[[Windows], Tensor], windows: Windows) -> np.ndarray:
        best = score(windows).topk(20)
        scored.append((windows, TopItems(best.indices.numpy(), best.values.numpy())))
        return metrics.ranks(score, windows)

    monkeypatch.setattr(evaluate, "ranks", ranks)
    assert next(iter(workspace.evaluate(log, ref="production").models)) == "never edited"
    (windows, best), ids = scored[2], view.catalogue.item_ids
    users = read_later_log(view, log, None).catalogue.users
    return {  # of a user's windows, which are in time order, the last one stays
        users[user]: list(zip(ids(rows), scores, strict=True))
        for user, rows, scores in zip(windows.user.tolist(), best.rows.tolist(), best.scores.tolist(), strict=True)
    }


def test_command_api_served_model_and_evaluation_give_one_list_for_a_user_to_the_bit(
    raie: Raie, loaded: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raie.toml").write_text(draft(None, None, None), encoding="utf-8")
    workspace, log, before = find(tmp_path), made / "log.csv", tmp_path / "before.csv"
    rows = pd.read_csv(log)
    past = rows[rows.duplicated("user_id", keep="last")]
    past.to_csv(before, index=False)
    snapshot = workspace["production"]
    view = open_view(at(made), snapshot.snapshot)
    assert past.duplicated(["user_id", "item_id"]).any(), "a log with repeats"
    assert not set(past["item_id"]) <= set(view.catalogue.items), "some items are unknown"
    assert past.groupby("user_id").size().max() > view.settings.engine.windows.length

    learned = api_lists(snapshot, before, None)
    assert served_lists(loaded, past, None) == learned
    assert evaluated_lists(workspace, log, view, monkeypatch) == learned
    some = sorted(learned)[:3]
    assert command_lists(raie, before, some) == {user: learned[user] for user in some}
    assert command_lists(raie, before, some[:1]) == {some[0]: learned[some[0]]}

    seen = past.groupby("user_id")["item_id"].agg(set)
    for flag, exclude_seen in (("--exclude-seen", True), ("--keep-seen", False)):
        lists = api_lists(snapshot, before, exclude_seen)
        assert served_lists(loaded, past, exclude_seen) == lists != learned
        assert command_lists(raie, before, some, flag) == {user: lists[user] for user in some}
        repeated = [user for user, best in lists.items() if seen[user] & {item for item, _ in best}]
        assert bool(repeated) is not exclude_seen


def test_a_damaged_blob_stops_the_server_and_not_a_request(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = at(made)
    snapshot = registry.resolve("recsys", "head")
    store = LocalStore(tmp_path / "blobs").within(registry.store.scope)
    for digest in snapshot.content.blobs():
        store.put(registry.get(digest))
    weights = snapshot.content.backbone["weights"]
    file = next(path for path in (tmp_path / "blobs").rglob(f"*{weights[2:]}*"))
    file.chmod(0o600)
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(bytes(damaged))
    monkeypatch.setenv("RAIE_DATABASE_URL", f"sqlite:///{made}/registry.db")
    monkeypatch.setenv("RAIE_STORE", str(tmp_path / "blobs"))
    with pytest.raises(BlobCorrupt):
        open_described({"model": "recsys", "id": snapshot.id, "digest": snapshot.content.digest})


def test_where_an_alias_requires_signatures_nothing_unsigned_is_served(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    registry = at(tmp_path)
    snapshot = registry.resolve("recsys", "head")
    described = {"model": "recsys", "id": snapshot.id, "digest": snapshot.content.digest}
    monkeypatch.setenv("RAIE_DATABASE_URL", f"sqlite:///{tmp_path}/registry.db")
    monkeypatch.setenv("RAIE_STORE", str(tmp_path / "blobs"))
    trust.set_policy(registry, "recsys", "production", {"require_signed": True}, author=Author("ada"))
    with pytest.raises(Untrusted, match="raie sign"):
        open_described(described)
    release = signing.generate()
    trust.trust_key(registry, "recsys", release.key, "release", author=Author("ada"))
    trust.sign(registry, "recsys", "head", release, author=Author("ci"))
    assert open_described(described).current.view.content == snapshot.content


def test_a_description_that_was_changed_after_publishing_is_refused(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = at(made).resolve("recsys", "head")
    monkeypatch.setenv("RAIE_DATABASE_URL", f"sqlite:///{made}/registry.db")
    monkeypatch.setenv("RAIE_STORE", str(made / "blobs"))
    with pytest.raises(WorkspaceError, match="this MLflow model was changed after it was published"):
        open_described({"model": "recsys", "id": snapshot.id, "digest": "0" * 64})
    monkeypatch.delenv("RAIE_STORE")
    with pytest.raises(WorkspaceError, match="raie init"):
        open_described({"model": "recsys", "id": snapshot.id, "digest": snapshot.content.digest})


@pytest.fixture(scope="module")
def refused(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose policy refuses edit 2, which is published."""
    folder = tmp_path_factory.mktemp("refused")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    (folder / "raie.toml").write_text(
        'database = "sqlite:///registry.db"\nstore = "blobs"\n[mlflow]\ntracking_uri = "sqlite:///mlflow.db"\n',
        encoding="utf-8",
    )
    registry = at(folder)
    trust.set_policy(registry, "recsys", "production", {"second_person": True}, author=Author("ada"))
    names: dict[str, Any] = {"actor": "ada", "reason": "", "work": folder / "work", "progress": lambda *_: None}
    apply_edit(
        registry, "recsys", plan_edit(registry, "recsys", made / "log.csv", "0.6", None), workers=1, **names
    )
    with pytest.raises(PromotionRefused):
        registry.promote("recsys", "head", "production", Author("ada"))
    sync(registry, find(folder).tracking_uri, MODEL_CODE)
    return folder


@pytest.fixture
def moved(refused: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy of that workspace, in whose MLflow somebody has moved production by hand to the version of edit 2."""
    import mlflow

    shutil.copytree(refused, tmp_path, dirs_exist_ok=True)
    workspace = find(tmp_path)
    monkeypatch.setenv("RAIE_DATABASE_URL", workspace.database)
    monkeypatch.setenv("RAIE_STORE", workspace.store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", workspace.tracking_uri)
    mlflow.set_tracking_uri(workspace.tracking_uri)
    mlflow.MlflowClient().set_registered_model_alias("recsys", "production", "2")
    yield workspace
    mlflow.set_tracking_uri(None)


def test_an_alias_moved_by_hand_in_mlflow_is_not_served_but_reported_and_put_back(
    moved: Workspace, raie: Raie
) -> None:
    import mlflow

    registry = moved.registry()
    served, head = registry.resolve("recsys", "production").id, registry.resolve("recsys", "head").id
    uri, history = "models:/recsys@production", frame([["t0-core-00"]])
    with pytest.raises(Untrusted) as refused:
        mlflow.pyfunc.load_model(uri)
    line = str(refused.value)
    assert "\n" not in line
    for words in (head[:12], "alias 'production'", f"serves {served[:12]}", "second person", "raie mlflow sync"):
        assert words in line
    # Whoever names the alias gets what the registry's alias points to, whatever MLflow says.
    follower = mlflow.pyfunc.load_model(uri, model_config={"alias": "production"})
    assert follower.predict(history)["snapshot"].tolist() == [served]
    follower.unwrap_python_model()._source.stop()

    status = raie("--workspace", str(moved.folder), "mlflow", "status")
    assert status.code == 1
    assert f"the registry has {served[:12]}, MLflow has version 2 ({head[:12]})" in status.out
    (target,) = raie("--workspace", str(moved.folder), "mlflow", "status", "--json").json["alias_targets"]
    assert (target["snapshot"], target["found_snapshot"], target["differs"]) == (served, head, True)
    assert (
        f"MLflow had version 2 ({head[:12]}); set to version 1"
        in raie("--workspace", str(moved.folder), "mlflow", "sync").out
    )
    status = raie("--workspace", str(moved.folder), "mlflow", "status")
    assert status.code == 0
    assert f"the registry has {served[:12]}, MLflow has version 1 ({served[:12]})" in status.out
    assert mlflow.pyfunc.load_model(uri).predict(history)["snapshot"].tolist() == [served]


def test_a_loaded_model_that_names_an_alias_follows_it_and_a_version_that_was_admitted_once_stays_servable(
    moved: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    registry, history = moved.registry(), frame([["t0-core-00"], []])
    first, second = registry.resolve("recsys", "production").id, registry.resolve("recsys", "head").id
    monkeypatch.setenv("RAIE_ALIAS", "production")
    monkeypatch.setenv("RAIE_ALIAS_INTERVAL", "0.1")
    loaded = mlflow.pyfunc.load_model("models:/recsys/1")
    assert loaded.predict(history)["snapshot"].tolist() == [first, first]
    trust.approve(registry, "recsys", second, "production", author=Author("grace", "seen"))
    registry.promote("recsys", second, "production", Author("ada"))
    for _ in range(100):
        answers = loaded.predict(history)
        if answers["snapshot"][0] == second:
            break
        time.sleep(0.05)
    assert answers["snapshot"].tolist() == [second, second]
    assert answers["cold"].tolist() == [False, True]
    loaded.unwrap_python_model()._source.stop()
    monkeypatch.delenv("RAIE_ALIAS")
    assert mlflow.pyfunc.load_model("models:/recsys/2").predict(history)["snapshot"].tolist() == [second, second]
    # The first was promoted before there was a policy, and has left the alias.
    with pytest.raises(Untrusted, match=f"serves {second[:12]}"):
        mlflow.pyfunc.load_model("models:/recsys/1")
    # An alias without a policy admits nothing for those that have one.
    registry.promote("recsys", first, "candidate", Author("ada"))
    with pytest.raises(Untrusted):
        mlflow.pyfunc.load_model("models:/recsys/1")
    candidate = mlflow.pyfunc.load_model("models:/recsys/2", model_config={"alias": "candidate"})
    assert candidate.predict(history)["snapshot"].tolist() == [first, first]
    candidate.unwrap_python_model()._source.stop()


def test_a_version_that_an_earlier_release_published_loads_and_may_follow_an_alias(
    moved: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    served = moved.registry().resolve("recsys", "production").id
    files = Path(mlflow.artifacts.download_artifacts("models:/recsys/1", dst_path=str(tmp_path / "earlier")))
    text = (files / "MLmodel").read_text(encoding="utf-8")
    assert "    config:\n      alias: null\n" in text
    (files / "MLmodel").write_text(text.replace("    config:\n      alias: null\n", ""), encoding="utf-8")
    history = frame([["t0-core-00"]])
    assert mlflow.pyfunc.load_model(str(files)).predict(history)["snapshot"].tolist() == [served]
    monkeypatch.setenv("RAIE_ALIAS", "production")
    loaded = mlflow.pyfunc.load_model(str(files))
    assert loaded.predict(history)["snapshot"].tolist() == [served]
    loaded.unwrap_python_model()._source.stop()
