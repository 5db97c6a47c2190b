"""What an alias served when, who moved it there and why, and on which data: gathered for an auditor.

Moves, approvals and the policy of their time are those of the audit chain, which is verified. What the chain does not
record, the results of the checks that passed, is made again on what it recorded before each move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie import trust
from raie.errors import UsageError
from raie.proofs.data_used import DataOfEdit, LearnedFrom, data_of_edits, learned_from
from raie.registry import NotFound, Registry, Snapshot, lineage
from raie.registry.db.engine import reading
from raie.registry.ownership import identity
from raie.registry.promotion.decisions import Decision, decisions
from raie.registry.times import utc_text

if TYPE_CHECKING:
    from raie.trust import ChainCheck
    from raie.workspace import Workspace

__all__ = ["AuditReport", "Mark", "Period", "audit_report"]

PRODUCTION = "production"


@dataclass(frozen=True)
class Mark:
    """What an auditor must not miss; kind: a word for programs that never changes.

    Kinds: "gap", "override", "failed check", "unknown checks", "no policy", "clock", "untrusted signature".
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Period:
    """A time in which the alias pointed at one snapshot, or at none.

    Attributes:
        start, end: Epoch seconds UTC; end: None where it lasts.
        decision: The move that began it; None for the time before the first.
        snapshot: None where the alias was not there.
        learned: The edits whose data the snapshot rests on; None without a snapshot.
        marks: What is unusual.
    """

    start: float | None
    end: float | None
    decision: Decision | None
    snapshot: Snapshot | None
    learned: LearnedFrom | None
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class AuditReport:
    """What one page for an auditor says.

    Attributes:
        registry: The registry's id.
        start, end: Which time was asked for, epoch seconds UTC; None without a limit.
        periods: That touch this time, oldest first.
        data: Of every edit that a served snapshot rests on, by number.
        chain: The verified audit chain: its events, its head, its problems.
        marks: What is unusual of the whole, not of one period.
    """

    registry: str
    model: str
    alias: str
    start: float | None
    end: float | None
    periods: tuple[Period, ...]
    data: tuple[DataOfEdit, ...]
    chain: ChainCheck
    marks: tuple[Mark, ...]

    @property
    def marked(self) -> int:
        """How many things are marked."""
        return len(self.marks) + sum(len(period.marks) for period in self.periods)


def audit_report(
    workspace: Workspace, alias: str = PRODUCTION, *, start: float | None = None, end: float | None = None
) -> AuditReport:
    """Gather what an alias served when, who approved it, and on which data.

    Args:
        workspace: Whose model it is.
        alias: The alias's name.
        start, end: Only periods that touch the time between them, epoch seconds UTC; None for no limit.

    Returns:
        The report. A chain that does not hold is part of it.

    Raises:
        NotFound: There never was such an alias.
        UsageError: The time ends before it starts.
        DatabaseUnreachable, StoreUnreachable: There is no answer.
    """
    if start is not None and end is not None and end <= start:
        raise UsageError(f"expected --to after --from, found {utc_text(end)} and {utc_text(start)}: exchange them")
    registry, model = workspace.registry(), workspace.model
    chain = trust.verify_audit(workspace)
    with reading(registry.engine) as connection:
        made = list(decisions(connection, model, alias))
        served = next((a.snapshot for a in registry.aliases(model) if a.name == alias), None)
        number = identity.current(connection).registry
    if not made:
        raise NotFound(
            f"Expected an alias {alias!r} of model {model!r} in the audit, found none; `raie alias list` shows those "
            "there are"
        )
    snapshots = _snapshots(registry, model, made)
    learned = learned_from(registry, list(snapshots.values()))
    periods = tuple(p for p in _periods(made, snapshots, learned) if _touches(p, start, end))
    edits = {edit for period in periods if period.learned is not None for edit in period.learned.edits}
    return AuditReport(
        registry=number,
        model=model,
        alias=alias,
        start=start,
        end=end,
        periods=periods,
        data=data_of_edits(registry, model, edits),
        chain=chain,
        marks=tuple(_whole_marks(alias, made, served)),
    )


def _snapshots(registry: Registry, model: str, made: Iterable[Decision]) -> dict[str, Snapshot]:
    ids = sorted({decision.move.target for decision in made if decision.move.target is not None})
    return {snapshot.id: snapshot for snapshot in lineage.find_all(registry, model, ids)}


def _periods(
    made: Sequence[Decision], snapshots: Mapping[str, Snapshot], learned: Mapping[str, LearnedFrom]
) -> Iterator[Period]:
    """The time before the first move, then one period for each."""
    before = (Mark("gap", "The alias was not there yet: nothing was served by this name."),)
    yield Period(None, made[0].move.at, None, None, None, before)
    ends: list[Decision | None] = [*made[1:], None]
    earlier: list[Decision | None] = [None, *made[:-1]]
    for previous, decision, after in zip(earlier, made, ends, strict=True):
        target = decision.move.target
        yield Period(
            start=decision.move.at,
            end=None if after is None else after.move.at,
            decision=decision,
            snapshot=None if target is None else snapshots[target],
            learned=None if target is None else learned[target],
            marks=tuple(_marks(previous, decision)),
        )


def _touches(period: Period, start: float | None, end: float | None) -> bool:
    """Whether a period lies in the time asked for, in part; the time before the first move only where asked for."""
    if period.decision is None:
        return start is not None and period.end is not None and start < period.end
    begins = period.start is None or end is None or period.start < end
    return begins and (period.end is None or start is None or period.end > start)


def _marks(previous: Decision | None, decision: Decision) -> Iterator[Mark]:
    move = decision.move
    left = None if previous is None else previous.move.target
    if move.source != left:
        where, said = (name[:12] if name else "nothing" for name in (move.source, left))
        yield Mark(
            "gap",
            f"The alias was at {where} before this move, the audit had left it at {said}: it moved unrecorded.",
        )
    if previous is not None and move.at < previous.move.at:
        yield Mark(
            "clock", "The move is dated before the one that it follows: a clock was wrong, the order is not."
        )
    if move.target is None:
        yield Mark("gap", "The alias was taken away: nothing was served by this name.")
    if decision.override is not None:
        yield Mark("override", decision.override.reason)
    if move.target is None:
        return
    yield from _check_marks(decision)
    for signature in decision.signatures:
        if not signature.valid:
            yield Mark("untrusted signature", f"The signature by key {signature.signature.key[:12]} is not valid.")


def _check_marks(decision: Decision) -> Iterator[Mark]:
    if decision.policy is None or not decision.policy.policy.protected:
        yield Mark("no policy", "No policy protected the alias at this move.")
    if decision.problem is not None:
        yield Mark("unknown checks", f"The checks cannot be made again: {decision.problem}")
    if decision.override is None:
        for check in decision.checks:
            if not check.passed:
                yield Mark("failed check", f"Not passed, and nobody overrode it: {check.summary}.")


def _whole_marks(alias: str, made: Sequence[Decision], served: str | None) -> Iterator[Mark]:
    last = made[-1].move.target
    if served != last:
        where, said = (name[:12] if name else "nothing" for name in (served, last))
        yield Mark("gap", f"{alias} points at {where}, the audit says {said}: it was moved by hand.")
