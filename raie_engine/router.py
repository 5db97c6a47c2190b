"""The Router: an immutable model that sends each window to its region and scores it with that region's adapter.

Rows are ordered by region and pass in blocks of a fixed size, padded when they do not fill. Every product has a shape
that does not depend on which regions the other rows of a block belong to: LoRA is one product per window, and what a
region makes of items is computed for its own rows alone, in pieces of a fixed size (`training/region_items.py`). So a
window's scores depend on the window and its region alone, and an edit of another region leaves them equal to the last
bit.
Legend: n windows, L positions, d hidden size, g adapters with a zero one first, r rank, v item rows (0 is padding),
k best items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from raie.engine.backbones import Backbone, Contexts, Delta
from raie.engine.data.windows import Windows
from raie.engine.errors import InputError
from raie.engine.evaluation.metrics import highest, without_context
from raie.engine.mixture.mixture import Mixture
from raie.engine.mixture.repeats import earlier_items
from raie.engine.regions.any_space import Space, vectors_in
from raie.engine.regions.region_map import RegionMap, assign
from raie.engine.training.adapter import Adapter
from raie.engine.training.region_items import ItemUpdates

__all__ = ["Router", "TopItems", "encode_windows", "routing_vectors"]

BLOCK_ROWS = 64
TOP_ROWS = 16 * BLOCK_ROWS


@dataclass(frozen=True)
class TopItems:
    """The best items of each window, best first: rows int64 [n, k] (0 where fewer exist), scores float32 [n, k]."""

    rows: np.ndarray
    scores: np.ndarray


def encode_windows(backbone: Backbone, windows: Windows, blocks: int = 4) -> np.ndarray:
    """Encodings of the contexts of windows by the frozen backbone.

    Items that it was not trained with are passed over: a window lies where its known items put it, before and after
    any edit, and windows of unknown items alone lie together.

    Args:
        backbone: the frozen backbone.
        windows: n of them.
        blocks: how many pass at a time.

    Returns:
        float32 [n, d].
    """
    parts = []
    for rows in _slices(len(windows), blocks * BLOCK_ROWS):
        contexts = Contexts.of(windows.take(rows))
        known = Contexts(contexts.items.masked_fill(contexts.items > backbone.known_items, 0), contexts.times)
        # Whole blocks: a window alone would take another path through the products and could differ in the last bit.
        with torch.inference_mode():
            parts.append(backbone.encode(known.filled_up(BLOCK_ROWS)).numpy()[: len(contexts)])
    return np.concatenate(parts) if parts else np.zeros((0, backbone.dim), np.float32)


def routing_vectors(space: Space, backbone: Backbone, windows: Windows) -> np.ndarray:
    """Where the contexts of windows lie in a routing space; reads no adapter.

    Args:
        space: of the snapshot.
        backbone: the frozen backbone.
        windows: n of them.

    Returns:
        float32 [n, d], of norm 1.
    """
    return vectors_in(space, windows, partial(encode_windows, backbone))


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


@dataclass(frozen=True)
class _Segment:
    """Rows of a block, one after the other, that belong to one adapter; slot: from 1."""

    slot: int
    rows: slice


def _segments(slots: np.ndarray) -> tuple[_Segment, ...]:
    """The runs of equal slots of a block [n]; slot 0 has no adapter and makes none."""
    ends = [*(np.flatnonzero(np.diff(slots)) + 1).tolist(), len(slots)]
    runs = (slice(start, end) for start, end in zip([0, *ends], ends, strict=False))
    return tuple(_Segment(int(slots[rows.start]), rows) for rows in runs if slots[rows.start])


def _only(scores: Tensor, rows: np.ndarray) -> Tensor:
    """Scores [v] of these item rows, and minus infinity for every other one."""
    chosen = torch.from_numpy(rows)
    return torch.full_like(scores, float("-inf")).index_copy(0, chosen, scores[chosen])


@dataclass(frozen=True, eq=False)
class Router:
    """One snapshot, ready to recommend.

    item_chunks: the rows [new items, d] that each edit appended, oldest first; `backbone` knows them already. mixtures:
    by region; one without leaves out the items of a context, and knows nothing else of repeats.

    Raises: WrongBackbone when the space or an adapter belongs to another backbone; InputError for adapters of
    different ranks.
    Source: equation 9. Departs from the paper: routing compares the items of histories, or states in the centred space.
    """

    backbone: Backbone
    item_chunks: tuple[Tensor, ...]
    space: Space
    region_map: RegionMap
    adapters: Mapping[int, Adapter]
    mixtures: Mapping[int, Mixture] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.space.require_backbone(self.backbone.digest)
        self.region_map.require_space(self.space.digest)
        for adapter in self.adapters.values():
            adapter.require(self.backbone)
        ranks = sorted({adapter.rank for adapter in self.adapters.values()})
        if len(ranks) > 1:
            # Stacked to the widest, the narrower ones would be summed in another order than alone.
            raise InputError(
                f"expected adapters of one rank, found ranks {ranks}: a region's scores would then depend on its "
                "neighbours' adapters; train all regions with this model's settings"
            )

    def vectors(self, windows: Windows) -> np.ndarray:
        """Routing vectors [n, d], norm 1, of the contexts of windows.

        Args:
            windows: n of them.

        Returns:
            float32 [n, d], of norm 1.
        """
        return routing_vectors(self.space, self.backbone, windows)

    def assign(self, windows: Windows) -> np.ndarray:
        """Region ids int32 [n] of the contexts of windows.

        Args:
            windows: n of them.

        Returns:
            int32 [n].
        """
        return assign(self.region_map, self.vectors(windows))

    def scores(
        self, windows: Windows, regions: np.ndarray | None = None, *, exclude_seen: bool | None = None
    ) -> Tensor:
        """Scores of every item; minus infinity for what is never recommended, as items that a region does not know yet.

        Args:
            windows: n of them.
            regions: ids [n] where they are known already; otherwise the windows are routed first.
            exclude_seen: True leaves out all items of a history, False makes no difference of what is in it; None does
                what the region has learned of repeats.

        Returns:
            [n, v].

        Raises:
            InputError: for a region that is not in the map.
        """
        regions = self.assign(windows) if regions is None else regions
        scores = self.model_scores(windows, regions)
        mixed = np.isin(regions, [*self.mixtures])
        for region in np.unique(regions[mixed]).tolist():
            rows = np.flatnonzero(regions == region)
            where = torch.from_numpy(rows)
            joined = self.mixtures[region].joined(
                scores[where], windows.take(rows), indifferent=exclude_seen is False
            )
            scores[where] = joined
        if exclude_seen is not False and not mixed.all():
            scores = without_context(scores, windows, ~mixed)
        if exclude_seen:
            earlier = earlier_items(windows)
            scores[earlier.row, earlier.item] = float("-inf")
        return scores

    def model_scores(self, windows: Windows, regions: np.ndarray) -> Tensor:
        """The logits of each window's adapter or of the frozen backbone, before anything joins them.

        Args:
            windows: n of them.
            regions: ids [n].

        Returns:
            [n, v]; minus infinity for padding and for items that the adapter does not know.

        Raises:
            InputError: for a region that is not in the map.
        """
        strangers = np.setdiff1d(regions, self.region_map.ids)
        if len(strangers):
            raise InputError(
                f"expected regions of {self.region_map.ids.tolist()}, found {strangers.tolist()}; "
                "route the windows with this snapshot"
            )
        out, order = torch.empty(len(windows), self._items + 1), np.argsort(regions, kind="stable")
        for rows, contexts, slots in self._blocks(windows, regions, order):
            out[torch.from_numpy(rows)] = self._block_scores(contexts, slots)[: len(rows)]
        return out

    def top_k(
        self,
        windows: Windows,
        k: int,
        *,
        regions: np.ndarray | None = None,
        exclude_seen: bool | None = None,
        allowed: Mapping[int, np.ndarray] | None = None,
    ) -> TopItems:
        """The best items per window.

        Args:
            windows: n of them.
            k: how many items.
            regions: ids [n] where they are known already; otherwise the windows are routed first.
            exclude_seen: as of `scores`.
            allowed: number of a window -> the item rows that alone may come; no number for all.

        Returns:
            Rows and scores [n, k], best first; of equal scores the lower row first.
        """
        k = min(k, self._items)
        regions = self.assign(windows) if regions is None else regions
        rows, values = np.zeros((len(windows), k), np.int64), np.zeros((len(windows), k), np.float32)
        order, allowed = np.argsort(regions, kind="stable"), allowed or {}
        for piece in _slices(len(windows), TOP_ROWS):  # the scores of a million windows do not fit in memory
            part = order[piece]
            scores = self.scores(windows.take(part), regions[part], exclude_seen=exclude_seen)
            for row, number in enumerate(part.tolist() if allowed else ()):
                if number in allowed:
                    scores[row] = _only(scores[row], allowed[number])
            best, items = highest(scores, k)
            rows[part] = torch.where(best.isneginf(), 0, items).numpy()
            values[part] = best.numpy()
        return TopItems(rows, values)

    @cached_property
    def _items(self) -> int:
        return len(self.backbone.item_table()) - 1

    @cached_property
    def _table_parts(self) -> tuple[Tensor, ...]:
        """E^T in the pieces it grew by, so that items appended later do not change the shape of earlier products."""
        sizes = [self.backbone.known_items + 1, *(len(chunk) for chunk in self.item_chunks)]
        return tuple(part.T.contiguous() for part in self.backbone.item_table().split(sizes))

    @cached_property
    def _slots(self) -> dict[int, int]:
        return {region: slot for slot, region in enumerate(sorted(self.adapters), start=1)}

    @cached_property
    def _stacked(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Per layer A^T [g, inputs, r] and B^T [g, r, outputs], the scaling folded into B; slot 0 changes nothing."""
        ordered = [self.adapters[region] for region in self._slots]
        stacked = {}
        for name, shape in self.backbone.lora_targets.items():
            down = torch.zeros(len(ordered) + 1, shape.inputs, ordered[0].rank)
            up = torch.zeros(len(ordered) + 1, ordered[0].rank, shape.outputs)
            for slot, adapter in enumerate(ordered, start=1):
                down[slot] = adapter.lora[f"{name}.lora_A.weight"].T
                up[slot] = adapter.lora[f"{name}.lora_B.weight"].T * adapter.scaling
            stacked[name] = (down, up)
        return stacked

    @cached_property
    def _updates(self) -> dict[int, ItemUpdates]:
        """What the adapter of each slot makes of items."""
        return {slot: ItemUpdates(self.adapters[region]) for region, slot in self._slots.items()}

    @cached_property
    def _slot_of(self) -> np.ndarray:
        """The slot of each region of the map; 0 for one without an adapter."""
        return np.array([self._slots.get(int(region), 0) for region in self.region_map.ids])

    def _blocks(
        self, windows: Windows, regions: np.ndarray, order: np.ndarray
    ) -> Iterator[tuple[np.ndarray, Contexts, np.ndarray]]:
        """(rows, contexts [BLOCK_ROWS, L], slots [BLOCK_ROWS]) in this order; the last block is padded."""
        slots = self._slot_of[np.searchsorted(self.region_map.ids, regions)]
        for piece in _slices(len(windows), BLOCK_ROWS):
            rows = order[piece]
            contexts = Contexts.of(windows.take(rows)).filled_up(BLOCK_ROWS)
            yield rows, contexts, np.pad(slots[rows], (0, BLOCK_ROWS - len(rows)))

    @torch.inference_mode()
    def _block_scores(self, contexts: Contexts, slots: np.ndarray) -> Tensor:
        segments = _segments(slots)
        states = self.backbone.encode(contexts, self._delta(slots, segments) if self.adapters else None)
        parts = [states @ part for part in self._table_parts]
        scores = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        vocab_size = torch.full((BLOCK_ROWS,), self.backbone.known_items)
        for segment in segments:
            updates = self._updates[segment.slot]
            updates.add_to_scores(scores[segment.rows], states[segment.rows])
            vocab_size[segment.rows] = updates.adapter.vocab_size
        scores[:, 0] = float("-inf")
        if int(vocab_size.min()) < self._items:
            unknown = torch.arange(self._items + 1) > vocab_size.unsqueeze(1)
            scores.masked_fill_(unknown, float("-inf"))
        for segment in segments:
            adapter, rows = self._updates[segment.slot].adapter, segment.rows
            if adapter.transitions is not None:
                scores[rows] = adapter.with_transition_counts(scores[rows], contexts.items[rows].numpy())
        return scores

    def _delta(self, slots: np.ndarray, segments: tuple[_Segment, ...]) -> Delta:
        return _MixedDelta(self._stacked, self._updates, segments, torch.from_numpy(slots))


