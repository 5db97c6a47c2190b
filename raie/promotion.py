"""What aliases point at, and the ways there: promote, roll back, policies, checks and approvals.

Each call is one transaction of the registry under the name of `actor`, and keeps the audit chain head in the store
afterwards. A check that would refuse a promotion can be asked for without promoting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raie.actor import actor
from raie.alias_target import AliasTarget, alias_targets
from raie.chain_head import publishes_chain_head
from raie.findings import Finding, alias_findings
from raie.newest import NEWEST, newest
from raie.registry import (
    AliasMove,
    Author,
    NotFound,
    Operation,
    Registry,
    Snapshot,
    Untrusted,
    lineage,
    trust,
)
from raie.registry.db.engine import reading
from raie.registry.edits.rollback import RollbackPlan, plan_edit, plan_to
from raie.registry.promotion.aliases import Rehearsal
from raie.registry.promotion.approvals import Approval
from raie.registry.promotion.policy_versions import PolicyVersion

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = [
    "PRODUCTION",
    "AliasTimeline",
    "GivenApproval",
    "Promotion",
    "Rollback",
    "SetPolicy",
    "alias_history",
    "aliases",
    "approve",
    "check",
    "check_region",
    "delete_alias",
    "plan_rollback",
    "plan_rollback_to",
    "policies",
    "policy_history",
    "promote",
    "promote_region",
    "rename_alias",
    "rollback",
    "rollback_to",
    "set_policy",
    "withdraw",
]

PRODUCTION = "production"
"""The alias that is meant where none is named: nobody makes it by a slip of the keyboard."""


@dataclass(frozen=True)
class Promotion:
    """A move of an alias; beside: of a new alias the names of the others, among which a typing error is seen."""

    move: AliasMove
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rollback:
    """A rollback's snapshot, which is the head; previous_head: the id of the one before, None where there was none.

    Attributes:
        operations: What it did to each region; where the head had the content already, what made that head did.
        findings: The aliases that serve what the head does not hold any more, and the commands that move them.
    """

    snapshot: Snapshot
    previous_head: str | None
    operations: tuple[Operation, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the head moved."""
        return self.snapshot.id != self.previous_head


@dataclass(frozen=True)
class AliasTimeline:
    """The newest moves of an alias, newest first; more: whether there are older ones."""

    alias: str
    moves: tuple[AliasMove, ...]
    more: bool


@dataclass(frozen=True)
class SetPolicy:
    """A new version of a policy; unservable: why what the alias serves now cannot be loaded, None where it can."""

    version: PolicyVersion
    unservable: str | None


@dataclass(frozen=True)
class GivenApproval:
    """An approval, or one that was taken back.

    Attributes:
        counts: Whether it is one by a second person, as the alias's policy asks; None where it does not ask.
        look_alikes: Names of others that a reader could take for the approver's, sorted.
    """

    approval: Approval
    counts: bool | None
    look_alikes: tuple[str, ...]


@publishes_chain_head
def promote(
    workspace: Workspace,
    ref: str,
    *,
    alias: str = PRODUCTION,
    expected: str | None = None,
    reason: str = "",
    override: bool = False,
) -> Promotion:
    """Point an alias at a snapshot; asked again, the answer is the same move, as repeated.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3", a snapshot's id or its first characters.
        alias: The alias to move; a new one is made.
        expected: The snapshot that the alias must point at now; None for any.
        reason: Why; it stays in the history.
        override: Pass over checks that the policy allows to be passed over; needs a reason.

    Returns:
        The move.

    Raises:
        AliasConflict: The alias is not where it was expected.
        PromotionRefused: A check of the alias's policy is not passed.
        BlobMissing: The store has lost a blob of the snapshot; StoreUnreachable: it does not answer.
        NotFound, SnapshotExpired, InvalidValue: There is no such snapshot, or no such name for an alias.
    """
    registry = workspace.registry()
    move = registry.promote(
        workspace.model, ref, alias, Author(actor(), reason), expected=expected, override=override
    )
    return _promotion(registry, move)


