"""An erased user is gone, what the user did not reach stays as it was, and nothing brings the user back."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import raie as api
from raie import upkeep
from raie.edits.workflow import open_view
from raie.engine.errors import InputError
from raie.erasing.erase import erase, plan_erasure
from raie.erasing.keyed_hash import keyed_hash
from raie.erasing.remains import remains_of
from raie.erasing.steps import steps_of, without_history
from raie.errors import RaieError, UsageError
from raie.registry import Author, Content, EditStateError, RegionChange, SnapshotErased
from raie.registry.edits.merge import changed_regions
from raie.workspace import Workspace
from tests.raie.erasing import shops


def _head(workspace: Workspace) -> Content:
    head = workspace.registry().head(shops.MODEL)
    assert head is not None
    return without_history(head.content)


def _collect(workspace: Workspace) -> None:
    """The delay is over: old snapshots expire, and their blobs are deleted."""
    upkeep.expire(workspace, keep_last=1, reason="the delay is over")
    upkeep.gc(workspace, grace_s=0)


def _files_with(folder: Path, text: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_no_byte_of_the_workspace_names_a_user_once_the_old_snapshots_are_collected(erased: Workspace) -> None:
    left = remains_of(erased, shops.USER, key=shops.KEY)
    assert [snapshot.edit for snapshot in left.snapshots] == [2]
    assert {blob.what for blob in left.blobs} == {"id", "windows"}
    assert {keeper for blob in left.blobs for keeper in blob.kept_by} >= {"the plan of edit 2"}
    assert {blob.digest for blob in left.blobs if blob.what == "id"} == set(_files_with(erased.folder, shops.USER))
    _collect(erased)
    assert _files_with(erased.folder, shops.USER) == []
    left = remains_of(erased, shops.USER, key=shops.KEY)
    assert not left.anything
    assert left.erased_by == (3,)
    assert upkeep.verify(erased).ok


def test_the_history_keeps_a_keyed_hash_and_no_id(erased: Workspace) -> None:
    edit = erased.registry().edit(shops.MODEL, 3)
    assert (edit.kind, edit.state, edit.reason) == ("erase", "committed", shops.REASON)
    assert edit.parameters["user"] == keyed_hash(shops.KEY, shops.MODEL, shops.USER)
    assert keyed_hash(b"another key of 16", shops.MODEL, shops.USER) != edit.parameters["user"]


def test_regions_that_the_user_did_not_reach_keep_their_bytes_and_score_bit_for_bit(erased: Workspace) -> None:
    registry = erased.registry()
    before, after = (registry.resolve(shops.MODEL, ref) for ref in ("edit:2", "head"))
    reached = changed_regions(before.content, after.content)
    untouched = sorted(set(after.content.regions) - reached)
    report = registry.edit(shops.MODEL, 3).report
    assert (sorted(reached), untouched) == (report["changed"], report["untouched"])
    assert reached
    assert untouched
    old, new = open_view(registry, before), open_view(registry, after)
    owners = [view.router.assign(new.holdout) for view in (old, new)]
    windows = new.holdout.take(np.isin(owners[0], untouched) & (owners[0] == owners[1]))
    assert len(windows)
    assert torch.equal(old.router.scores(windows), new.router.scores(windows))


def test_a_dry_run_finds_exactly_the_regions_that_are_made_again(shop: Workspace, erased: Workspace) -> None:
    reach = plan_erasure(shop, shops.USER)
    report = erased.registry().edit(shops.MODEL, 3).report
    assert [region.region for region in reach.regions] == report["changed"]
    assert list(reach.untouched) == report["untouched"]
    assert not reach.backbone
    assert plan_erasure(shop, shops.EARLY_USER).backbone
    with pytest.raises(UsageError, match="found none of this id"):
        plan_erasure(erased, shops.USER)


def test_no_rollback_and_no_promotion_brings_an_erased_user_back(erased: Workspace) -> None:
    with pytest.raises(SnapshotErased, match="holds the user whom edit 3"):
        erased.rollback(to="edit:2")
    with pytest.raises(SnapshotErased, match="use a snapshot since then"):
        erased.promote("edit:2")
    for number in (2, 3):
        with pytest.raises(EditStateError, match="correct it by a new edit"):
            erased.rollback(number, cascade=True)
    erased.rollback(to="edit:1")  # which is older than the user
    assert (
        shops.USER
        not in open_view(erased.registry(), erased.registry().resolve(shops.MODEL, "head")).catalogue.users
    )


def test_a_later_edit_leaves_the_rows_of_an_erased_user_out(
    erased: Workspace, made: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="1 new users of this log were erased"):
        erased.plan(made / shops.LOG)
    wrong = key.with_name("other.key")
    wrong.write_bytes(b"another key of 16")
    monkeypatch.setenv("RAIE_ERASE_KEY", str(wrong))
    with pytest.raises(UsageError, match="found another one"):
        erased.plan(made / shops.LOG)
    monkeypatch.setenv("RAIE_ERASE_KEY", str(key))
    planned = erased.plan(made / shops.LOG)
    assert shops.USER not in planned.interactions.catalogue.users
    assert "rows of 1 erased users are left out" in planned.notes
    assert len(planned.interactions) == len(erased.plan(made / shops.WITHOUT).interactions)


def test_another_log_than_the_edits_is_refused_and_nothing_is_left_behind(
    shop: Workspace, made: Path, tmp_path: Path
) -> None:
    lines = (made / shops.LOG).read_text(encoding="utf-8").splitlines()
    another = tmp_path / "other.csv"
    another.write_text("\n".join(line for line in lines if "u00002" not in line), encoding="utf-8")
    before = sorted(blob.digest for blob in shop.registry().store.iterate())
    with pytest.raises(InputError, match="give the log that the edit was made from with --log"):
        erase(shop, shops.USER, key=shops.KEY, reason=shops.REASON, log=another)
    assert sorted(blob.digest for blob in shop.registry().store.iterate()) == before
    edit = shop.registry().edit(shops.MODEL, 3)
    assert (edit.state, edit.close_reason) == ("aborted", "not erased: InputError")


@pytest.mark.parametrize("reason", ["", "for visitor-4711, who asked"])
def test_a_reason_is_asked_for_and_must_not_name_the_user(shop: Workspace, reason: str) -> None:
    with pytest.raises(UsageError, match="expected a reason"):
        erase(shop, shops.USER, key=shops.KEY, reason=reason)
    assert len(shop.registry().edits(shops.MODEL)) == 2


def test_an_imported_adapter_is_undone_first_for_nobody_knows_what_it_was_trained_on(shop: Workspace) -> None:
    registry, head = shop.registry(), _head(shop)
    edit = registry.begin(shops.MODEL, "import", seed=0, author=Author("ada"), parameters={"region": 0})
    entry = {**head.regions[0], "lora": head.regions[1]["lora"], "item_rows": head.regions[1]["item_rows"]}
    content = replace(head, regions={**head.regions, 0: {**entry, "note": registry.put(b"another")}})
    registry.commit(shops.MODEL, edit.number, content, [RegionChange(0, "replace")])
    with pytest.raises(RaieError, match="edit 3 imported one since the user came: undo it first"):
        erase(shop, shops.USER, key=shops.KEY, reason=shops.REASON)
    shop.rollback(3)
    assert erase(shop, shops.USER, key=shops.KEY, reason=shops.REASON).number == 5


@pytest.fixture(scope="session")
def daily(made: Path) -> Path:
    """The shop that was edited twice, as one that never saw the user was."""
    for name, log in (("daily", shops.LOG), ("never", shops.WITHOUT)):
        shops.make(made / name, made / log, shops.CUTS)
    return made


def _copy(folder: Path, to: Path) -> Workspace:
    return api.open(shutil.copytree(folder, to))


@pytest.mark.slow
def test_what_is_made_again_equals_a_run_that_never_saw_the_user_byte_for_byte(
    daily: Path, tmp_path: Path
) -> None:
    workspace = _copy(daily / "daily", tmp_path / "daily")
    erase(workspace, shops.USER, key=shops.KEY, reason=shops.REASON, log=daily / shops.WITHOUT)
    erased, never = _head(workspace), _head(api.open(daily / "never"))
    assert erased.regions == never.regions
    assert (erased.backbone, erased.space) == (never.backbone, never.space)
    assert {role for role in erased.shared if erased.shared[role] != never.shared.get(role)} == {"catalogue"}


@pytest.mark.slow
def test_users_are_erased_one_after_the_other_in_any_order_though_the_history_has_expired(
    daily: Path, tmp_path: Path
) -> None:
    heads = []
    users: Sequence[str] = (shops.USER, shops.EARLY_USER)
    for order in (users, users[::-1]):
        workspace = _copy(daily / "daily", tmp_path / order[0])
        for user in order:
            erase(workspace, user, key=shops.KEY, reason=shops.REASON)
            _collect(workspace)
            assert not remains_of(workspace, user).anything
        assert remains_of(workspace, shops.EARLY_USER, key=shops.KEY).frozen
        assert upkeep.verify(workspace).ok
        heads.append(_head(workspace))
    assert heads[0] == heads[1]


@pytest.mark.slow
def test_a_rollback_in_the_history_is_made_again(daily: Path, tmp_path: Path) -> None:
    workspace = _copy(daily / "daily", tmp_path / "daily")
    workspace.rollback(3)
    erase(workspace, shops.EARLY_USER, key=shops.KEY, reason=shops.REASON)
    registry = workspace.registry()
    steps = {step.number: step.content for step in steps_of(registry, registry.resolve(shops.MODEL, "head"))}
    assert _head(workspace) == steps[4] == steps[2]
    assert steps[2] != steps[3]


@pytest.mark.slow
def test_a_setup_without_a_user_is_that_of_a_log_that_never_held_the_user(made: Path, tmp_path: Path) -> None:
    lines = (made / shops.WITHOUT).read_text(encoding="utf-8").splitlines()
    filtered = tmp_path / "filtered.csv"
    filtered.write_text(
        "\n".join(line for line in lines if not line.startswith(shops.EARLY_USER)), encoding="utf-8"
    )
    left_out = shops.make(
        tmp_path / "left-out", made / shops.WITHOUT, shops.CUTS[:1], without_users=[shops.EARLY_USER]
    )
    never = shops.make(tmp_path / "never", filtered, shops.CUTS[:1])
    assert _head(left_out) == _head(never)
    assert _files_with(left_out.folder, shops.EARLY_USER) == []
    assert left_out.registry().edit(shops.MODEL, 1).parameters["without_users"] == 1


def test_an_erasure_that_was_interrupted_cannot_be_resumed_for_no_record_holds_the_id(shop: Workspace) -> None:
    registry = shop.registry()
    first = registry.resolve(shops.MODEL, "edit:2").id
    registry.begin(
        shops.MODEL, "erase", seed=0, author=Author("ada", "x"), parameters={"user": "h", "first": first}
    )
    with pytest.raises(UsageError, match="`raie edit abort 3`, and run `raie erase` again"):
        shop.resume(3, force=True)
    shop.promote("edit:2")  # nothing is barred before it commits