@dataclass(frozen=True, eq=False)
class _MixedDelta:
    """What the adapters change for the rows of one block, by slot; slots: [n]."""

    stacked: Mapping[str, tuple[Tensor, Tensor]]
    updates: Mapping[int, ItemUpdates]
    segments: tuple[_Segment, ...]
    slots: Tensor

    def linear(self, name: str, layer: nn.Module, inputs: Tensor) -> Tensor:
        (down, up), out = self.stacked[name], layer(inputs)  # [n, L, outputs]
        if len(self.segments) == 1 and self.segments[0].rows == slice(0, len(inputs)):
            # A view in place of a copy of the adapter for each row; still one product per row, and as many of them.
            slot = self.segments[0].slot
            down, up = (stack[slot].expand(len(inputs), -1, -1) for stack in (down, up))
        else:
            down, up = down[self.slots], up[self.slots]
        return _add_product(out, torch.bmm(inputs, down), up)

    def read(self, items: Tensor) -> Tensor | None:
        updates = [(self.updates[segment.slot], segment.rows) for segment in self.segments]
        updates = [(update, rows) for update, rows in updates if len(update.adapter.item_ids)]
        if not updates:
            return None
        added = torch.zeros(*items.shape, updates[0][0].adapter.item_lora_b.shape[1])
        for update, rows in updates:
            update.read_into(added[rows], items[rows])
        return added


def _add_product(out: Tensor, low: Tensor, up: Tensor) -> Tensor:
    """Adds low [n, L, r] times up [n, r, outputs] to out [n, L, outputs], in place."""
    # At one position the fused form rounds the sum another way than the plain one, which older scores were made with.
    return out.baddbmm_(low, up) if low.shape[1] > 1 else out.add_(torch.bmm(low, up))
