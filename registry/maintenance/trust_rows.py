"""Whether what people did and said is as it was: signatures valid, triggers in force, audit and rows the same.

A row that was put in by hand has no event in the audit's chain, one that was taken away leaves its event behind, and one
that was changed does both. Every problem is one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from raie.registry.db.tables import aliases, signatures
from raie.registry.errors import InvalidValue
from raie.registry.maintenance import record_check, trigger_check
from raie.registry.promotion import keys
from raie.registry.promotion.policy_versions import in_force

__all__ = ["TrustReport", "check"]


@dataclass(frozen=True)
class TrustReport:
    """How many signatures are kept, and what is wrong with them, with any row that the audit records, or a trigger."""

    signatures: int
    problems: tuple[str, ...]


def check(connection: Connection, chain: record_check.Chain | None = None) -> TrustReport:
    """Checks every signature, the audit against the rows in both directions, the triggers, and protected aliases.

    chain: as for `record_check.check`.
    """
    count = connection.execute(select(func.count()).select_from(signatures)).scalar_one()
    problems = (
        *keys.invalid_signatures(connection),
        *record_check.check(connection, chain),
        *trigger_check.check(connection),
        *_unsigned(connection),
    )
    return TrustReport(count, problems)


def _unsigned(connection: Connection) -> Iterator[str]:
    """Aliases that may be loaded only signed, and are not."""
    for row in connection.execute(select(aliases).order_by(aliases.c.model, aliases.c.name)):
        try:
            version = in_force(connection, row.model, row.name)
        except InvalidValue as error:
            yield f"the policy of {row.name!r} of {row.model!r}: {error}"
            continue
        asked = version is not None and version.policy.protected and version.policy.require_signed
        if asked and not keys.signers(connection, row.model, row.snapshot):
            yield f"alias {row.name!r} of {row.model!r} requires a trusted signature, and {row.snapshot} has none"
