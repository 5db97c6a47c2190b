"""Random contents, small enough that two of them often share a region or a part."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from hypothesis import strategies as st

from raie.registry import Content, Digest, digest_of
from raie.registry.roles import APPEND_ONLY

__all__ = ["contents", "digests", "disjoint", "related"]

Key, Value = TypeVar("Key"), TypeVar("Value")

_FEW = [digest_of(bytes([number])) for number in range(6)]


def digests() -> st.SearchStrategy[Digest]:
    """One of a few digests."""
    return st.sampled_from(_FEW)


def entries() -> st.SearchStrategy[dict[str, Digest]]:
    """A region's entry."""
    return st.dictionaries(st.sampled_from(["state", "lora", "replay"]), digests(), min_size=1)


def regions() -> st.SearchStrategy[dict[int, dict[str, Digest]]]:
    """Up to four regions."""
    return st.dictionaries(st.integers(0, 3), entries())


def shared() -> st.SearchStrategy[dict[str, tuple[Digest, ...]]]:
    """Lists of chunks and single parts; no empty list, which is the same as none."""
    lists = st.lists(digests(), min_size=1, max_size=3).map(tuple)
    single = digests().map(lambda digest: (digest,))
    return st.fixed_dictionaries(
        {}, optional={"catalogue": lists, "item_rows": lists, "watermark": single, "add_buffer": single}
    )


def contents() -> st.SearchStrategy[Content]:
    """Any content."""
    backbone = st.dictionaries(st.sampled_from(["weights", "config"]), digests(), min_size=1)
    return st.builds(Content, backbone, digests(), shared(), regions())


def related(count: int) -> st.SearchStrategy[tuple[Content, ...]]:
    """Contents of one backbone and one routing space, as every snapshot of a model between two refits is."""
    content = st.builds(
        lambda parts, entries: Content({"weights": _FEW[0]}, _FEW[1], parts, entries), shared(), regions()
    )
    return st.tuples(*[content] * count)


@st.composite
def disjoint(sample: st.DrawFn) -> tuple[Content, Content, Content]:
    """A content and two that came of it, of which neither changed what the other did; one may read further than the other
    in a list of chunks.
    """
    base, first, second = sample(related(3))
    regions = sample(st.sets(st.integers(0, 3)))
    singles = sample(st.sets(st.sampled_from(["watermark", "add_buffer"])))
    more = {part: tuple(sample(st.lists(digests(), max_size=3))) for part in sorted(APPEND_ONLY)}

    def later(content: Content, regions: set[int], singles: set[str]) -> Content:
        grown = {
            part: base.shared.get(part, ()) + more[part][: sample(st.integers(0, 3))]
            for part in sorted(APPEND_ONLY)
        }
        shared = _taken(base.shared, content.shared, singles) | {part: new for part, new in grown.items() if new}
        return replace(base, shared=shared, regions=_taken(base.regions, content.regions, regions))

    rest = {"watermark", "add_buffer"} - singles
    return base, later(first, regions, singles), later(second, set(range(4)) - regions, rest)


def _taken(base: Mapping[Key, Value], later: Mapping[Key, Value], keys: Collection[Key]) -> dict[Key, Value]:
    """The base with what stands under these keys as it is later, absent where it is not there."""
    kept = {key: value for key, value in base.items() if key not in keys}
    return kept | {key: value for key, value in later.items() if key in keys}
