"""What a region is about, in a person's words: its items, its size and how that changed, a typical history.

Items and histories come from the region's replay windows, which every snapshot of the engine keeps; sizes come from the
database. Nothing is made up: a region without replay windows says so. No user id is shown.
Legend: n windows, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raie.edits.edit_records import edit_reference
from raie.edits.workflow import open_view
from raie.registry import AdapterVersion, Registry, Snapshot, lineage

if TYPE_CHECKING:
    from raie.engine.data.catalogue import Catalogue
    from raie.engine.data.windows import Windows
    from raie.engine.model import ModelView
    from raie.workspace import Workspace

__all__ = ["DescribedItem", "RegionDescription", "descriptions", "descriptions_of", "lifts"]

ITEMS = 5
"""Items that stand for a region."""
HISTORY = 5
"""Last items of the typical history."""
SIZES = 5
"""Versions of which the size is shown."""
LEAST_WINDOWS = 3
"""An item of fewer windows of the region says little of it."""
_NO_WINDOWS = "the snapshot keeps no windows of this region"
PRIOR_WINDOWS = 5.0
"""Windows that are added to those that have an item and to those expected, so that few windows give no large lift."""


@dataclass(frozen=True)
class DescribedItem:
    """An item that a region has more often than the model.

    Attributes:
        title: "" where the model knows none.
        lift: How many times as often as over all regions; above 1.
        share: Of the region's windows that have the item, in [0, 1].
    """

    item: str
    title: str
    lift: float
    share: float


@dataclass(frozen=True)
class RegionDescription:
    """What a region is about.

    Attributes:
        members: The windows that it was fitted on; share: of those of all regions, in [0, 1].
        sizes: Members of its newest versions up to the one that the snapshot holds, oldest first.
        items: The items with the largest lift, largest first.
        windows: Replay windows that items and histories were read from.
        history: Items of the median window, its next item included; None without windows.
        typical: The last items of the window that is most like the others, oldest first: item and title.
        missing: Why there are no items and no histories; "" where there are.
    """

    region: int
    members: int
    share: float
    sizes: tuple[int, ...]
    items: tuple[DescribedItem, ...] = ()
    windows: int = 0
    history: int | None = None
    typical: tuple[tuple[str, str], ...] = ()
    missing: str = ""

    @property
    def growth(self) -> float | None:
        """The change in size since the version before, as a share of it; None for a first version."""
        return self.sizes[-1] / self.sizes[-2] - 1 if len(self.sizes) > 1 and self.sizes[-2] else None


def descriptions_of(workspace: Workspace, ref: str = "head") -> dict[int, RegionDescription]:
    """What each region of a snapshot is about.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3" or 3, a snapshot's id or its first characters.

    Returns:
        Region -> description, by region.

    Raises:
        NotFound: There is no such snapshot.
        RegistryError: A blob is missing or damaged.
    """
    registry = workspace.registry()
    snapshot = lineage.find(registry, workspace.model, edit_reference(ref))
    return descriptions(registry, snapshot, open_view(registry, snapshot, workspace.backbone_file))


def descriptions(registry: Registry, snapshot: Snapshot, view: ModelView) -> dict[int, RegionDescription]:
    """What each region of a snapshot is about.

    Args:
        registry: Of the model.
        snapshot: Expired or not.
        view: The same snapshot; its catalogue and its replay windows are read.

    Returns:
        Region -> description, by region.

    Raises:
        RegistryError: A blob is missing or damaged.
    """
    held = lineage.versions_in(registry, snapshot)
    members = {region: held[region].change.count for region in sorted(held)}
    whole = max(sum(members.values()), 1)
    sized = {
        region: RegionDescription(region, count, count / whole, _sizes(registry, held[region]))
        for region, count in members.items()
    }
    missing = _missing(snapshot)
    if missing:
        return {region: replace(description, missing=missing) for region, description in sized.items()}
    windows = {r: view.replay(r) for r in members if "replay" in snapshot.content.regions[r]}
    filled = {region: rows for region, rows in windows.items() if len(rows)}
    items = _items(filled, members, view.catalogue) if filled else {}
    return {
        region: _read(description, filled[region], items[region], view.catalogue)
        if region in filled
        else replace(description, missing=_NO_WINDOWS)
        for region, description in sized.items()
    }


def lifts(
    present: Mapping[int, NDArray[np.int64]], windows: Mapping[int, int], members: Mapping[int, int]
) -> dict[int, NDArray[np.float64]]:
    """How many times as often as over all regions each item is in a region's windows, shrunk towards 1.

        lift(i) = (windows that have i + PRIOR_WINDOWS) / (windows expected to have i + PRIOR_WINDOWS)

    Args:
        present: Region -> windows that have the item, int64 [v].
        windows: Region -> windows that were read.
        members: Region -> its size, by which regions count in what is expected.

    Returns:
        Region -> lift [v]; 1 for an item of no window at all.

    Source: the mean of a Poisson rate under a gamma prior, as DuMouchel (1999) ranks counts against expectations.
    """
    whole = max(sum(members[region] for region in present), 1)
    shares = [members[region] / whole * counts / max(windows[region], 1) for region, counts in present.items()]
    everywhere = np.sum(shares, axis=0)
    return {
        region: (counts + PRIOR_WINDOWS) / (windows[region] * everywhere + PRIOR_WINDOWS)
        for region, counts in present.items()
    }


def _missing(snapshot: Snapshot) -> str:
    if snapshot.expired is not None:
        return "the snapshot has expired"
    return "" if "catalogue" in snapshot.content.shared else "the snapshot has no catalogue of items"


def _sizes(registry: Registry, version: AdapterVersion) -> tuple[int, ...]:
    """Members of the versions of a region up to one, oldest first."""
    older = lineage.newest_versions(registry, version.model, version.region, version.version)
    known = [before.change.count for before in older if before.version <= version.version]
    return tuple(reversed(known[:SIZES]))


def _items(
    windows: Mapping[int, Windows], members: Mapping[int, int], catalogue: Catalogue
) -> dict[int, tuple[DescribedItem, ...]]:
    """Region -> the items that stand for it."""
    present = {region: _present(rows, len(catalogue.items) + 1) for region, rows in windows.items()}
    counts = {region: len(rows) for region, rows in windows.items()}
    return {
        region: _largest(lift, present[region], counts[region], catalogue)
        for region, lift in lifts(present, counts, members).items()
    }


def _whole(windows: Windows) -> NDArray[np.int32]:
    """Contexts and their next items, [n, L + 1]; 0 is padding."""
    return np.concatenate([windows.items, windows.target[:, None]], axis=1)


def _present(windows: Windows, v: int) -> NDArray[np.int64]:
    """Of how many windows each item is, int64 [v], each window once; padding of none."""
    whole = np.sort(_whole(windows), axis=1)
    first = np.ones_like(whole, bool)
    first[:, 1:] = whole[:, 1:] != whole[:, :-1]
    counts = np.bincount(whole[first], minlength=v)[:v]
    counts[0] = 0
    return np.asarray(counts, np.int64)


def _largest(
    lift: NDArray[np.float64], present: NDArray[np.int64], windows: int, catalogue: Catalogue
) -> tuple[DescribedItem, ...]:
    rows = np.flatnonzero((present >= LEAST_WINDOWS) & (lift > 1))
    # Of equal lift the item of more windows, then of the lower row, so that the same snapshot is described the same.
    best = rows[np.lexsort((rows, -present[rows], -np.round(lift[rows], 6)))][:ITEMS].tolist()
    return tuple(
        DescribedItem(item, catalogue.title_of(row), float(lift[row]), float(present[row] / windows))
        for row, item in zip(best, catalogue.item_ids(best), strict=True)
    )


def _read(
    description: RegionDescription, windows: Windows, items: Sequence[DescribedItem], catalogue: Catalogue
) -> RegionDescription:
    """The description with what a region's windows say of it."""
    whole, present = _whole(windows), _present(windows, len(catalogue.items) + 1)
    lengths = (whole != 0).sum(axis=1)
    # The window whose items are in the most windows of the region, on average; of equal ones the first.
    known = np.where(whole != 0, present[np.minimum(whole, len(present) - 1)], 0)
    likeness = known.sum(axis=1) / np.maximum(lengths, 1)
    # A window of a few popular items is like all others and says nothing.
    likeness[lengths < np.median(lengths)] = -1
    row = whole[int(likeness.argmax())]
    last = [int(item) for item in row[row != 0][-HISTORY:]]
    return replace(
        description,
        items=tuple(items),
        windows=len(windows),
        history=int(np.median(lengths)),
        typical=tuple(zip(catalogue.item_ids(last), map(catalogue.title_of, last), strict=True)),
    )
