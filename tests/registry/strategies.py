"""Random contents, small enough that two of them often share a region or a part."""

from __future__ import annotations

from hypothesis import strategies as st

from registry import Content, Digest, digest_of

__all__ = ["contents", "digests", "related"]

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
    one = st.builds(
        lambda parts, entries: Content({"weights": _FEW[0]}, _FEW[1], parts, entries), shared(), regions()
    )
    return st.tuples(*[one] * count)
