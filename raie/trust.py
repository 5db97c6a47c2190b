"""Who did what, and whose signatures count: the audit chain, keys and signatures.

What signs needs a library that takes long to import, so it is imported by the calls that use a key file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from raie.actor import actor
from raie.chain_head import publish_chain_head, publishes_chain_head
from raie.extras import require
from raie.key_files import Ask, new_passphrase, public_path, read_file, read_signer, write_pair
from raie.newest import NEWEST, newest
from raie.output_files import whole_file
from raie.registry import AuditEvent, Author, Registry, audit, trust
from raie.registry.db.engine import reading
from raie.registry.maintenance import checkpoints
from raie.registry.promotion.keys import KeyEvent, Signature

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = [
    "AuditLog",
    "ChainCheck",
    "KeyPair",
    "Signed",
    "audit_log",
    "export_audit",
    "generate_key",
    "keys",
    "revoke_key",
    "sign",
    "trust_key",
    "verify_audit",
]


@dataclass(frozen=True)
class KeyPair:
    """A new key and its files; key: the public half, 64 hexadecimal characters."""

    key: str
    private: Path
    public: Path


@dataclass(frozen=True)
class Signed:
    """A signature of a snapshot; trusted_as: the name of its key, None where nobody trusts that key."""

    signature: Signature
    trusted_as: str | None


@dataclass(frozen=True)
class AuditLog:
    """The newest audit events of every model, newest first; more: whether there are older ones."""

    events: tuple[AuditEvent, ...]
    more: bool


@dataclass(frozen=True)
class ChainCheck:
    """What a verification of the audit chain came to.

    Attributes:
        report: The number of events, the chain head as `number:hash`, and each problem in one line.
        in_store: How many earlier chain heads the store keeps.
        in_mlflow: How many MLflow shows; None where it was not asked.
    """

    report: audit.ChainReport
    in_store: int
    in_mlflow: int | None

    @property
    def ok(self) -> bool:
        """Whether the chain is whole and holds every chain head that was kept elsewhere."""
        return not self.report.problems


def generate_key(file: Path, ask: Ask, *, encrypted: bool = True) -> KeyPair:
    """Make an ed25519 key pair: a file for its owner, and one with .pub behind its name for everybody else.

    Args:
        file: The private key's file, which must not be there yet.
        ask: Gives the passphrase where RAIE_SIGNING_PASSPHRASE does not.
        encrypted: Whether the private key is encrypted with a passphrase.

    Returns:
        The key and both files. Nothing trusts the key yet.

    Raises:
        RaieError: A file of that name is there, or nobody could be asked for a passphrase.
    """
    from raie.registry.promotion import signing

    passphrase = new_passphrase(ask) if encrypted else None
    signer = signing.generate()
    write_pair(file, signing.private_pem(signer, passphrase), signing.public_pem(signer))
    return KeyPair(signer.key, file, public_path(file))


@publishes_chain_head
def trust_key(workspace: Workspace, file: Path, name: str, *, reason: str = "") -> KeyEvent:
    """Trust a public key: its signatures count for the workspace's model from now on.

    Args:
        workspace: Whose model it is.
        file: The public key, PEM.
        name: What the key is called here.
        reason: Why; it stays in the audit log.

    Returns:
        The event that is recorded.

    Raises:
        InvalidValue: The file holds no such key, or the name or the key is taken.
        NotFound: There is no such model.
    """
    from raie.registry.promotion import signing

    key = signing.read_public(read_file(file))
    return trust.trust_key(workspace.registry(), workspace.model, key, name, author=Author(actor(), reason))


@publishes_chain_head
def revoke_key(workspace: Workspace, key: str, *, reason: str = "") -> KeyEvent:
    """End the trust in a key; none of its signatures counts any more, whenever it was made.

    Args:
        workspace: Whose model it is.
        key: The key's name, or its first characters.
        reason: Why; it stays in the audit log.

    Returns:
        The event that is recorded.

    Raises:
        NotFound: There is no such key.
        InvalidValue: The characters are those of several keys.
    """
    return trust.revoke_key(workspace.registry(), workspace.model, key, author=Author(actor(), reason))


def keys(workspace: Workspace) -> tuple[KeyEvent, ...]:
    """The newest event of every key that is or was trusted; none before the model's first snapshot.

    Args:
        workspace: Whose model it is.

    Returns:
        One event for each key.
    """
    registry = workspace.registry()
    return tuple(trust.keys(registry, workspace.model)) if registry.models() else ()


@publishes_chain_head
def sign(workspace: Workspace, ref: str, key: Path | None, ask: Ask, *, reason: str = "") -> Signed:
    """Sign a snapshot; its id is the sha256 of its content, so the signature covers every byte.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3", a snapshot's id or its first characters.
        key: The private key's file, PEM.
        ask: Gives the passphrase of an encrypted key where RAIE_SIGNING_PASSPHRASE does not.
        reason: Why; it stays in the audit log.

    Returns:
        The signature, which the registry keeps.

    Raises:
        UsageError: No key is named.
        InvalidValue: The file holds no such key, or the passphrase is another one.
        NotFound: There is no such snapshot.
    """
    signer = read_signer(key, ask)
    registry = workspace.registry()
    signature = trust.sign(registry, workspace.model, ref, signer, author=Author(actor(), reason))
    names = {event.key: event.name for event in trust.keys(registry, workspace.model) if event.trusted}
    return Signed(signature, names.get(signature.key))


def verify_audit(workspace: Workspace, *, checkpoint: str | None = None, mlflow: bool = False) -> ChainCheck:
    """Recompute the audit chain and compare it with the chain heads that were kept elsewhere.

    Args:
        workspace: Whose registry it is.
        checkpoint: A chain head that the caller kept, `number:hash`, as an earlier verification returned it.
        mlflow: Also compare with the chain heads that MLflow shows.

    Returns:
        What was compared, and each problem. A whole chain's head is kept in the store.

    Raises:
        InvalidValue: The checkpoint is no whole chain head.
        MlflowUnreachable, StoreUnreachable, DatabaseUnreachable: There is no answer.
    """
    registry = workspace.registry()
    given = [] if checkpoint is None else [audit.parse_checkpoint(checkpoint)]
    stored = checkpoints.published(registry)
    shown = _shown_in_mlflow(workspace, registry) if mlflow else []
    with reading(registry.engine) as connection:
        report = audit.verify_chain(connection, [*given, *stored, *shown])
    result = ChainCheck(report, len(stored), len(shown) if mlflow else None)
    if result.ok:
        publish_chain_head(workspace)
    return result


def _shown_in_mlflow(workspace: Workspace, registry: Registry) -> list[audit.Checkpoint]:
    from raie.registry.mlflow.checkpoints import published_in_mlflow

    require("mlflow")
    return published_in_mlflow(workspace.tracking_uri, registry.models())


def audit_log(workspace: Workspace, *, limit: int = NEWEST) -> AuditLog:
    """The audit events of every model, newest first.

    Args:
        workspace: Whose registry it is.
        limit: How many events to return.

    Returns:
        The events.
    """
    with reading(workspace.registry().engine) as connection:
        events = audit.newest(connection, limit + 1)
    return AuditLog(*newest(events, limit))


def export_audit(workspace: Workspace, file: Path | BinaryIO, *, since: int = 0, replace: bool = False) -> int:
    """Write the audit events as JSON lines, oldest first.

    Each line is one event in canonical JSON with its hash and the one before it, so anybody can verify the chain
    without the database.

    Args:
        workspace: Whose registry it is.
        file: A file, which is written whole or not at all, or a binary stream.
        since: Only the events after this number.
        replace: Whether a file that is there may be written over.

    Returns:
        The number of events.

    Raises:
        RaieError: The file is there and may not be written over, or is a link or a device.
    """
    with reading(workspace.registry().engine) as connection:
        lines = (audit.line_of(event) + b"\n" for event in audit.events(connection, after=since))
        if not isinstance(file, Path):
            return _write(file, lines)
        with whole_file(file, replace=replace) as stream:
            return _write(stream, lines)


def _write(stream: BinaryIO, lines: Iterable[bytes]) -> int:
    count = 0
    for line in lines:
        stream.write(line)
        count += 1
    stream.flush()
    return count
