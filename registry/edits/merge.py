"""Three-way arithmetic on contents: what changed, replay on another head, undo, and take one region over.

Pure functions, exact because regions are isolated: an entry is taken from one content or the other, never mixed.
base is a content before a change, result or content the one after it, head where the change should go or leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from raie.registry.errors import IncompatibleRegions
from raie.registry.roles import APPEND_ONLY
from raie.registry.values import Content, Digest, RegionEntry

__all__ = ["changed_regions", "cherry_pick", "contested_regions", "rebase", "revert"]

_Chunks = tuple[Digest, ...]


def changed_regions(older: Content, newer: Content) -> frozenset[int]:
    """The regions whose entries differ, those that only one of the two has included."""
    both = older.regions.keys() | newer.regions.keys()
    return frozenset(region for region in both if older.regions.get(region) != newer.regions.get(region))


def contested_regions(base: Content, result: Content, head: Content) -> frozenset[int]:
    """The regions that the change from base to result touched and that the head holds in a third state."""
    touched = changed_regions(base, result)
    return touched & changed_regions(result, head) & changed_regions(base, head)


def rebase(content: Content, base: Content, head: Content) -> Content:
    """The content with what changed from base to head added: an edit replayed on a head that moved.

    Of lists of chunks the longer one wins where it extends the other. Raises IncompatibleRegions where both
    changed the same region, the same shared part or the routing space.
    """
    _same_frame(base, head)
    _same_frame(base, content)
    overlap = changed_regions(base, content) & changed_regions(base, head)
    if overlap:
        raise IncompatibleRegions(f"both changed {_named(overlap)}")
    shared = {
        part: _merge_part(part, base.shared.get(part, ()), content.shared.get(part, ()), head.shared.get(part, ()))
        for part in base.shared.keys() | content.shared.keys() | head.shared.keys()
    }
    regions = _with_entries(head, content, changed_regions(base, content))
    return replace(head, shared=_present(shared), regions=regions)


def revert(base: Content, result: Content, head: Content) -> Content:
    """The head without what changed from base to result; exactly base where the head is still the result.

    Regions and shared parts go back where the head still holds the result's, and stay where a later edit replaced
    them. A list of chunks never shrinks under a later edit: its adapters refer to rows by their position.
    Raises IncompatibleRegions for contested regions and for another backbone or routing space.
    """
    if head == result:
        return base
    _same_frame(base, result)
    _same_frame(result, head)
    contested = contested_regions(base, result, head)
    if contested:
        raise IncompatibleRegions(f"later edits changed {_named(contested)}")
    undone = {
        part
        for part in base.shared.keys() | result.shared.keys()
        if part not in APPEND_ONLY and head.shared.get(part, ()) == result.shared.get(part, ())
    }
    shared = {part: chunks for part, chunks in head.shared.items() if part not in undone}
    shared |= {part: base.shared.get(part, ()) for part in undone}
    regions = _with_entries(head, base, changed_regions(base, result))
    return replace(head, shared=_present(shared), regions=regions)


def cherry_pick(target: Content, source: Content, region: int) -> Content:
    """The target with one region taken from the source, and the catalogue rows that the region may refer to.

    Raises IncompatibleRegions for another backbone or routing space, or catalogues that grew apart.
    """
    _same_frame(target, source)
    shared = dict(target.shared)
    for part in APPEND_ONLY:
        chunks = _longer(target.shared.get(part, ()), source.shared.get(part, ()))
        if chunks is None:
            raise IncompatibleRegions(f"the two differ in their {part}, which neither extends")
        shared[part] = chunks
    return replace(target, shared=_present(shared), regions=_with_entries(target, source, {region}))


def _same_frame(a: Content, b: Content) -> None:
    """Refuses contents whose regions mean different things: vectors of two spaces cannot be compared."""
    if a.backbone != b.backbone:
        raise IncompatibleRegions("the two have different backbones")
    if a.space != b.space:
        raise IncompatibleRegions(f"the two have different routing spaces, {a.space[:12]} and {b.space[:12]}")


def _merge_part(part: str, base: _Chunks, content: _Chunks, head: _Chunks) -> _Chunks:
    if content == base:
        return head
    if head == base:
        return content
    merged = _longer(content, head)
    if merged is None:
        raise IncompatibleRegions(f"both changed the shared part {part}")
    return merged


def _longer(a: _Chunks, b: _Chunks) -> _Chunks | None:
    """The longer list where it begins with the other; None where neither does."""
    shorter, longer = sorted((a, b), key=len)
    return longer if longer[: len(shorter)] == shorter else None


def _with_entries(target: Content, source: Content, regions: Iterable[int]) -> dict[int, RegionEntry]:
    """The target's regions with these ones as they are in the source, absent where it has none."""
    merged = dict(target.regions)
    for region in regions:
        if region in source.regions:
            merged[region] = source.regions[region]
        else:
            merged.pop(region, None)
    return merged


def _present(shared: dict[str, _Chunks]) -> dict[str, _Chunks]:
    return {part: chunks for part, chunks in shared.items() if chunks}


def _named(regions: Iterable[int]) -> str:
    return "region " + ", ".join(map(str, sorted(regions)))