@publishes_chain_head
def promote_region(
    workspace: Workspace,
    region: int,
    version: int,
    *,
    alias: str = PRODUCTION,
    reason: str = "",
    override: bool = False,
) -> Promotion:
    """Point an alias at what it serves now with one region at another version; the head stays where it is.

    Args:
        workspace: Whose model it is.
        region: The region's number.
        version: The region's version to serve.
        alias: The alias to move.
        reason: Why; it stays in the history.
        override: Pass over checks that the policy allows to be passed over; needs a reason.

    Returns:
        The move to the new snapshot.

    Raises:
        IncompatibleRegions: The version is of another backbone, routing space or catalogue.
        PromotionRefused, BlobMissing, StoreUnreachable, NotFound, SnapshotExpired: As `promote`.
    """
    registry = workspace.registry()
    _, move = registry.promote_region(workspace.model, region, version, alias, Author(actor(), reason), override)
    return _promotion(registry, move)


def _promotion(registry: Registry, move: AliasMove) -> Promotion:
    if move.source is not None or move.repeated or move.alias == PRODUCTION:
        return Promotion(move)
    return Promotion(move, tuple(a.name for a in registry.aliases(move.model) if a.name != move.alias))


def check(workspace: Workspace, ref: str, *, alias: str = PRODUCTION, expected: str | None = None) -> Rehearsal:
    """Every check of the alias's policy, as `promote` would make it; changes nothing.

    Args:
        workspace: Whose model it is.
        ref: The snapshot, as for `promote`.
        alias: The alias that would move.
        expected: The snapshot that the alias must point at now; None for any.

    Returns:
        From where to where the alias would move, and each check, passed or not.

    Raises:
        AliasConflict, NotFound, InvalidValue: As `promote`.
    """
    return trust.rehearse(workspace.registry(), workspace.model, ref, alias, expected)


def check_region(workspace: Workspace, region: int, version: int, *, alias: str = PRODUCTION) -> Rehearsal:
    """Every check of the alias's policy, as `promote_region` would make it; changes nothing.

    Args:
        workspace: Whose model it is.
        region: The region's number.
        version: The region's version.
        alias: The alias that would move.

    Returns:
        From where to where the alias would move, and each check, passed or not.

    Raises:
        NotFound, IncompatibleRegions: As `promote_region`.
    """
    return trust.rehearse_region(
        workspace.registry(), workspace.model, region, version, alias, author=Author(actor())
    )


@publishes_chain_head
def rollback(workspace: Workspace, edit: int, *, cascade: bool = False, reason: str = "") -> Rollback:
    """Commit a snapshot without what one edit changed; every later change of other regions stays.

    Args:
        workspace: Whose model it is.
        edit: The edit's number.
        cascade: Undo later edits of the same regions too.
        reason: Why; it stays in the history.

    Returns:
        The new head; the head as it is where the edit is undone already.

    Raises:
        RollbackConflict: Later edits changed the same regions; its `edits` are their numbers, oldest first.
        EditStateError: The edit has nothing to undo.
        NotFound, SnapshotExpired: There is no such edit, or the blobs of its base may be gone.
    """
    registry, model = workspace.registry(), workspace.model
    before = registry.head(model)
    snapshot = registry.rollback_edit(model, edit, author=Author(actor(), reason), cascade=cascade)
    return _rolled_back(registry, before, snapshot)


def plan_rollback(workspace: Workspace, edit: int, *, cascade: bool = False) -> RollbackPlan:
    """What `rollback` would do; changes nothing.

    Args:
        workspace: Whose model it is.
        edit: The edit's number.
        cascade: Undo later edits of the same regions too.

    Returns:
        The regions that would go back, and the edits that would be undone.

    Raises:
        RollbackConflict, EditStateError, NotFound, SnapshotExpired: As `rollback`.
    """
    with reading(workspace.registry().engine) as connection:
        return plan_edit(connection, workspace.model, edit, cascade=cascade)


