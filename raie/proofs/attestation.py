"""An attestation of a snapshot: an in-toto statement, signed with a key of the registry's own kind.

Its subjects are the snapshot's manifest and blobs by their sha256. Its predicate says which edit made it, by whom, from
which data, what the edit measured, and what the audit records of it: evaluations, approvals, promotions. The same
snapshot with the same events gives the same bytes for the same key.

Source: in-toto Attestation Framework, Statement v1, in a DSSE envelope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.edits.edit_records import edit_reference
from raie.key_files import Ask, read_signer
from raie.proofs.data_used import DataOfEdit, data_of_edits, learned_from
from raie.proofs.envelope import read_envelope, seal
from raie.proofs.model_card import performance_metrics
from raie.proofs.snapshot_parts import named_digests
from raie.registry import AuditEvent, InvalidValue, Registry, Snapshot, Untrusted, audit, lineage, trust
from raie.registry.canonical import canonical_json, parse_json
from raie.registry.db.engine import reading
from raie.registry.times import utc_text
from raie.registry.values import Digest, check_digest

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["PAYLOAD_TYPE", "PREDICATE_TYPE", "STATEMENT_TYPE", "Verified", "attestation", "verify_attestation"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:raie:attestation:snapshot:1"


@dataclass(frozen=True)
class Verified:
    """What an attestation came to whose signature is valid.

    Attributes:
        signed_by: The names of the trusted keys that signed it, sorted.
        blobs: How many the statement names.
        problems: In one line each, what does not hold of its blobs.
    """

    model: str
    snapshot: str
    edit: int
    signed_by: tuple[str, ...]
    blobs: int
    problems: tuple[str, ...]


def attestation(workspace: Workspace, ref: str, key: Path | None, ask: Ask) -> bytes:
    """A signed attestation of a snapshot; nothing is recorded.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3" or 3, a snapshot's id or its first characters.
        key: The private key's file, PEM.
        ask: Gives the passphrase of an encrypted key where RAIE_SIGNING_PASSPHRASE does not.

    Returns:
        A DSSE envelope in JSON.

    Raises:
        UsageError: No key is named.
        InvalidValue: The file holds no such key, or the passphrase is another one.
        NotFound: There is no such snapshot.
        StoreUnreachable: The store does not answer.
    """
    signer = read_signer(key, ask)
    registry = workspace.registry()
    snapshot = lineage.find(registry, workspace.model, edit_reference(ref))
    return seal(PAYLOAD_TYPE, canonical_json(_statement(registry, snapshot)), signer)


def _statement(registry: Registry, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in _subjects(snapshot).items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(registry, snapshot),
    }


def _subjects(snapshot: Snapshot) -> dict[str, str]:
    """The snapshot's id is the sha256 of its manifest."""
    return {"manifest": snapshot.id, **named_digests(snapshot.content)}


def _predicate(registry: Registry, snapshot: Snapshot) -> dict[str, Any]:
    model, edit = snapshot.model, registry.edit(snapshot.model, snapshot.edit)
    learned = learned_from(registry, [snapshot])[snapshot.id]
    data = data_of_edits(registry, model, (n for n in learned.edits if n not in learned.rolled_back))
    with reading(registry.engine) as connection:
        events = audit.of_snapshot(connection, model, snapshot.id)
    return {
        "model": model,
        "snapshot": snapshot.id,
        "parent": snapshot.parent,
        "edit": {
            "number": edit.number,
            "kind": edit.kind,
            "actor": edit.actor,
            "reason": edit.reason,
            "dataDigest": edit.data_digest,
            "committed": utc_text(snapshot.created_at),
        },
        "data": [_data(known) for known in data],
        "evaluation": performance_metrics(edit),
        "audit": [_event(event) for event in events],
    }


def _data(data: DataOfEdit) -> dict[str, Any]:
    value: dict[str, Any] = {"edit": data.edit.number, "digest": {"sha256": data.edit.data_digest}}
    if data.rows is not None:
        after = None if data.rows.after is None else utc_text(data.rows.after)
        value |= {"rows": data.rows.rows, "after": after, "until": utc_text(data.rows.until)}
    return value


def _event(event: AuditEvent) -> dict[str, Any]:
    """A link of the audit chain, which its hash finds in any export of it."""
    shown = ("id", "hash", "action", "subject", "actor", "reason")
    return {name: getattr(event, name) for name in shown} | {"at": utc_text(event.at)}


def verify_attestation(workspace: Workspace, data: bytes) -> Verified:
    """Check an attestation: a trusted key signed it, and the registry and its store have what it names.

    Args:
        workspace: Whose model's keys are trusted.
        data: A DSSE envelope in JSON.

    Returns:
        What it is of, who signed it, and each blob that the store does not have as it says.

    Raises:
        InvalidValue: It is no attestation, or one of another model.
        Untrusted: No trusted key signed it.
        NotFound: The registry does not know the snapshot.
        StoreUnreachable: The store does not answer.
    """
    envelope, registry = read_envelope(data), workspace.registry()
    trusted = {event.key: event.name for event in trust.keys(registry, workspace.model) if event.trusted}
    signed_by = envelope.signed_by(trusted)
    if not signed_by:
        raise Untrusted(
            f"Expected a signature by one of {len(trusted)} trusted keys of model {workspace.model!r}, found none "
            "that is valid; get it from whoever wrote it, or trust the key: `raie keys list` shows those that are"
        )
    # Only what a trusted key signed is looked at further.
    attested_model, attested_id, subjects = _read_statement(envelope.kind, envelope.payload)
    if attested_model != workspace.model:
        raise InvalidValue(
            f"Expected an attestation of model {workspace.model!r}, found one of {attested_model!r}; "
            "name that one with --model"
        )
    snapshot = lineage.find(registry, workspace.model, attested_id)
    problems = (*_differences(_subjects(snapshot), subjects), *_unreadable(registry, subjects))
    return Verified(workspace.model, snapshot.id, snapshot.edit, signed_by, len(subjects), problems)


def _read_statement(kind: str, payload: bytes) -> tuple[str, str, dict[str, str]]:
    """Model, snapshot, and name -> sha256 of each subject."""
    try:
        if kind != PAYLOAD_TYPE:
            raise ValueError
        value = parse_json(payload)
        if (value["_type"], value["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError
        model, snapshot = value["predicate"]["model"], check_digest(value["predicate"]["snapshot"])
        listed: Sequence[Any] = value["subject"]
        subjects = {str(subject["name"]): str(check_digest(subject["digest"]["sha256"])) for subject in listed}
    except (InvalidValue, KeyError, TypeError, ValueError):
        raise InvalidValue(
            f"Expected an in-toto statement with predicate {PREDICATE_TYPE}, found another signed text; "
            "`raie attest write` makes one"
        ) from None
    return str(model), snapshot, subjects


def _differences(recorded: Mapping[str, str], attested: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*recorded, *attested}):
        if recorded.get(name) != attested.get(name):
            known, said = (str(digests.get(name))[:12] for digests in (recorded, attested))
            yield f"{name}: the registry has {known}, the attestation {said}"


def _unreadable(registry: Registry, subjects: Mapping[str, str]) -> list[str]:
    digests = [Digest(digest) for digest in sorted(set(subjects.values()))]
    return [str(fault) for fault in registry.store.check_all(digests).values()]
