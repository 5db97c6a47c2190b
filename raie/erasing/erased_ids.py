"""Which ids of a log were erased: their rows are left out, so that no log brings an erased user back.

The history keeps a keyed hash of each, so the key is needed to recognise an id.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from raie.erasing.keyed_hash import KEY, key_id, keyed_hash, read_key
from raie.errors import UsageError
from raie.registry import Edit, Registry
from raie.registry.states import EditKind, EditState

__all__ = ["erased_ids", "erasures_of", "new_erased_ids", "require_same_key"]


def erasures_of(registry: Registry, model: str) -> list[Edit]:
    """The committed erasures of a model, newest first."""
    return [
        edit for edit in registry.edits(model) if edit.kind == EditKind.ERASE and edit.state == EditState.COMMITTED
    ]


def require_same_key(erasures: Sequence[Edit], key: bytes) -> None:
    """Refuse a key that no hash of these erasures was made with.

    Raises:
        UsageError: It is another key.
    """
    if erasures and key_id(key) not in {edit.parameters.get("key") for edit in erasures}:
        raise UsageError(
            f"expected the key of edit {erasures[0].number}, which erased a user, found another one: name that key's "
            f"file with --key or in {KEY}"
        )


def erased_ids(registry: Registry, model: str, users: Sequence[str], key: bytes) -> frozenset[str]:
    """Those of some ids that were erased.

    Args:
        registry: Of the model.
        model: Its name.
        users: Ids that the model does not know.
        key: Of its erasures.

    Raises:
        UsageError: It is another key.
    """
    erasures = erasures_of(registry, model)
    require_same_key(erasures, key)
    hashes = {edit.parameters.get("user") for edit in erasures}
    return frozenset(user for user in users if keyed_hash(key, model, user) in hashes) if hashes else frozenset()


def new_erased_ids(registry: Registry, model: str, users: Sequence[str]) -> frozenset[str]:
    """The same with the key that the environment names, which is asked for only where it is needed.

    Args:
        registry: Of the model.
        model: Its name.
        users: Ids that the model does not know.

    Raises:
        UsageError: The model has erasures, and no key says whom they erased.
    """
    if not users or not erasures_of(registry, model):
        return frozenset()
    named = os.environ.get(KEY)
    if not named:
        raise UsageError(
            f"expected the key of this model's erasures in {KEY}, found none: without it nobody knows whether the "
            f"{len(users):,} new users of this log were erased; name the key's file there, and their rows are left out"
        )
    return erased_ids(registry, model, users, read_key(Path(named)))