def plan_rollback_to(workspace: Workspace, ref: str) -> RollbackPlan:
    """What `rollback_to` would do; changes nothing.

    Args:
        workspace: Whose model it is.
        ref: The older snapshot, as for `promote`.

    Returns:
        The regions that would go back.

    Raises:
        NotFound, SnapshotExpired: As `rollback_to`.
    """
    with reading(workspace.registry().engine) as connection:
        return plan_to(connection, workspace.model, ref)


@publishes_chain_head
def rollback_to(workspace: Workspace, ref: str, *, reason: str = "") -> Rollback:
    """Commit a snapshot with exactly an older one's content.

    Args:
        workspace: Whose model it is.
        ref: The older snapshot, as for `promote`.
        reason: Why; it stays in the history.

    Returns:
        The new head; the head as it is where it has that content already.

    Raises:
        NotFound, SnapshotExpired: There is no such snapshot, or its blobs may be gone.
    """
    registry, model = workspace.registry(), workspace.model
    before = registry.head(model)
    snapshot = registry.rollback_to(model, ref, author=Author(actor(), reason))
    return _rolled_back(registry, before, snapshot)


def _rolled_back(registry: Registry, before: Snapshot | None, snapshot: Snapshot) -> Rollback:
    operations = lineage.operations(registry, snapshot.model, snapshot.edit)
    findings = [finding for finding in alias_findings(registry, snapshot.model) if finding.is_problem]
    return Rollback(snapshot, None if before is None else before.id, tuple(operations), tuple(findings))


def aliases(workspace: Workspace) -> tuple[AliasTarget, ...]:
    """The aliases of the workspace's model by name, and where they point; none before its first snapshot.

    Args:
        workspace: Whose model it is.

    Returns:
        One entry for each alias.

    Raises:
        Untrusted: A protected alias was moved behind its log, or lacks the signature that its policy requires.
    """
    registry = workspace.registry()
    return alias_targets(registry, workspace.model) if registry.models() else ()


def alias_history(workspace: Workspace, alias: str = PRODUCTION, *, limit: int = NEWEST) -> AliasTimeline:
    """The moves of an alias, newest first.

    Args:
        workspace: Whose model it is.
        alias: The alias's name.
        limit: How many moves to return.

    Returns:
        The moves.

    Raises:
        NotFound: There never was such an alias.
    """
    moves = workspace.registry().alias_history(workspace.model, alias, limit + 1)
    return AliasTimeline(alias, *newest(moves, limit))


@publishes_chain_head
def delete_alias(workspace: Workspace, alias: str, *, reason: str, override: bool = False) -> AliasMove:
    """Delete an alias; its moves, its policy and the snapshot that it pointed at stay.

    Args:
        workspace: Whose model it is.
        alias: The alias's name.
        reason: Why; it stays in the history.
        override: Pass over a policy that allows to be passed over.

    Returns:
        The move, whose target is None.

    Raises:
        NotFound: There is no such alias.
        InvalidValue: There is no reason.
        PromotionRefused: A policy protects the alias.
    """
    author = Author(actor(), reason)
    return workspace.registry().delete_alias(workspace.model, alias, author, override=override)


@publishes_chain_head
def rename_alias(workspace: Workspace, old: str, new: str, *, reason: str, override: bool = False) -> AliasMove:
    """Give an alias another name; the moves and the policy of the old name stay with the old name.

    Args:
        workspace: Whose model it is.
        old: The alias's name.
        new: The name that it gets; no other alias has it.
        reason: Why; it stays in the history.
        override: Pass over policies that allow to be passed over.

    Returns:
        The move of the new name to where the old one pointed.

    Raises:
        NotFound: There is no such alias.
        AliasConflict: There is an alias of the new name.
        InvalidValue: There is no reason, or no alias may have this name.
        PromotionRefused: A policy protects the alias, or the new name's policy refuses the snapshot.
        SnapshotExpired: The blobs of what it points at may be gone.
    """
    author = Author(actor(), reason)
    return workspace.registry().rename_alias(workspace.model, old, new, author, override=override)


