"""What an edit's event does not say and MLflow shows: the rows it took, what it trained with, and how large it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import Engine, select

from raie.registry.db.engine import chunked, reading
from raie.registry.db.tables import blobs
from raie.registry.events.openlineage import DataRange
from raie.registry.outbox_records import OutboxEvent

__all__ = ["EditFacts", "FactsOf", "blob_sizes", "no_facts"]


@dataclass(frozen=True)
class EditFacts:
    """What is known of an edit beside its event.

    data: the rows of its log that it took, None where that is not known.  params: what it trained with, by the names that
    MLflow's runs are filtered by.
    """

    data: DataRange | None = None
    params: Mapping[str, str | int | float] = field(default_factory=dict)


FactsOf: TypeAlias = Callable[[OutboxEvent], EditFacts]


def no_facts(event: OutboxEvent) -> EditFacts:
    """Of an edit of which nobody knows more than its event says."""
    return EditFacts()


def blob_sizes(engine: Engine, digests: Iterable[str]) -> dict[str, int]:
    """Digest -> size in bytes of the blobs that the registry knows; one that was deleted is absent."""
    sizes: dict[str, int] = {}
    with reading(engine) as connection:
        for part in chunked(sorted(set(digests))):
            query = select(blobs.c.digest, blobs.c.size).where(blobs.c.digest.in_(part))
            sizes |= {row.digest: row.size for row in connection.execute(query)}
    return sizes
