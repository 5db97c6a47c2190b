"""A long and varied history as values: edits, rollbacks, cherry-picks, promotions, notes and tags; one for each seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from raie.registry import AliasMove, Edit, Operation, RegionChange, digest_of
from raie.registry.edits.notes import Annotation, Annotations
from raie.registry.edits.whole_history import SnapshotRow, WholeHistory
from raie.registry.states import EditKind, EditState, RegionAction
from raie.registry.values import Expiry

__all__ = ["MODEL", "long_history"]

MODEL = "films"
_BEGINNING = 1_700_000_000.0
_DAY = 86_400.0
_PEOPLE = ("ada", "grace", "edsger", "barbara")
_REASONS = (
    "weekly log",
    "new catalogue of autumn releases",
    "drift in two regions after the holiday",
    "the nightly batch",
    "regions of short sessions learned again",
)


@dataclass
class _Made:
    """What was made so far; held: region -> version at the head."""

    source: random.Random
    rows: list[SnapshotRow] = field(default_factory=list)
    edits: dict[int, Edit] = field(default_factory=dict)
    operations: dict[int, tuple[Operation, ...]] = field(default_factory=dict)
    moves: list[AliasMove] = field(default_factory=list)
    annotations: dict[str, Annotations] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    at: float = _BEGINNING


def long_history(snapshots: int, regions: int = 12, seed: int = 1) -> WholeHistory:
    """A history of so many snapshots, the setup included.

    Args:
        snapshots: At least 1.
        regions: Of the setup; a few come and go later.
        seed: Of all choices.

    Returns:
        What `whole_history` would read of such a registry.
    """
    made = _Made(random.Random(seed))
    _add(made, EditKind.SETUP, [(region, RegionAction.SETUP) for region in range(regions)])
    for number in range(2, snapshots + 1):
        _step(made, number)
    return WholeHistory(
        model=MODEL,
        head=made.head,
        snapshots=tuple(made.rows),
        edits=made.edits,
        operations=made.operations,
        aliases=made.aliases,
        moves=tuple(made.moves),
        annotations=made.annotations,
    )


def _step(made: _Made, number: int) -> None:
    """One more edit, and sometimes a promotion or a note after it."""
    source = made.source
    made.at += _DAY * source.uniform(0.4, 2.2) * (6 if source.random() < 0.03 else 1)
    chosen = source.random()
    regions = source.sample(sorted(made.held), min(len(made.held), source.randint(1, 3)))
    if chosen < 0.06 and number > 3:
        last = made.rows[-1]
        if last.id == made.head:
            undone = [op.change.region for op in made.operations[last.edit] if op.change.region in made.held]
            _add(made, EditKind.ROLLBACK, [(r, RegionAction.REVERT) for r in undone], {"edits": [last.edit]})
            return
    if chosen < 0.12:
        _add(made, EditKind.CHERRY_PICK, [(regions[0], RegionAction.REPLACE)], side=True)
        _move(made, "canary", made.rows[-1].id)
        return
    actions = [(region, source.choice([RegionAction.UPDATE] * 4 + [RegionAction.EXPAND])) for region in regions]
    if chosen > 0.97:
        actions.append((max(made.newest) + 1, RegionAction.ADD))
    if chosen < 0.14 and len(made.held) > 4:
        actions[0] = (regions[0], RegionAction.RETIRE)
    _add(made, EditKind.EDIT, actions)
    _annotate(made, number)


def _annotate(made: _Made, number: int) -> None:
    """Promotions, notes and tags of the newest snapshot."""
    source, snapshot = made.source, made.rows[-1].id
    if number % 5 == 0:
        _move(made, "staging", snapshot)
    if number % 9 == 0:
        _move(made, "production", snapshot)
    if number % 40 == 0:
        _move(made, "production", made.rows[max(0, len(made.rows) - 6)].id)
    if number % 17 == 0:
        actor, reason = source.choice(_PEOPLE), f"checked by hand, ticket {number}"
        note = Annotation(number, MODEL, snapshot, "note", None, actor, reason, made.at)
        tag = Annotation(number + 1, MODEL, snapshot, "tag", f"release-{number // 17}", actor, "", made.at)
        made.annotations[snapshot] = Annotations((note,), (tag,))


def _add(made: _Made, kind: str, actions: list[tuple[int, str]], parameters=None, side: bool = False) -> None:
    source, number = made.source, len(made.rows) + 1
    snapshot, content = digest_of(f"snapshot {number}".encode()), digest_of(f"content {number}".encode())
    parent, score = made.head, 0.2 + 0.00002 * number
    report = {
        "adaptation": {"before": {"Recall@10": score}, "after": {"Recall@10": score + source.gauss(0.01, 0.02)}}
    }
    made.edits[number] = Edit(
        model=MODEL,
        number=number,
        kind=kind,
        state=EditState.COMMITTED,
        base=parent,
        result=snapshot,
        seed=number,
        data_digest=digest_of(f"data {number}".encode()),
        plan_digest=None,
        parameters=parameters or {},
        report=report,
        actor=source.choice(_PEOPLE),
        reason=source.choice(_REASONS),
        created_at=made.at - source.uniform(20, 900),
        closed_at=made.at,
        close_reason=None,
        lease_owner=None,
        lease_expires_at=None,
    )
    expired = Expiry(made.at + 90 * _DAY, "ada", "older than 90 days", number) if 1 < number < 4 else None
    made.rows.append(SnapshotRow(snapshot, parent, number, content, made.at, expired))
    made.operations[number] = tuple(
        _operation(made, number, position, region, action, side)
        for position, (region, action) in enumerate(actions)
    )
    if not side:
        made.head = snapshot


def _operation(made: _Made, number: int, position: int, region: int, action: str, side: bool) -> Operation:
    source, version = made.source, None
    if action != RegionAction.RETIRE:
        version = made.newest[region] = made.newest.get(region, 0) + 1
    if not side and version is not None:
        made.held[region] = version
    if action == RegionAction.RETIRE:
        made.held.pop(region, None)
    change = RegionChange(
        region,
        action,
        windows=source.randint(20, 900),
        centre_shift=source.uniform(0, 0.2),
        radius=0.5,
        concentration=20.0,
        count=source.randint(500, 9000),
    )
    return Operation(MODEL, number, position, version, change)


def _move(made: _Made, alias: str, target: str) -> None:
    source = made.source
    move = AliasMove(
        id=len(made.moves) + 1,
        model=MODEL,
        alias=alias,
        source=made.aliases.get(alias),
        target=target,
        actor=source.choice(_PEOPLE),
        reason=source.choice(("passed review", "better in the shadow for a week", "")),
        at=made.at + 3600.0,
    )
    made.moves.append(move)
    made.aliases[alias] = target
