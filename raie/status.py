"""Where a model stands: its head and what that has learned from, what aliases serve, and what somebody has to mend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raie.alias_target import AliasTarget, alias_targets
from raie.configuration.database_url import without_password
from raie.edits.notes import annotations_of
from raie.findings import Finding, alias_findings, blob_findings, edit_findings, mlflow_findings
from raie.logs.learned import watermark_of
from raie.registry import Edit, Registry, Snapshot
from raie.registry.db.shown_url import shown
from raie.registry.mlflow import publisher
from raie.registry.outbox_records import OutboxStatus

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["HeadStatus", "ModelSummary", "Status", "models", "status"]


@dataclass(frozen=True)
class HeadStatus:
    """The head, and the edit that made it; learned_until: epoch seconds UTC of the last rows taken, None without."""

    snapshot: Snapshot
    edit: Edit
    learned_until: float | None


@dataclass(frozen=True)
class Status:
    """The state of a workspace's model; head: None before its first snapshot.

    Attributes:
        database, store: Where they are, without secrets.
        open_edits: Edits that run or were abandoned, newest first.
        outbox: What MLflow has not got yet; None before the first snapshot.
        findings: What an operator should know, problems first.
        tags: Snapshot -> its tags, of the head and of what aliases point at; without those that have none.
    """

    model: str
    database: str
    store: str
    head: HeadStatus | None
    aliases: tuple[AliasTarget, ...]
    open_edits: tuple[Edit, ...]
    outbox: OutboxStatus | None = None
    findings: tuple[Finding, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def problems(self) -> bool:
        """Whether somebody has to act."""
        return any(finding.is_problem for finding in self.findings)

    def is_head(self, target: AliasTarget) -> bool:
        """Whether an alias points at the head."""
        return self.head is not None and target.alias.snapshot == self.head.snapshot.id


@dataclass(frozen=True)
class ModelSummary:
    """One model of a registry.

    Attributes:
        head: The newest snapshot; None before the first.
        edits: How many there are, those that run or were aborted too.
        aliases: Their names, sorted.
        chosen: Whether it is the model of the workspace.
    """

    name: str
    head: Snapshot | None
    edits: int
    aliases: tuple[str, ...]
    chosen: bool


def models(workspace: Workspace) -> tuple[ModelSummary, ...]:
    """The models of a workspace's registry, by name.

    Args:
        workspace: Whose registry it is.

    Raises:
        DatabaseUnreachable: There is no answer.
    """
    registry = workspace.registry()
    return tuple(_summary(registry, name, chosen=name == workspace.model) for name in registry.models())


def _summary(registry: Registry, name: str, *, chosen: bool) -> ModelSummary:
    newest = registry.edits(name, limit=1)
    aliases = tuple(alias.name for alias in registry.aliases(name))
    return ModelSummary(name, registry.head(name), newest[0].number if newest else 0, aliases, chosen)


def status(workspace: Workspace, *, ask_mlflow: bool = False) -> Status:
    """Where the workspace's model stands.

    Args:
        workspace: Whose model it is.
        ask_mlflow: Also whether MLflow answers, and shows the aliases where they are.

    Returns:
        The state; that of a model without a snapshot where there is none yet.

    Raises:
        DatabaseUnreachable, StoreUnreachable: There is no answer.
    """
    registry, model = workspace.registry(), workspace.model
    database, store = shown(without_password(workspace.database)), shown(workspace.store)
    if model not in registry.models():
        return Status(model, database, store, None, (), ())
    head = registry.head(model)
    open_edits = tuple(registry.edits(model, only_open=True))
    state = None if head is None else _head(registry, head)
    targets = alias_targets(registry, model)
    outbox = publisher.status(registry, workspace.tracking_uri if ask_mlflow else None)
    names = [target.alias.name for target in targets]
    findings = [
        *([] if head is None else alias_findings(registry, model)),
        *([] if head is None else blob_findings(registry, model, ["head", *names])),
        *edit_findings(open_edits),
        *mlflow_findings(outbox),
    ]
    ordered = sorted(findings, key=lambda finding: not finding.is_problem)
    pointed = [target.alias.snapshot for target in targets] + ([] if head is None else [head.id])
    written = annotations_of(registry, model, pointed)
    tags = {snapshot: there.tag_names for snapshot, there in written.items() if there.tags}
    return Status(model, database, store, state, targets, open_edits, outbox, tuple(ordered), tags)


def _head(registry: Registry, head: Snapshot) -> HeadStatus:
    mark = watermark_of(registry, head.content)
    return HeadStatus(head, registry.edit(head.model, head.edit), None if mark is None else mark.timestamp)
