"""Whether a server does what a store needs of it, tried on three small objects before anything depends on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from raie.registry.errors import StoreError, StoreUnreachable
from raie.registry.store.base import PROBE
from raie.registry.store.s3_listing import relative_key
from raie.registry.store.s3_objects import BytesSink, NoSuchObject, S3Objects

__all__ = ["probe"]

_COUNT = 3
"""Two would do for pages of one; some imitations of S3 have larger ones of their own and lose what follows."""


def probe(objects: S3Objects, folder: str) -> None:
    """Puts, reads, lists and deletes objects whose keys begin with `folder`.

    Where deleting is forbidden, as it is to editors, their names are always the same ones and they stay.
    Raises StoreFull and StoreUnreachable, which name what does not work.
    """
    forbidden = objects.may_not_remove(f"{folder}none")
    start = f"{folder}{'kept' if forbidden else uuid.uuid4().hex}-"
    keys = [f"{start}{number}" for number in range(_COUNT)]
    with _removed_afterwards(objects, [] if forbidden else keys):
        for key in keys:
            objects.send(key, PROBE)
        _require(objects, _read(objects, keys[0]) == PROBE, "read what was just put", "other bytes")
        _require(objects, objects.has(keys[0]), "know an object that was just put", "that it does not")
        listed = {relative_key(entry["Key"], start) for entry in objects.listed(start, page_size=1)}
        missing = _COUNT - len({str(number) for number in range(_COUNT)} & listed)
        _require(objects, not missing, f"list {_COUNT} objects that were just put", f"{missing} of them missing")
        if not forbidden:
            objects.remove(keys[0])
            _require(objects, not objects.has(keys[0]), "delete an object", "that it is still there")


@contextmanager
def _removed_afterwards(objects: S3Objects, keys: list[str]) -> Iterator[None]:
    try:
        yield
    finally:
        # What went wrong is raised, not that it also kept us from tidying up.
        with suppress(StoreError):
            for key in keys:
                objects.remove(key)


def _read(objects: S3Objects, key: str) -> bytes | None:
    try:
        return objects.read(key, BytesSink)
    except NoSuchObject:
        return None


def _require(objects: S3Objects, works: bool, act: str, problem: str) -> None:
    if not works:
        raise StoreUnreachable(
            f"Expected the store {objects.where} to {act}, found {problem}; check AWS_ENDPOINT_URL and what stands "
            "between here and the server, or choose another store"
        )
