"""Aliases: names that point to snapshots, moved by compare-and-swap, every move logged.

A whole coherent model moves at once. To promote one version of one region, its cherry-pick is made: what the alias
serves now with that region replaced. It is a side branch of the history; the head does not move.

A protected alias admits what passes its policy, and a cherry-pick must show what every other snapshot must: made for
an alias that is not protected first, it can be measured, signed and approved there, for it is the same snapshot.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection, insert, select, update

from raie.registry import audit, blobs, outbox
from raie.registry.author import Author
from raie.registry.db.engine import Database, reading
from raie.registry.db.queries import (
    check_alias,
    expiry_text,
    lock_model,
    pointed_at,
    require_kept,
    resolve_id,
    select_snapshots,
    snapshot_by_id,
    unknown_alias,
    version_row,
)
from raie.registry.db.tables import alias_moves, aliases, snapshots
from raie.registry.edits.commit import LANDING_ATTEMPTS, write_unless_collected
from raie.registry.edits.erased import require_not_erased
from raie.registry.edits.landing import NewEdit, land
from raie.registry.edits.merge import cherry_pick
from raie.registry.edits.rollback import changes_between
from raie.registry.errors import AliasConflict, BlobMissing, IncompatibleRegions, NotFound, SnapshotExpired
from raie.registry.failpoints import failpoint
from raie.registry.outbox_records import ALIAS_MOVED
from raie.registry.people import look_alike, person_of
from raie.registry.promotion import admission
from raie.registry.promotion.approvals import Approval
from raie.registry.promotion.evaluations import Candidate, facts
from raie.registry.promotion.policy import Check, Policy
from raie.registry.promotion.policy_versions import in_force
from raie.registry.states import AuditAction, EditKind, RegionAction
from raie.registry.store.base import ArtifactStore
from raie.registry.values import AliasMove, Manifest, Snapshot

__all__ = [
    "Rehearsal",
    "alias_history",
    "approval_counts",
    "look_alikes",
    "move_alias",
    "promote",
    "promote_region",
    "rehearse",
    "rehearse_region",
]


@dataclass(frozen=True)
class Rehearsal:
    """What a promotion would do: from where to where, and every check of the alias's policy."""

    source: str | None
    target: str
    checks: tuple[Check, ...]

    @property
    def accepted(self) -> bool:
        """Whether every check is passed."""
        return all(check.passed for check in self.checks)


def promote(
    connection: Connection,
    model: str,
    ref: str,
    alias: str,
    author: Author,
    expected: str | None,
    override: bool = False,
) -> AliasMove:
    """Moves an alias to a snapshot; where it is there already, returns the move that brought it there, as repeated.

    expected: a reference to the snapshot the alias must point to, "" where it must not exist, None for either.
    Raises NotFound, InvalidValue, SnapshotExpired, SnapshotErased for one that holds an erased user, AliasConflict where
    it points elsewhere, and PromotionRefused.
    """
    lock_model(connection, model)
    check_alias(connection, model, alias)
    served = pointed_at(connection, model, alias)
    target = _target(connection, model, ref, alias, expected, served)
    require_kept(connection, [target])
    if served == target:
        return _repeated(connection, model, alias)
    require_not_erased(connection, model, target)
    admission.admit(connection, model, alias, target, served, author=author, override=override)
    return move_alias(connection, model, alias, served, target, author)


def rehearse(connection: Connection, model: str, ref: str, alias: str, expected: str | None = None) -> Rehearsal:
    """What `promote` would do; raises NotFound, InvalidValue and AliasConflict."""
    check_alias(connection, model, alias)
    served = pointed_at(connection, model, alias)
    target = _target(connection, model, ref, alias, expected, served)
    if served != target:
        require_not_erased(connection, model, target)
    return Rehearsal(served, target, admission.checks_of(connection, model, alias, target, served))


def approval_counts(connection: Connection, approval: Approval) -> bool | None:
    """Whether who approved made none of what would be promoted; None where no policy asks for a second person."""
    version = in_force(connection, approval.model, approval.alias)
    if version is None or not (version.policy.protected and version.policy.second_person):
        return None
    pointed = pointed_at(connection, approval.model, approval.alias)
    served = None if pointed is None else snapshot_by_id(connection, pointed)
    candidate = admission.candidate_of(connection, approval.snapshot)
    authors = facts(connection, version.policy, approval.alias, candidate, served).authors
    return person_of(approval.actor) not in map(person_of, authors)


