"""Sums over pairs of items, which item-item models in closed form are solved from: an edit adds to them.

Undoing an edit subtracts what it added. So a state after many edits is the state from scratch on all their rows.
Source: Jeunen et al., "Closed-form models for collaborative filtering with side-information" (RecSys 2020) and Dynamic
EASE (UMUAI 2022): Gram matrices are additive.
Legend: c cells, o observations (users or targets), m items, v item rows (row 0 is padding), p pairs of items.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.bytes.arrays import pack, unpack
from raie.engine.data.interactions import Interactions

__all__ = ["Cells", "PairSums", "co_occurrences", "pair_products", "symmetric"]

_FIRST = 32
"""Bits by which the first item of a pair is shifted."""
_TYPES = {"pairs": np.int64, "sums": np.float32}
_AXES = {"pairs": "p", "sums": "p"}


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a sparse matrix of observations and items; of equal cells the values are added.

    observation: int64 [c]. item: int64 [c], item rows. value: float32 [c].
    """

    observation: NDArray[np.int64]
    item: NDArray[np.int64]
    value: NDArray[np.float32]

    def take(self, chosen: NDArray[np.bool_]) -> Cells:
        """Some of the cells.

        Args:
            chosen: bool [c].

        Returns:
            The cells.
        """
        return Cells(self.observation[chosen], self.item[chosen], self.value[chosen])

    def matrix(self, o: int, v: int) -> Tensor:
        """The matrix itself.

        Args:
            o: observations.
            v: item rows.

        Returns:
            Sparse float32 [o, v].
        """
        index = torch.from_numpy(np.stack([self.observation, self.item]))
        value = torch.from_numpy(self.value)
        return torch.sparse_coo_tensor(index, value, (o, v), check_invariants=True).coalesce()


@dataclass(frozen=True, eq=False)
class PairSums:
    """A sparse matrix over pairs of items, whose values are sums over observations.

    pairs: int64 [p], `first x 2**32 + second`, ascending; item rows that are added later change none. sums: float32 [p],
    none 0; counts below 2**24 are exact.
    """

    pairs: NDArray[np.int64]
    sums: NDArray[np.float32]

    @staticmethod
    def none() -> PairSums:
        """The matrix of no observations."""
        return PairSums(np.zeros(0, np.int64), np.zeros(0, np.float32))

    def plus(self, added: PairSums, sign: int = 1) -> PairSums:
        """The sum of both matrices.

        Args:
            added: what is added.
            sign: -1 subtracts it instead.

        Returns:
            The sum, without values that are 0.
        """
        pairs, slot = np.unique(np.concatenate([self.pairs, added.pairs]), return_inverse=True)
        both = np.concatenate([self.sums, np.float32(sign) * added.sums])
        sums = np.bincount(slot, both, minlength=len(pairs)).astype(np.float32)
        return PairSums(pairs[sums != 0], sums[sums != 0])

    def upper(self) -> PairSums:
        """The diagonal and what stands right of it: all that a symmetric matrix needs."""
        first, second = self._items()
        return PairSums(self.pairs[first <= second], self.sums[first <= second])

    def diagonal(self, v: int) -> NDArray[np.float64]:
        """The value of each item with itself.

        Args:
            v: item rows.

        Returns:
            float64 [v].
        """
        first, second = self._items()
        own = first == second
        return np.asarray(np.bincount(first[own], self.sums[own], minlength=v), np.float64)

    def sparse(self, items: NDArray[np.int64]) -> Tensor:
        """The part of the matrix that these items have among themselves.

        Args:
            items: item rows, ascending int64 [m].

        Returns:
            Sparse float32 [m, m].
        """
        first, second = self._items()
        slot = np.full(1 + max(int(rows.max(initial=0)) for rows in (first, second, items)), -1)
        slot[items] = np.arange(len(items))
        index = np.stack([slot[first], slot[second]])
        inside = (index >= 0).all(axis=0)
        cells, value = torch.from_numpy(index[:, inside]), torch.from_numpy(self.sums[inside])
        return torch.sparse_coo_tensor(cells, value, (len(items), len(items)), check_invariants=True).coalesce()

    def to_bytes(self, until: int) -> bytes:
        """Equal sums give equal bytes.

        Args:
            until: epoch seconds of the newest row that is in the sums.

        Returns:
            The bytes.
        """
        return pack({"kind": "pair sums", "until": until}, {"pairs": self.pairs, "sums": self.sums})

    @staticmethod
    def from_bytes(data: bytes) -> tuple[PairSums, int]:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The sums, and the epoch seconds of the newest row that is in them.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        header, arrays = unpack(data, "pair sums", _TYPES, _AXES)
        return PairSums(arrays["pairs"], arrays["sums"]), int(header["until"])

    def _items(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.pairs >> _FIRST, self.pairs & ((1 << _FIRST) - 1)


def symmetric(upper: PairSums, items: NDArray[np.int64]) -> Tensor:
    """A symmetric matrix of which the upper triangle is stored.

    Args:
        upper: the diagonal and what stands right of it.
        items: item rows, ascending int64 [m].

    Returns:
        float32 [m, m].
    """
    matrix = upper.sparse(items).to_dense()
    for part in range(0, len(items), 1024):  # in place: the matrix of a large catalogue is not held twice
        rows = slice(part, part + 1024)
        matrix[part:, rows] = matrix[rows, part:].T.clone().tril_() + matrix[part:, rows].triu(1)
    return matrix


def pair_products(left: Cells, right: Cells) -> PairSums:
    """left^T right: for each pair of items the sum over observations of the products of their cells.

    Args:
        left: cells.
        right: cells of the same observations.

    Returns:
        The sums.
    """
    if not len(left.item) or not len(right.item):
        return PairSums.none()
    o = 1 + int(max(left.observation.max(), right.observation.max()))
    v = 1 + int(max(left.item.max(), right.item.max()))
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Sparse CSR tensor support is in beta", UserWarning
        )  # of torch, on its inside
        product = torch.sparse.mm(left.matrix(o, v).t(), right.matrix(o, v)).coalesce()
    first, second = product.indices().numpy()
    return PairSums((first << _FIRST) + second, product.values().numpy())


def co_occurrences(rows: Interactions, after: int | None = None) -> PairSums:
    """X^T X, the upper triangle: how many users have both items of a pair; the diagonal: how many have the item.

    Args:
        rows: the log, in time order.
        after: epoch seconds. Given, the sums are what the rows after it add to those of the rows before.

    Returns:
        The sums.
    """
    keys, first = np.unique((rows.user.astype(np.int64) << _FIRST) + rows.item, return_index=True)
    whole = Cells(keys >> _FIRST, keys & ((1 << _FIRST) - 1), np.ones(len(keys), np.float32))
    if after is None:
        return pair_products(whole, whole).upper()
    new = rows.timestamp[first] > after  # the first time that this user has this item
    added = whole.take(new)
    before = whole.take(~new & np.isin(whole.observation, added.observation))
    both_ways = [pair_products(added, before), pair_products(before, added)]
    return pair_products(added, added).plus(both_ways[0]).plus(both_ways[1]).upper()
