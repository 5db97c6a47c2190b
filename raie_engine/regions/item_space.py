"""The item space: where histories are compared by which items users take together, without a pass of the backbone.

    z = normalise(sum over back of FORGET^back X[x_back])

X: an item's vector of norm 1, from a truncated singular value decomposition of the positive pointwise mutual information
of items near one another; x_back: the item so many places before the end of the history. Items that the setup did not
have are passed over, so a history lies where its known items put it, before and after any edit; histories of such items
alone lie together, in a dimension of their own, where an edit may add a region.
Source: Levy and Goldberg, "Neural word embedding as implicit matrix factorization" (NeurIPS 2014), on items.
Legend: n histories, L positions, d dimensions, v item rows (row 0 is padding).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from raie.engine.arrays import Floats
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.data.windows import Windows
from raie.engine.errors import DamagedArtifact, WrongBackbone
from raie.engine.mixture.log_counts import LogCounts

__all__ = ["REACH", "ItemSpace", "fit_item_space"]

FORGET, REACH = 0.9, 20
"""What each place further back leaves of an item's say, and how many places have one."""
DIMENSIONS = 64
SMOOTHING = 0.75
"""The power of how often an item is a neighbour, so that rare ones are no surprise (Levy, Goldberg and Dagan 2015)."""
_FEW = 256
"""Item rows up to which all singular values are computed."""


@dataclass(frozen=True, eq=False)
class ItemSpace:
    """items: float32 [v, d - 1], of norm 1, row 0 zero. backbone_digest: whose item rows these are."""

    items: Floats
    backbone_digest: str

    @property
    def dimensions(self) -> int:
        """d: those of items, and one for histories without a known item."""
        return int(self.items.shape[1]) + 1

    def vectors(self, windows: Windows) -> Floats:
        """Where the contexts of windows lie.

        Each row depends on its own context alone.

        Args:
            windows: n of them.

        Returns:
            float32 [n, d], of norm 1.
        """
        return self.of_items(_backwards(windows.items), len(windows))

    def of_items(self, backwards: Iterable[NDArray[np.integer]], n: int) -> Floats:
        """Where histories lie.

        Args:
            backwards: the newest item of each of n histories, the one before it, and so on, [n] each; 0 for none.
            n: histories.

        Returns:
            float32 [n, d], of norm 1.
        """
        vectors, says = np.zeros((n, self.dimensions), np.float32), np.float32(1)
        for item in backwards:
            vectors[:, :-1] += says * self.items[np.where(item < len(self.items), item, 0)]
            says *= np.float32(FORGET)
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
        vectors[:, -1:] = norms == 0
        return vectors / np.maximum(norms, norms == 0)

    def require_backbone(self, digest: str) -> None:
        """Checks that item rows are those of the backbone that the space was fitted beside.

        Args:
            digest: of the backbone.

        Raises:
            WrongBackbone: for another one.
        """
        if digest != self.backbone_digest:
            raise WrongBackbone(
                f"expected the item rows of backbone {self.backbone_digest[:12]}, found backbone {digest[:12]}; "
                "use the backbone of this snapshot"
            )

    def to_bytes(self) -> bytes:
        """Lossless bytes, equal in any process."""
        return pack({"kind": "item_space", "backbone": self.backbone_digest}, {"items": self.items})

    @classmethod
    def from_bytes(cls, data: bytes) -> ItemSpace:
        """The space that `to_bytes` wrote.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        header, arrays = unpack(data, "item_space", {"items": np.float32}, {"items": "vd"})
        items = arrays["items"]
        if not len(items) or not np.isfinite(items).all() or items[0].any():
            raise DamagedArtifact(
                "expected finite item vectors after a row of zeros, found others; restore the blob"
            )
        return cls(items, str(header.get("backbone")))

    @cached_property
    def digest(self) -> str:
        """sha256 of `to_bytes`: the name under which region maps and buffers refer to this space."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def _backwards(items: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """The items of contexts [n, L] from the newest one back, [n] each; 0 where there are no more."""
    row, length = np.arange(len(items)), (items != 0).sum(axis=1)
    for back in range(min(REACH, items.shape[1])):
        slot = length - 1 - back
        yield np.where(slot >= 0, items[row, np.maximum(slot, 0)], 0)


def fit_item_space(counts: LogCounts, backbone_digest: str) -> ItemSpace:
    """The space of the items that counts know.

    Args:
        counts: of the rows that train.
        backbone_digest: of the backbone that was trained on them.

    Returns:
        The space; an item that has no neighbour lies in the middle of the others.
    """
    near = _near(counts)
    vectors = _unit(_factors(near))
    middle = _unit(vectors.sum(axis=0, keepdims=True))
    middle = middle if middle.any() else np.eye(1, vectors.shape[1])
    alone = np.flatnonzero(~vectors.any(axis=1))
    vectors[alone[alone > 0]] = middle
    return ItemSpace(np.ascontiguousarray(vectors, np.float32), backbone_digest)


def _near(counts: LogCounts):  # type: ignore[no-untyped-def]  # a scipy matrix
    """The positive pointwise mutual information of items near one another, sparse float64 [v, v]."""
    from scipy import sparse

    v = counts.items + 1
    widest = counts.pairs[:, -1].astype(np.float64)
    pairs = sparse.csr_matrix((widest, counts.following, counts.start), shape=(v, v))
    pairs = (pairs + pairs.T).tocoo()
    often = np.asarray(pairs.sum(axis=1)).ravel()
    neighbour = often**SMOOTHING
    neighbour /= max(float(neighbour.sum()), 1e-300)
    information = np.log(pairs.data / (often[pairs.row] * neighbour[pairs.col]))
    return sparse.csr_matrix((np.maximum(information, 0), (pairs.row, pairs.col)), shape=(v, v))


def _factors(near) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]  # a scipy matrix
    """U S^0.5 of the largest singular values, float64 [v, d - 1]."""
    v = near.shape[0]
    if v <= _FEW:
        left, values, _ = np.linalg.svd(near.toarray())
    else:
        from scipy.sparse.linalg import svds

        left, values, _ = svds(near, k=DIMENSIONS, random_state=0)
        left, values = left[:, ::-1], values[::-1]
    d = min(DIMENSIONS, v)
    return np.asarray(left[:, :d] * np.sqrt(values[:d]))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of norm 1; those that are rounding alone stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-9)
