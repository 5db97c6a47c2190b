"""A refused promotion changes nothing and leaves an event in the outbox, so that others learn of it.

The refusal is the answer to whoever asked: it is raised whether or not the event can be written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine

from raie.registry import outbox
from raie.registry.author import Author
from raie.registry.db.engine import write
from raie.registry.db.queries import lock_model
from raie.registry.errors import PromotionRefused, RegistryError
from raie.registry.outbox_records import PROMOTION_REFUSED

__all__ = ["recorded"]


@contextmanager
def recorded(engine: Engine, model: str, alias: str, author: Author) -> Iterator[None]:
    """Adds an event to the outbox where the block raises PromotionRefused, which goes on to the caller.

    Args:
        engine: of the registry's database; the refused transaction is over by then.
        model: the model's name.
        alias: the alias that did not move.
        author: who wanted to move it, and why.
    Raises: whatever the block raises.
    """
    try:
        yield
    except PromotionRefused as refusal:
        # A role that may only look, or a database that went away, must not hide the refusal.
        with suppress(RegistryError):
            _record(engine, model, alias, author, refusal)
        raise


def _record(engine: Engine, model: str, alias: str, author: Author, refusal: PromotionRefused) -> None:
    payload = {
        "alias": alias,
        "from": refusal.source,
        "to": refusal.target,
        "actor": author.name,
        "reason": author.reason,
        "at": time.time(),
        "violations": list(refusal.violations),
    }

    def step(connection: Connection) -> None:
        # A model's events are numbered in the order of their commits only under its lock.
        lock_model(connection, model)
        outbox.enqueue(connection, model, PROMOTION_REFUSED, payload)

    write(engine, step)
