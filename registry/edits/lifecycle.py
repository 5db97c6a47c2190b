"""An edit while it runs: begun with a lease, its finished steps recorded, resumed by another process, or aborted.

A process holds the lease as host:pid:token and renews it by a heartbeat. When the lease is over, or the process is
gone from this machine, the edit is shown as abandoned and another process may take the lease: the first one's
commit is then refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.canonical import parse_json
from raie.registry.db.engine import upsert
from raie.registry.db.queries import (
    edit_by_number,
    head_id,
    kept_snapshot,
    lock_model,
    require_model,
    text_of,
)
from raie.registry.db.tables import edit_checkpoints, edits, models
from raie.registry.errors import CommitConflict, EditStateError, InvalidValue, LeaseLost
from raie.registry.failpoints import failpoint
from raie.registry.leases import EDIT_LEASE_S
from raie.registry.recorded_rows import begun, closed, edit_row
from raie.registry.states import AuditAction, EditKind, EditState
from raie.registry.values import Edit, check_digest, check_name

__all__ = [
    "abort",
    "begin",
    "checkpoints",
    "heartbeat",
    "insert_edit",
    "record_checkpoint",
    "require_lease",
    "resume",
]

_AT_ONCE = (EditKind.ROLLBACK, EditKind.CHERRY_PICK)
_KINDS = tuple(kind for kind in EditKind if kind not in _AT_ONCE)


def begin(
    connection: Connection,
    lease_owner: str,
    model: str,
    kind: str,
    *,
    seed: int,
    data_digest: str | None,
    plan_digest: str | None,
    parameters: Mapping[str, Any],
    author: Author,
    base: str | None,
) -> Edit:
    """Inserts a running edit with a lease; a setup makes the model.

    base: the snapshot the edit was planned on; None takes the head. Raises InvalidValue, NotFound, EditStateError
    for a second setup, SnapshotExpired for a base whose blobs may be gone, and CommitConflict for a base of another
    model.
    """
    if kind not in _KINDS:
        raise InvalidValue(f"Expected an edit of kind {', '.join(_KINDS)}, found {kind!r}")
    if kind == EditKind.SETUP:
        _make_model(connection, model)
    lock_model(connection, model)
    head = head_id(connection, model)
    _require_start(model, kind, head)
    if base is not None and (head is None or kept_snapshot(connection, base).model != model):
        raise CommitConflict(f"Expected a base of model {model!r}, found snapshot {base} of another", base, head)
    failpoint("begin.locked")
    number = insert_edit(
        connection,
        model,
        kind=kind,
        base=base or head,
        seed=seed,
        data_digest=data_digest,
        plan_digest=plan_digest,
        parameters=parameters,
        author=author,
        lease_owner=lease_owner,
    )
    failpoint("begin.inserted")
    edit = edit_by_number(connection, model, number)
    made = select(models).where(models.c.name == model)
    rows = [dict(row._mapping) for row in connection.execute(made)] if kind == EditKind.SETUP else []
    audit.append(
        connection,
        author=author,
        action=AuditAction.BEGIN,
        model=model,
        subject=f"edit:{number}",
        source=base or head,
        rows=begun(edit_row(edit), rows),
    )
    failpoint("begin.audited")
    return edit


def _require_start(model: str, kind: str, head: str | None) -> None:
    """Raises EditStateError unless a setup is the model's first edit, and every other one comes after it."""
    if kind == EditKind.SETUP and head is not None:
        raise EditStateError(
            f"Expected no snapshot of model {model!r} before its setup, found head {head}; edit that one, or name "
            "another model for a new setup"
        )
    if kind != EditKind.SETUP and head is None:
        raise EditStateError(f"Expected a setup of model {model!r} before an edit, found none; set it up first")


def insert_edit(
    connection: Connection,
    model: str,
    *,
    kind: str,
    base: str | None,
    parameters: Mapping[str, Any],
    author: Author,
    lease_owner: str,
    seed: int = 0,
    data_digest: str | None = None,
    plan_digest: str | None = None,
) -> int:
    """Inserts a running edit under the model's next number, which it returns; the model's row must be locked."""
    now = time.time()
    counted = update(models).where(models.c.name == model).values(last_edit=models.c.last_edit + 1)
    number = int(connection.execute(counted.returning(models.c.last_edit)).scalar_one())
    row = {
        "model": model,
        "number": number,
        "kind": kind,
        "state": EditState.RUNNING,
        "base": base,
        "seed": seed,
        "data_digest": None if data_digest is None else check_digest(data_digest),
        "plan_digest": None if plan_digest is None else check_digest(plan_digest),
        "parameters": text_of(dict(parameters)),
        "report": "{}",
        "actor": author.name,
        "reason": author.reason,
        "created_at": now,
        "lease_owner": lease_owner,
        "lease_expires_at": now + EDIT_LEASE_S,
    }
    connection.execute(insert(edits).values(row))
    return number


