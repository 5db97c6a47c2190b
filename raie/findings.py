"""What an operator should know of a model without asking: what is wrong, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from raie.lines import numbers_line
from raie.registry import BlobMissing, Edit, Registry
from raie.registry.edits.erased import erasures_served
from raie.registry.edits.undone import Distance, distance
from raie.registry.outbox_records import OutboxStatus
from raie.registry.preflight import require_snapshot
from raie.registry.states import EditState

__all__ = ["Finding", "Severity", "alias_findings", "blob_findings", "edit_findings", "mlflow_findings"]


class Severity(StrEnum):
    """Whether somebody has to act."""

    PROBLEM = "problem"
    NOTICE = "notice"


@dataclass(frozen=True)
class Finding:
    """One thing that a status says.

    Attributes:
        code: What it is, for programs: never changes.
        text: What was found, in a line.
        advice: The command that mends it, or shows more; "" where none does.
    """

    severity: Severity
    code: str
    text: str
    advice: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether somebody has to act."""
        return self.severity == Severity.PROBLEM


def alias_findings(registry: Registry, model: str) -> list[Finding]:
    """What aliases serve that the head does not hold any more, and what they do not serve yet.

    Args:
        registry: Of the model.
        model: Its name; it has a head.
    """
    aliases = [alias.name for alias in registry.aliases(model)]
    of_head, *of_aliases = registry.histories(model, "head", *aliases)
    findings = [
        finding
        for alias, of_alias in zip(aliases, of_aliases, strict=True)
        for finding in _of_alias(alias, distance(of_head, of_alias))
    ]
    return [*_serving_erased(registry, model), *findings]


def _serving_erased(registry: Registry, model: str) -> list[Finding]:
    return [
        Finding(
            Severity.PROBLEM,
            "serves_erased_user",
            f"{alias} serves a snapshot that holds the user whom edit {number} erased",
            f"raie promote head --to {shlex.quote(alias)}",
        )
        for alias, number in erasures_served(registry.engine, model).items()
    ]


def _of_alias(alias: str, apart: Distance) -> list[Finding]:
    promotes = f"raie promote head --to {shlex.quote(alias)}"
    findings = [
        Finding(
            Severity.PROBLEM,
            "serves_undone_edit",
            f"{alias} serves edit {number}, which edit {by} took back",
            promotes,
        )
        for number, by in apart.taken_back.items()
    ]
    return findings + _behind(alias, apart, promotes)


def _behind(alias: str, apart: Distance, promotes: str) -> list[Finding]:
    if not apart.behind:
        return []
    count = len(apart.behind)
    text = f"{alias} is {count} edit{'s' * (count != 1)} behind the head: {numbers_line(apart.behind)}"
    return [Finding(Severity.NOTICE, "behind_head", text, promotes)]


def edit_findings(open_edits: Iterable[Edit]) -> list[Finding]:
    """The edits that nobody works on any more."""
    return [
        Finding(
            Severity.PROBLEM,
            "abandoned_edit",
            f"edit {edit.number} was abandoned",
            f"raie edit resume {edit.number}, or raie edit abort {edit.number}",
        )
        for edit in open_edits
        if edit.state == EditState.ABANDONED
    ]


def blob_findings(registry: Registry, model: str, refs: Iterable[str]) -> list[Finding]:
    """The snapshots of which the store lacks a blob; each blob is asked for, and none is read.

    Args:
        registry: Of the model.
        model: Its name.
        refs: The head and the aliases.

    Raises:
        StoreUnreachable: There is no answer.
    """
    findings = []
    for ref in refs:
        try:
            require_snapshot(registry, model, ref)
        except BlobMissing as missing:
            text = f"the store lacks blob {missing.digest[:12]} of {ref}"
            findings.append(Finding(Severity.PROBLEM, "missing_blob", text, "raie verify"))
    return findings


def mlflow_findings(outbox: OutboxStatus) -> list[Finding]:
    """What MLflow shows otherwise than the registry, and what it does not show yet."""
    findings = [
        Finding(
            Severity.PROBLEM,
            "mlflow_alias_differs",
            f"MLflow shows alias {gap.alias} elsewhere than the registry",
            "raie mlflow sync",
        )
        for gap in outbox.aliases
    ]
    if outbox.reachable is False:
        findings.append(Finding(Severity.PROBLEM, "mlflow_unreachable", "MLflow does not answer"))
    refused = [failure for failure in outbox.failures if not failure.is_outage]
    if refused:
        text = f"MLflow refused {len(refused)} event{'s' * (len(refused) != 1)}"
        findings.append(Finding(Severity.PROBLEM, "mlflow_refused", text, "raie mlflow status"))
    return findings
