"""What people do about trust, each in one transaction: policies, approvals, evaluations, keys and signatures.

The rules are in the modules it calls: policy (the checks), policy_versions, evaluations, approvals, keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raie.registry.author import Author
from raie.registry.db.engine import check_schema, reading, write
from raie.registry.db.queries import (
    kept_snapshot,
    pointed_at,
    require_model,
    require_not_deleted,
    resolve_id,
    snapshot_by_id,
    unknown_alias,
)
from raie.registry.promotion import admission, aliases, approvals, evaluations, policy_versions
from raie.registry.promotion import keys as key_table
from raie.registry.promotion.policy import Evaluation, Policy
from raie.registry.registry import Registry
from raie.registry.values import Snapshot

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from raie.registry.promotion.signing import Signer

__all__ = [
    "approval_counts",
    "approve",
    "keys",
    "look_alikes",
    "newest_evaluation",
    "policies",
    "record_evaluation",
    "rehearse",
    "rehearse_region",
    "revoke_key",
    "servable",
    "served",
    "set_policy",
    "sign",
    "signatures",
    "trust_key",
    "withdraw",
]


def policies(registry: Registry, model: str, alias: str | None = None) -> list[policy_versions.PolicyVersion]:
    """Every version of the policy of one alias, or of all.

    Args:
        registry: of the model.
        model: its name.
        alias: its name; None for all.

    Returns:
        The versions, newest first within each alias.

    Raises:
        NotFound: for a model that is not there.
    """
    with reading(registry.engine) as connection:
        return policy_versions.history(connection, model, alias)


def set_policy(
    registry: Registry, model: str, alias: str, changes: Mapping[str, Any], *, author: Author
) -> policy_versions.PolicyVersion:
    """Changes fields of an alias's policy, making it where there is none.

    Args:
        registry: of the model.
        model: its name.
        alias: its name.
        changes: field of Policy -> value; under "thresholds" `PART:METRIC` -> the least change, None to ask no more.
        author: who does it, and why.

    Returns:
        The version in force then; the one before where nothing changes.

    Raises:
        NotFound: for a model that is not there.
        InvalidValue: for a field or a value that a policy cannot have.
    """
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: policy_versions.amend(c, model, alias, changes, author))


def newest_evaluation(registry: Registry, snapshot: Snapshot, against: Snapshot) -> Evaluation | None:
    """The newest evaluation of one snapshot's content against another's, as a policy would count it.

    Args:
        registry: of the model.
        snapshot: that was measured.
        against: of the same model.

    Returns:
        The evaluation, of an edit or recorded by itself; None where there is none, and where both score the same.

    Raises:
        InvalidValue: for a report of another client that is none.
    """
    with reading(registry.engine) as connection:
        candidate = admission.candidate_of(connection, snapshot.id)
        return evaluations.facts(connection, Policy(), "", candidate, against).evaluation


def rehearse(
    registry: Registry, model: str, ref: str, alias: str, expected: str | None = None
) -> aliases.Rehearsal:
    """What a promotion would do, with every check; changes nothing.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        alias: its name.
        expected: as for `Registry.promote`.

    Returns:
        From where to where the alias would move, and the checks.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        InvalidValue: for a name that no alias may have.
        AliasConflict: where the alias points elsewhere than expected.
    """
    with reading(registry.engine) as connection:
        return aliases.rehearse(connection, model, ref, alias, expected)


def rehearse_region(
    registry: Registry, model: str, region: int, version: int, alias: str, *, author: Author
) -> aliases.Rehearsal:
    """What a promotion of one version of one region would do; changes nothing.

    Args:
        registry: of the model.
        model: its name.
        region: its id.
        version: of the region, counted from 1.
        alias: its name.
        author: who does it, and why.

    Returns:
        From where to where the alias would move, and the checks.

    Raises:
        NotFound: for a version or an alias that is not there.
        IncompatibleRegions: for a version of another space or catalogue.
    """
    with reading(registry.engine) as connection:
        return aliases.rehearse_region(connection, model, region, version, alias, author)


def approve(registry: Registry, model: str, ref: str, alias: str, *, author: Author) -> approvals.Approval:
    """Keeps somebody's word that an alias may move to a snapshot.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        alias: its name.
        author: who approves, and why; the reason is required.

    Returns:
        The approval; the one that stands where this person gave it before.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        InvalidValue: without a reason.
    """
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: approvals.approve(c, model, ref, alias, author))


def withdraw(registry: Registry, model: str, ref: str, alias: str, *, author: Author) -> approvals.Approval:
    """Takes one's own approval back, which stays on record.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        alias: its name.
        author: who withdraws, and why; the reason is required.

    Returns:
        The withdrawal.

    Raises:
        NotFound: for an approval that this person never gave.
        InvalidValue: without a reason.
    """
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: approvals.withdraw(c, model, ref, alias, author))


def look_alikes(registry: Registry, approval: approvals.Approval) -> list[str]:
    """The names of authors and other approvers that a reader could take for the approver's own.

    Args:
        registry: of the model.
        approval: whose approver is compared.

    Returns:
        The names, sorted.
    """
    with reading(registry.engine) as connection:
        return aliases.look_alikes(connection, approval)


def approval_counts(registry: Registry, approval: approvals.Approval) -> bool | None:
    """Whether an approval is one by a second person, as the alias's policy asks.

    Args:
        registry: of the model.
        approval: that is asked about.

    Returns:
        Whether it counts; None where no policy asks.
    """
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
    """Keeps a newer evaluation of a snapshot against another.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        against: the other snapshot, as `Registry.resolve` takes it.
        report: an impact report of version 1 or 2.
        author: who does it, and why.

    Returns:
        The evaluation with its number.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        InvalidValue: for what is no impact report.
    """
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: evaluations.record(c, model, ref, against, report, author))


def keys(registry: Registry, model: str) -> list[key_table.KeyEvent]:
    """The newest decision on every key that the model ever trusted.

    Args:
        registry: of the model.
        model: its name.

    Returns:
        One event for each key, in the order in which they were made.

    Raises:
        NotFound: for a model that is not there.
    """
    with reading(registry.engine) as connection:
        return key_table.keys(connection, model)


def trust_key(registry: Registry, model: str, key: str, name: str, *, author: Author) -> key_table.KeyEvent:
    """Trusts a public key under a name.

    Args:
        registry: of the model.
        model: its name.
        key: 32 bytes as 64 hexadecimal characters.
        name: of the key, which no other trusted key has.
        author: who does it, and why.

    Returns:
        The event; the one that stands where the key is trusted so already.

    Raises:
        NotFound: for a model that is not there.
        InvalidValue: for a name that another trusted key has.
    """
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: key_table.trust(c, model, key, name, author))


def revoke_key(registry: Registry, model: str, name: str, *, author: Author) -> key_table.KeyEvent:
    """Ends the trust in a key.

    Args:
        registry: of the model.
        model: its name.
        name: of the key, or its first 4 or more characters.
        author: who does it, and why.

    Returns:
        The event; the one that stands where the key is revoked already.

    Raises:
        NotFound: for a key that is not there.
        InvalidValue: where several keys begin so.
    """
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: key_table.revoke(c, model, name, author))


def sign(registry: Registry, model: str, ref: str, signer: Signer, *, author: Author) -> key_table.Signature:
    """Signs a snapshot whose manifest is whole, and keeps the signature.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        signer: the private key.
        author: who does it, and why.

    Returns:
        The signature.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        BlobCorrupt: where the manifest was changed.
    """
    with reading(registry.engine) as connection:
        snapshot = snapshot_by_id(connection, resolve_id(connection, model, ref)).id
    signature = signer.sign(model, snapshot)
    registry.require_writable(store_needed=False)
    return write(registry.engine, lambda c: key_table.attach(c, model, snapshot, signer.key, signature, author))


def signatures(registry: Registry, model: str, ref: str) -> list[key_table.Signature]:
    """Every signature of a snapshot that is kept.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.

    Returns:
        The signatures, oldest first; whether they count is not asked.

    Raises:
        NotFound: for a model or a snapshot that is not there.
    """
    with reading(registry.engine) as connection:
        return key_table.signatures_of(connection, model, resolve_id(connection, model, ref))


def servable(registry: Registry, model: str, snapshot: str) -> Snapshot:
    """The snapshot of an id that a server was given.

    Args:
        registry: of the model.
        model: its name.
        snapshot: its id.

    Returns:
        The snapshot.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        Untrusted: where the model has protected aliases and none of them admitted it, or where one requires a trusted
            signature, and it has none.
    """
    with reading(registry.engine) as connection:
        servable_snapshot = snapshot_by_id(connection, resolve_id(connection, model, snapshot))
        admission.admit_serving(connection, model, servable_snapshot.id)
        return servable_snapshot


def served(registry: Registry, model: str, alias: str) -> Snapshot:
    """The snapshot that an alias points to, for a server that follows the alias.

    Args:
        registry: of the model.
        model: its name.
        alias: its name, and nothing else that names a snapshot.

    Returns:
        The snapshot, whose blobs are kept.

    Raises:
        NotFound: for a model or an alias that is not there.
        AliasDeleted: for one that somebody deleted.
        SnapshotExpired: for one whose blobs may be gone.
        Untrusted: for a protected alias that was moved by hand, or lacks the signature that its policy requires.
        SchemaMismatch: for a database that was upgraded since the server started.
    """

    def snapshot_of_alias(connection: Connection) -> Snapshot:
        require_model(connection, model)
        snapshot = pointed_at(connection, model, alias)
        if snapshot is None:
            require_not_deleted(connection, model, alias)
            advice = "`raie alias list` shows those there are, and `raie promote REF --to ALIAS` makes one"
            raise unknown_alias(connection, model, alias, advice)
        admission.admit_load(connection, model, alias, snapshot)
        return kept_snapshot(connection, snapshot)

    # With the check, because connecting to an SQLite file that was taken away would make an empty one.
    return check_schema(registry.engine, snapshot_of_alias)