@publishes_chain_head
def set_policy(workspace: Workspace, alias: str, changes: Mapping[str, Any], *, reason: str = "") -> SetPolicy:
    """Protect an alias, or change what its policy asks; what is not named stays as it is.

    Args:
        workspace: Whose model it is.
        alias: The alias; it need not exist yet.
        changes: Field of a policy -> its new value: retention, adaptation, adaptation_known (least change of
            Recall@10), max_age_s (seconds), locality, second_person, require_signed, override, protected.
        reason: Why; it stays in the audit log.

    Returns:
        The version of the policy that is in force from now on.

    Raises:
        InvalidValue: There is no such field, or no such value for it.
        NotFound: There is no such model.
    """
    registry, model = workspace.registry(), workspace.model
    version = trust.set_policy(registry, model, alias, changes, author=Author(actor(), reason))
    return SetPolicy(version, _unservable(registry, model, alias))


def _unservable(registry: Registry, model: str, alias: str) -> str | None:
    if not any(known.name == alias for known in registry.aliases(model)):
        return None
    try:
        registry.resolve(model, alias)
    except Untrusted as error:
        return str(error)
    return None


def policies(workspace: Workspace, alias: str | None = None) -> tuple[PolicyVersion, ...]:
    """The policies in force, of all aliases by name or of one; none before the model's first snapshot.

    Args:
        workspace: Whose model it is.
        alias: Only this alias; None for all.

    Returns:
        The newest version of each policy.
    """
    newest: dict[str, PolicyVersion] = {}
    for version in _policy_versions(workspace, alias):
        newest.setdefault(version.alias, version)
    return tuple(newest.values())


def policy_history(workspace: Workspace, alias: str = PRODUCTION) -> tuple[PolicyVersion, ...]:
    """Every version of an alias's policy, newest first.

    Args:
        workspace: Whose model it is.
        alias: The alias's name.

    Returns:
        The versions.

    Raises:
        NotFound: The alias never had a policy.
    """
    versions = _policy_versions(workspace, alias)
    if not versions:
        raise NotFound(
            f"Expected a policy of alias {alias!r} of model {workspace.model!r}, found none; `raie policy set` makes one"
        )
    return versions


def _policy_versions(workspace: Workspace, alias: str | None) -> tuple[PolicyVersion, ...]:
    registry = workspace.registry()
    return tuple(trust.policies(registry, workspace.model, alias)) if registry.models() else ()


@publishes_chain_head
def approve(workspace: Workspace, ref: str, *, alias: str = PRODUCTION, reason: str) -> GivenApproval:
    """Approve that an alias moves to a snapshot, where its policy asks for a second person.

    Args:
        workspace: Whose model it is.
        ref: The snapshot, as for `promote`.
        alias: The alias that may move to it.
        reason: What was looked at; it stays in the audit log.

    Returns:
        The approval, and whether it counts.

    Raises:
        NotFound: There is no such snapshot.
        InvalidValue: There is no reason.
    """
    registry = workspace.registry()
    approval = trust.approve(registry, workspace.model, ref, alias, author=Author(actor(), reason))
    counts = False if approval.withdrawn else trust.approval_counts(registry, approval)
    return GivenApproval(approval, counts, tuple(trust.look_alikes(registry, approval)))


@publishes_chain_head
def withdraw(workspace: Workspace, ref: str, *, alias: str = PRODUCTION, reason: str) -> GivenApproval:
    """Take one's own approval back; it stays on record and counts no more.

    Args:
        workspace: Whose model it is.
        ref: The snapshot, as for `promote`.
        alias: The alias that the approval is for.
        reason: Why; it stays in the audit log.

    Returns:
        The approval, withdrawn.

    Raises:
        NotFound: This person never gave such an approval.
        InvalidValue: There is no reason.
    """
    registry = workspace.registry()
    approval = trust.withdraw(registry, workspace.model, ref, alias, author=Author(actor(), reason))
    return GivenApproval(approval, False, tuple(trust.look_alikes(registry, approval)))