def _make_model(connection: Connection, model: str) -> None:
    check_name(model, "model name")
    row = upsert(connection, models).values(name=model, last_edit=0, created_at=time.time())
    connection.execute(row.on_conflict_do_nothing())


def require_lease(connection: Connection, lease_owner: str, model: str, number: int) -> Edit:
    """The edit, locked; raises EditStateError unless it runs, and LeaseLost unless this lease owner has it."""
    edit = edit_by_number(connection, model, number, lock=True)
    if not edit.is_open:
        why = f": {edit.close_reason}" if edit.close_reason else ""
        raise EditStateError(f"Expected edit {number} of {model!r} to be running, found it {edit.state}{why}")
    if edit.lease_owner != lease_owner:
        raise LeaseLost(
            f"Expected this process to hold the lease of edit {number} of {model!r}, found {edit.lease_owner}; "
            f"`raie edit resume {number}` takes it when that process has stopped"
        )
    return edit


def heartbeat(connection: Connection, lease_owner: str, model: str, number: int) -> None:
    """Renews the lease; raises LeaseLost and EditStateError."""
    require_lease(connection, lease_owner, model, number)
    _lease(connection, lease_owner, model, number)


def resume(
    connection: Connection, lease_owner: str, model: str, number: int, author: Author | None, force: bool
) -> Edit:
    """Takes the lease of an abandoned edit, or with force of a running one; returns the edit.

    Raises LeaseLost while another process works on it, and EditStateError for an edit that is closed.
    """
    edit = _require_abandoned(connection, lease_owner, model, number, force)
    author = Author(edit.actor) if author is None else author
    _lease(connection, lease_owner, model, number)
    failpoint("resume.leased")
    if edit.lease_owner != lease_owner:
        subject = f"edit:{number}"
        audit.append(
            connection,
            author=author,
            action=AuditAction.RESUME,
            model=model,
            subject=subject,
            source=edit.lease_owner,
            target=lease_owner,
        )
    return edit_by_number(connection, model, number)


def abort(
    connection: Connection, lease_owner: str, model: str, number: int, author: Author | None, force: bool
) -> Edit:
    """Closes an edit without a result; one that is aborted already stays as it is.

    Raises LeaseLost while another process works on it, and EditStateError for a committed one.
    """
    edit = edit_by_number(connection, model, number, lock=True)
    author = Author(edit.actor) if author is None else author
    if edit.state == EditState.ABORTED:
        return edit
    _require_abandoned(connection, lease_owner, model, number, force)
    mine = (edits.c.model == model, edits.c.number == number)
    end: dict[str, Any] = {"state": EditState.ABORTED, "closed_at": time.time(), "close_reason": author.reason}
    connection.execute(update(edits).where(*mine).values(end | {"lease_owner": None, "lease_expires_at": None}))
    failpoint("abort.closed")
    rows, subject = closed(edit_row(edit, **end)), f"edit:{number}"
    audit.append(connection, author=author, action=AuditAction.ABORT, model=model, subject=subject, rows=rows)
    return edit_by_number(connection, model, number)


def _require_abandoned(connection: Connection, lease_owner: str, model: str, number: int, force: bool) -> Edit:
    edit = edit_by_number(connection, model, number, lock=True)
    if (force and edit.state == EditState.RUNNING) or edit.state == EditState.ABANDONED:
        return edit
    return require_lease(connection, lease_owner, model, number)


def _lease(connection: Connection, lease_owner: str, model: str, number: int) -> None:
    lease = {"lease_owner": lease_owner, "lease_expires_at": time.time() + EDIT_LEASE_S}
    connection.execute(update(edits).where(edits.c.model == model, edits.c.number == number).values(lease))


def record_checkpoint(
    connection: Connection, lease_owner: str, model: str, number: int, key: str, value: Mapping[str, Any]
) -> None:
    """Records the result of a finished step, replacing an earlier one of the same key, and renews the lease."""
    heartbeat(connection, lease_owner, model, number)
    row = {"value": text_of(dict(value)), "created_at": time.time()}
    row_of = upsert(connection, edit_checkpoints).values(
        model=model, edit=number, key=check_name(key, "checkpoint's key"), **row
    )
    connection.execute(row_of.on_conflict_do_update(index_elements=["model", "edit", "key"], set_=row))
    failpoint("checkpoint.written")


def checkpoints(connection: Connection, model: str, number: int) -> dict[str, Mapping[str, Any]]:
    """The recorded results by key, sorted: a clock that went back would put them in another order."""
    require_model(connection, model)
    mine = (edit_checkpoints.c.model == model, edit_checkpoints.c.edit == number)
    rows = connection.execute(select(edit_checkpoints).where(*mine).order_by(edit_checkpoints.c.key))
    return {row.key: parse_json(row.value) for row in rows}