def look_alikes(connection: Connection, approval: Approval) -> list[str]:
    """The names that could be taken for the approver's: of authors and of other approvers of the same snapshot."""
    candidate = admission.candidate_of(connection, approval.snapshot)
    pointed = pointed_at(connection, approval.model, approval.alias)
    served = None if pointed is None else snapshot_by_id(connection, pointed)
    known = facts(connection, Policy(second_person=True), approval.alias, candidate, served)
    return sorted(name for name in known.authors | known.approvers if look_alike(approval.actor, name))


def _target(
    connection: Connection, model: str, ref: str, alias: str, expected: str | None, served: str | None
) -> str:
    """The snapshot to move to, once the alias is where it was expected; raises NotFound and AliasConflict."""
    if expected is not None:
        wanted = resolve_id(connection, model, expected) if expected else None
        if wanted != served:
            raise AliasConflict(
                f"Expected alias {alias!r} of {model!r} at {wanted or 'no snapshot'}, found it at "
                f"{served or 'no snapshot'}; look again and repeat",
                wanted,
                served,
            )
    return resolve_id(connection, model, ref)


def _repeated(connection: Connection, model: str, alias: str) -> AliasMove:
    """The move that brought an alias to where it is."""
    return replace(alias_history(connection, model, alias, 1)[0], repeated=True)


def rehearse_region(
    connection: Connection, model: str, region: int, version: int, alias: str, author: Author
) -> Rehearsal:
    """What `promote_region` would do; raises NotFound and IncompatibleRegions."""
    current, landing = _cherry_pick(connection, model, region, version, alias, author)
    if landing.manifest.content == current.content:
        return Rehearsal(
            current.id, current.id, admission.checks_of(connection, model, alias, current.id, current.id)
        )
    candidate = _candidate(connection, landing.manifest, author)
    return Rehearsal(
        current.id, landing.manifest.id, admission.checks_of(connection, model, alias, candidate, current.id)
    )


def promote_region(
    database: Database,
    store: ArtifactStore,
    lease_owner: str,
    model: str,
    region: int,
    version: int,
    alias: str,
    author: Author,
    override: bool = False,
) -> tuple[Snapshot, AliasMove]:
    """Cherry-picks one version of one region onto what the alias serves now, and moves the alias to it.

    Raises NotFound, IncompatibleRegions where the version belongs to another backbone, space or catalogue, and
    SnapshotExpired where its blobs went with the snapshot that brought it; and PromotionRefused.
    """
    for _ in range(LANDING_ATTEMPTS):
        with reading(database) as connection:
            current, landing = _cherry_pick(connection, model, region, version, alias, author)
            # Also what a retry finds whose first try landed although its answer was lost.
            if landing.manifest.content == current.content:
                return current, _repeated(connection, model, alias)
            # What will be refused uploads nothing; the check that counts comes with the move.
            if not override:
                candidate = _candidate(connection, landing.manifest, author)
                admission.admit(connection, model, alias, candidate, current.id, author=author, override=False)
        failpoint("cherry_pick.planned")
        blobs.stage(database, store, landing.manifest.to_bytes())
        failpoint("cherry_pick.uploaded")
        step = partial(_land_on_alias, lease_owner=lease_owner, alias=alias, landing=landing, override=override)
        try:
            moved = write_unless_collected(database, store, landing, step)
        except BlobMissing as lost:
            _require_version(database, model, region, version, lost)
            raise
        failpoint("cherry_pick.committed")
        if moved is not None:
            return moved
    raise AliasConflict(f"Expected alias {alias!r} to stand still, found it moving; retry", None, None)


def alias_history(connection: Connection, model: str, alias: str, limit: int | None = None) -> list[AliasMove]:
    """Every move of an alias, or the last so many, newest first; raises NotFound for one that never was."""
    mine = (alias_moves.c.model == model, alias_moves.c.alias == alias)
    rows = connection.execute(
        select(alias_moves).where(*mine).order_by(alias_moves.c.id.desc()).limit(limit)
    ).all()
    if not rows:
        raise unknown_alias(connection, model, alias, "`raie promote` makes one")
    return [AliasMove(**row._mapping) for row in rows]


