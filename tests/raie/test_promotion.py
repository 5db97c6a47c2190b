"""A script that promotes, rolls back and approves does what the commands do, and gets what they print."""

from __future__ import annotations

import pytest

from raie import promotion
from raie.registry import BlobMissing, NotFound, PromotionRefused, Registry, audit
from raie.registry.db.engine import reading
from raie.registry.errors import RollbackConflict
from raie.registry.maintenance.checkpoints import published
from raie.workspace import Workspace
from tests.cli import history
from tests.cli.conftest import Raie

MODEL = history.MODEL


def is_published(registry: Registry) -> bool:
    """Whether the store keeps the chain head as it is now."""
    with reading(registry.engine) as connection:
        head = audit.chain_head(connection)
    return head in {f"{kept.number}:{kept.hash}" for kept in published(registry)}


def test_a_promotion_from_python_is_one_of_the_command_line_and_keeps_the_chain_head(
    raie: Raie, workspace: Workspace, registry: Registry
) -> None:
    assert not is_published(registry)
    done = promotion.promote(workspace, "edit:5", alias="canary", reason="looked at")
    assert done.beside == ("production", "staging")
    assert is_published(registry)
    again = promotion.promote(workspace, "edit:5", alias="canary")
    assert (again.move.repeated, again.move.at) == (True, done.move.at)
    (move,) = raie("alias", "history", "canary", "--json").json["moves"]
    assert (move["from"], move["to"], move["reason"]) == (None, done.move.target, "looked at")
    timeline = promotion.alias_history(workspace, limit=1)
    assert ([m.reason for m in timeline.moves], timeline.more) == (["region 0 first"], True)
    targets = {target.alias.name: target.edit for target in promotion.aliases(workspace)}
    assert targets == {"canary": 5, "production": 4, "staging": 5}


def test_what_lost_a_blob_is_refused_to_a_script_as_it_is_to_the_command(
    workspace: Workspace, registry: Registry
) -> None:
    served = registry.resolve(MODEL, "production")
    lost = registry.resolve(MODEL, "edit:5").content.regions[2]["lora"]
    registry.store.delete(lost)
    with pytest.raises(BlobMissing, match=lost):
        promotion.promote(workspace, "edit:5")
    with pytest.raises(BlobMissing, match=lost):
        promotion.promote_region(workspace, 2, 2)
    assert registry.resolve(MODEL, "production") == served


def test_a_rollback_says_whether_it_changed_anything_and_which_edits_are_in_the_way(
    workspace: Workspace, registry: Registry
) -> None:
    history.edit(registry, [2])
    with pytest.raises(RollbackConflict) as refused:
        promotion.rollback(workspace, 5)
    assert refused.value.edits == (7,)
    done = promotion.rollback(workspace, 5, cascade=True, reason="wrong log")
    assert done.changed
    assert [operation.change.region for operation in done.operations] == [2]
    back = promotion.rollback_to(workspace, "head")
    assert (back.changed, back.snapshot) == (False, done.snapshot)


def test_a_policy_and_an_approval_count_as_they_do_for_the_command_line(raie: Raie, workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="policy set"):
        promotion.policy_history(workspace)
    version = promotion.set_policy(workspace, "production", {"second_person": True}, reason="audit").version
    assert promotion.policies(workspace) == promotion.policy_history(workspace) == (version,)
    checked = promotion.check(workspace, "head")
    assert ([check.name for check in checked.checks], checked.accepted) == (["second person"], False)
    with pytest.raises(PromotionRefused):
        promotion.promote(workspace, "head")
    given = promotion.approve(workspace, "head", reason="my own work")
    assert (given.counts, given.approval.withdrawn) == (False, False), "ada made the snapshot"
    withdrawn = promotion.withdraw(workspace, "head", reason="not mine to approve")
    assert (withdrawn.counts, withdrawn.approval.withdrawn) == (False, True)
    assert promotion.set_policy(workspace, "production", {"require_signed": True}).unservable is not None
    assert raie("policy", "show", "--json").json["policies"][0]["version"] == 2
