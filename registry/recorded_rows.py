"""Which rows an audit event stands for, and the one form in which their digest enters the event's hash.

    event                       rows
    begin                       the edit as it begins; the model too where it is a setup
    commit, rollback, compose   the edit as it is closed, its operations, the region versions and the snapshot it added
    abort                       the edit as it is closed
    promote, delete alias       the alias move
    policy                      the version of the policy
    evaluate                    the evaluation
    approve, withdraw           the approval, or what followed on it
    trust key, revoke key       the word on the key
    sign                        the signature
    note, tag, untag            the annotation
    import edit                 the edit as it was closed elsewhere, and what it added; the model too where this made it
    import evaluation           the evaluation as it was recorded elsewhere

Heads, aliases, numbers of edits and expired snapshots need no digest: the events themselves say what they must be.
Leases, the outbox, blobs and the parts of a running edit change by design, and are in no digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raie.registry.canonical import canonical_json
from raie.registry.states import AuditAction, EditKind
from raie.registry.values import Edit, digest_of

__all__ = [
    "ACTIONS",
    "COLUMNS",
    "Rows",
    "begun",
    "closed",
    "digest_of_rows",
    "edit_row",
    "event_key",
    "imported",
]

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table -> the rows of it that an event stands for."""

_OPENED = (
    "model",
    "number",
    "kind",
    "base",
    "seed",
    "data_digest",
    "plan_digest",
    "parameters",
    "actor",
    "reason",
    "created_at",
)
_SAID = ("actor", "reason", "at")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "models": ("name", "created_at"),
    "edits": (*_OPENED, "state", "result", "proposal", "report", "closed_at", "close_reason"),
    "operations": ("model", "edit", "position", "region", "action", "version", "windows", "change"),
    "adapter_versions": (
        "model",
        "region",
        "version",
        "entry_digest",
        "entry",
        "edit",
        "snapshot",
        "created_at",
        "change",
    ),
    # The manifest is not among them: the id is its sha256, and every read compares the two.
    "snapshots": ("id", "model", "parent", "edit", "content_digest", "created_at"),
    "alias_moves": ("id", "model", "alias", "source", "target", *_SAID),
    "policies": ("model", "alias", "version", "policy", *_SAID),
    "evaluations": ("id", "model", "snapshot", "content", "against", "against_content", "report", *_SAID),
    "approvals": ("model", "alias", "snapshot", *_SAID),
    "approval_events": ("id", "model", "alias", "snapshot", "action", *_SAID),
    "key_events": ("id", "model", "key", "action", "name", *_SAID),
    "signatures": ("model", "snapshot", "key", "signature", *_SAID),
    "snapshot_notes": ("id", "model", "snapshot", "action", "tag", *_SAID),
}
"""The columns of each table that are in a digest. One that is null is left out, so a new one changes no old digest."""

_LANDED = ("target", "actor", "reason", "at")
ACTIONS: Mapping[str, tuple[str, ...]] = {
    AuditAction.BEGIN: ("source", "actor", "reason"),
    AuditAction.COMMIT: _LANDED,
    AuditAction.ROLLBACK: _LANDED,
    AuditAction.CHERRY_PICK: _LANDED,
    AuditAction.ABORT: ("reason",),
    AuditAction.PROMOTE: ("source", *_LANDED),
    AuditAction.DELETE_ALIAS: ("source", *_LANDED),
    AuditAction.POLICY: _LANDED,
    AuditAction.EVALUATE: ("source", *_LANDED),
    AuditAction.APPROVE: _LANDED,
    AuditAction.WITHDRAW: _LANDED,
    AuditAction.TRUST_KEY: _LANDED,
    AuditAction.REVOKE_KEY: _LANDED,
    AuditAction.SIGN: _LANDED,
    AuditAction.NOTE: _LANDED,
    AuditAction.TAG: _LANDED,
    AuditAction.UNTAG: _LANDED,
    # Who imports is not who did it, and does it later.
    AuditAction.IMPORT_EDIT: ("target",),
    AuditAction.IMPORT_EVALUATION: ("target",),
}
"""The actions of events that stand for rows, each with those fields of the event that the rows say as well.

An older event has no digest, and nothing but these fields ties its rows to it.
"""


def digest_of_rows(rows: Rows) -> str:
    """The sha256 of the canonical JSON of an object: table -> list of rows, each an object of its columns."""
    value = {table: [_form(table, row) for row in table_rows] for table, table_rows in rows.items() if table_rows}
    return digest_of(canonical_json(value))


def _form(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: row[column] for column in COLUMNS[table] if row.get(column) is not None}


def begun(edit: Mapping[str, Any], model: Iterable[Mapping[str, Any]]) -> Rows:
    """The rows of a begin; model: the model's row where the edit is a setup, for that made it."""
    return {
        "edits": [{column: edit[column] for column in _OPENED}],
        "models": [*model] if edit["kind"] == EditKind.SETUP else [],
    }


def closed(
    edit: Mapping[str, Any],
    operations: Sequence[Mapping[str, Any]] = (),
    versions: Sequence[Mapping[str, Any]] = (),
    snapshots: Sequence[Mapping[str, Any]] = (),
) -> Rows:
    """The rows of an edit's end; operations by position, versions by region, no snapshot where it was there before."""
    return {"edits": [edit], "operations": operations, "adapter_versions": versions, "snapshots": snapshots}


def imported(
    edit: Mapping[str, Any],
    operations: Sequence[Mapping[str, Any]],
    versions: Sequence[Mapping[str, Any]],
    snapshots: Sequence[Mapping[str, Any]],
    model: Iterable[Mapping[str, Any]],
) -> Rows:
    """The rows of an edit that came from another registry; model: the model's row where the edit is a setup."""
    made = [*model] if edit["kind"] == EditKind.SETUP else []
    return {**closed(edit, operations, versions, snapshots), "models": made}


def edit_row(edit: Edit, **changes: Any) -> dict[str, Any]:
    """The row of an edit, with these columns changed: what it is when it is closed."""
    texts = {"parameters": _text(edit.parameters), "report": _text(edit.report)}
    return vars(edit) | texts | changes


def _text(value: Mapping[str, Any]) -> str:
    return canonical_json(dict(value)).decode()


def event_key(event: Mapping[str, Any], digest: str | None) -> bytes:
    """What ties rows to their event, short: equal for an event and for the rows that it stands for.

    event: the event's fields, or what the rows say that they are.  digest: of the rows; None for an older event.
    """
    fields = [event[name] for name in ("action", "model", "subject", *ACTIONS[event["action"]])]
    return bytes.fromhex(digest_of(canonical_json([*fields, digest])))