def _cherry_pick(
    connection: Connection, model: str, region: int, version: int, alias: str, author: Author
) -> tuple[Snapshot, NewEdit]:
    """What the alias serves now, and what it should serve: the same with one region's version."""
    wanted = version_row(connection, model, region, version)
    pointed = pointed_at(connection, model, alias)
    if pointed is None:
        raise NotFound(
            f"Expected an alias {alias!r} of {model!r} to cherry-pick onto, found none; promote a snapshot first"
        )
    current, source = snapshot_by_id(connection, pointed), snapshot_by_id(connection, wanted.snapshot)
    try:
        content = cherry_pick(current.content, source.content, region)
    except IncompatibleRegions as error:
        raise IncompatibleRegions(
            f"Expected version {version} of region {region} to fit what {alias!r} serves, found that {error}; "
            "promote a whole snapshot instead"
        ) from error
    parameters = {"alias": alias, "region": region, "version": version}
    landing = NewEdit(
        kind=EditKind.CHERRY_PICK,
        author=author,
        parameters=parameters,
        manifest=Manifest(model, current.id, content),
        changes=changes_between(connection, model, current.content, content, RegionAction.REPLACE),
        proposal=content.digest,
    )
    return current, landing


def _require_version(database: Database, model: str, region: int, version: int, lost: BlobMissing) -> None:
    """Raises SnapshotExpired where a version's blob is missing because the snapshot that brought it expired."""
    with reading(database) as connection:
        source = snapshot_by_id(connection, version_row(connection, model, region, version).snapshot)
    if source.expired is not None:
        raise SnapshotExpired(
            f"Expected version {version} of region {region} with its blobs, found that snapshot {source.id[:12]}, "
            f"which brought it, {expiry_text(source.expired)}; promote another version",
            source.id,
        ) from lost


def _candidate(connection: Connection, manifest: Manifest, author: Author) -> str | Candidate:
    """A cherry-pick as a candidate: the snapshot where somebody made it before, else what this author would make."""
    if connection.execute(select(snapshots.c.id).where(snapshots.c.id == manifest.id)).first() is not None:
        return manifest.id
    return Candidate(manifest.id, manifest.model, manifest.content, author.name)


def _land_on_alias(
    connection: Connection, lease_owner: str, alias: str, landing: NewEdit, override: bool
) -> tuple[Snapshot, AliasMove] | None:
    """Lands a cherry-pick and moves the alias to it; None where the alias moved in between."""
    manifest = landing.manifest
    lock_model(connection, manifest.model)
    if pointed_at(connection, manifest.model, alias) != manifest.parent:
        return None
    # The same cherry-pick may be kept: made for another alias, or as the edit that brought the version in.
    known = connection.execute(select_snapshots().where(snapshots.c.id == manifest.id)).first()
    if known is None or known.expired_at is not None:
        land(connection, lease_owner, landing)
    failpoint("cherry_pick.landed")
    admission.admit(
        connection,
        manifest.model,
        alias,
        manifest.id,
        manifest.parent,
        author=landing.author,
        override=override,
    )
    move = move_alias(connection, manifest.model, alias, manifest.parent, manifest.id, landing.author)
    return snapshot_by_id(connection, manifest.id), move


def move_alias(
    connection: Connection, model: str, alias: str, source: str | None, target: str, author: Author
) -> AliasMove:
    """Moves an alias that may move, under the model's lock, and records it; the update names what it pointed to.

    source: where it points now, None where it is new.  Raises AliasConflict where it points elsewhere.
    """
    at = time.time()
    failpoint("promote.locked")
    row = {"model": model, "name": alias, "snapshot": target, "moved_at": at}
    if source is None:
        connection.execute(insert(aliases).values(row))
    else:
        mine = (aliases.c.model == model, aliases.c.name == alias, aliases.c.snapshot == source)
        if connection.execute(update(aliases).where(*mine).values(snapshot=target, moved_at=at)).rowcount != 1:
            served = pointed_at(connection, model, alias)
            raise AliasConflict(
                f"Expected alias {alias!r} at {source}, found it at {served}; retry", source, served
            )
    failpoint("promote.alias_moved")
    fields = {
        "model": model,
        "alias": alias,
        "source": source,
        "target": target,
        "actor": author.name,
        "reason": author.reason,
    }
    logged = fields | {"at": at}
    number = connection.execute(insert(alias_moves).values(logged).returning(alias_moves.c.id)).scalar_one()
    failpoint("promote.logged")
    audit.append(
        connection,
        author=author,
        action=AuditAction.PROMOTE,
        model=model,
        subject=f"alias:{alias}",
        source=source,
        target=target,
        at=at,
        rows={"alias_moves": [logged | {"id": number}]},
    )
    failpoint("promote.audited")
    payload = {
        "alias": alias,
        "from": source,
        "to": target,
        "actor": author.name,
        "reason": author.reason,
        "at": at,
    }
    outbox.enqueue(connection, model, ALIAS_MOVED, payload)
    failpoint("promote.enqueued")
    return AliasMove(number, model, alias, source, target, author.name, author.reason, at)
