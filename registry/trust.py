"""What people do about trust, each in one transaction: policies, approvals, evaluations, keys and signatures.

The rules are in the modules it calls: policy (the checks), policy_versions, evaluations, approvals, keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raie.registry.author import Author
from raie.registry.db.engine import reading, write
from raie.registry.db.queries import resolve_id, snapshot_by_id
from raie.registry.promotion import admission, aliases, approvals, evaluations, policy_versions
from raie.registry.promotion import keys as key_table
from raie.registry.registry import Registry
from raie.registry.values import Snapshot

if TYPE_CHECKING:
    from raie.registry.promotion.signing import Signer

__all__ = [
    "approval_counts",
    "approve",
    "keys",
    "look_alikes",
    "policies",
    "record_evaluation",
    "rehearse",
    "rehearse_region",
    "revoke_key",
    "servable",
    "set_policy",
    "sign",
    "signatures",
    "trust_key",
    "withdraw",
]


def policies(registry: Registry, model: str, alias: str | None = None) -> list[policy_versions.PolicyVersion]:
    """Every version of the policy of one alias, or of all, newest first within each; raises NotFound."""
    with reading(registry.engine) as connection:
        return policy_versions.history(connection, model, alias)


def set_policy(
    registry: Registry, model: str, alias: str, changes: Mapping[str, Any], *, author: Author
) -> policy_versions.PolicyVersion:
    """Changes these fields of an alias's policy, making it where there is none; raises NotFound and InvalidValue."""
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: policy_versions.amend(c, model, alias, changes, author))


def rehearse(
    registry: Registry, model: str, ref: str, alias: str, expected: str | None = None
) -> aliases.Rehearsal:
    """What a promotion would do, with every check; changes nothing.

    expected: as for `Registry.promote`. Raises NotFound, InvalidValue and AliasConflict.
    """
    with reading(registry.engine) as connection:
        return aliases.rehearse(connection, model, ref, alias, expected)


def rehearse_region(
    registry: Registry, model: str, region: int, version: int, alias: str, *, author: Author
) -> aliases.Rehearsal:
    """The same for one version of one region; raises NotFound and IncompatibleRegions."""
    with reading(registry.engine) as connection:
        return aliases.rehearse_region(connection, model, region, version, alias, author)


def approve(registry: Registry, model: str, ref: str, alias: str, *, author: Author) -> approvals.Approval:
    """Keeps somebody's word that an alias may move to a snapshot; raises NotFound and InvalidValue."""
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: approvals.approve(c, model, ref, alias, author))


def withdraw(registry: Registry, model: str, ref: str, alias: str, *, author: Author) -> approvals.Approval:
    """Takes one's own approval back, which stays on record; raises NotFound and InvalidValue."""
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: approvals.withdraw(c, model, ref, alias, author))


def look_alikes(registry: Registry, approval: approvals.Approval) -> list[str]:
    """The names of authors and other approvers that a reader could take for the approver's own, sorted."""
    with reading(registry.engine) as connection:
        return aliases.look_alikes(connection, approval)


def approval_counts(registry: Registry, approval: approvals.Approval) -> bool | None:
    """Whether an approval is one by a second person, as the alias's policy asks; None where it does not ask."""
    with reading(registry.engine) as connection:
        return aliases.approval_counts(connection, approval)


def record_evaluation(
    registry: Registry,
    model: str,
    ref: str,
    against: str,
    report: Mapping[str, Any],
    *,
    author: Author,
) -> evaluations.Recorded:
    """Keeps a newer evaluation of a snapshot against another; raises NotFound and InvalidValue."""
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: evaluations.record(c, model, ref, against, report, author))


def keys(registry: Registry, model: str) -> list[key_table.KeyEvent]:
    """The newest word on every key the model ever trusted; raises NotFound."""
    with reading(registry.engine) as connection:
        return key_table.keys(connection, model)


def trust_key(registry: Registry, model: str, key: str, name: str, *, author: Author) -> key_table.KeyEvent:
    """Trusts a public key under a name; raises NotFound and InvalidValue."""
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: key_table.trust(c, model, key, name, author))


def revoke_key(registry: Registry, model: str, name: str, *, author: Author) -> key_table.KeyEvent:
    """Ends the trust in a key; raises NotFound and InvalidValue."""
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: key_table.revoke(c, model, name, author))


def sign(registry: Registry, model: str, ref: str, signer: Signer, *, author: Author) -> key_table.Signature:
    """Signs a snapshot whose manifest is whole, and keeps the signature; raises NotFound and BlobCorrupt."""
    with reading(registry.engine) as connection:
        snapshot = snapshot_by_id(connection, resolve_id(connection, model, ref)).id
    signature = signer.sign(model, snapshot)
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: key_table.attach(c, model, snapshot, signer.key, signature, author))


def signatures(registry: Registry, model: str, ref: str) -> list[key_table.Signature]:
    """Every signature of a snapshot that is kept; raises NotFound."""
    with reading(registry.engine) as connection:
        return key_table.signatures_of(connection, model, resolve_id(connection, model, ref))


def servable(registry: Registry, model: str, snapshot: str) -> Snapshot:
    """The snapshot of an id that a server was given; raises NotFound, and Untrusted as `admit_serving` does."""
    with reading(registry.engine) as connection:
        servable_snapshot = snapshot_by_id(connection, resolve_id(connection, model, snapshot))
        admission.admit_serving(connection, model, servable_snapshot.id)
        return servable_snapshot
