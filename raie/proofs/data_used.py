"""Which data a snapshot learned from: the log of its setup and of each edit since, with digest, rows and time range.

The database says which edits led to a snapshot. How many rows an edit took, and of which time, is in the watermarks of
its snapshot and of that one's parent, which lie in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raie.engine.errors import DamagedArtifact
from raie.logs.learned import learned_range
from raie.registry import BlobCorrupt, BlobMissing, Edit, Registry, Snapshot, lineage
from raie.registry.edits.undone import undone_edits
from raie.registry.events.openlineage import DataRange

__all__ = ["DataOfEdit", "LearnedFrom", "data_of_edits", "learned_from"]


@dataclass(frozen=True)
class DataOfEdit:
    """The data of one edit; rows: None where the watermarks that say it are no longer kept, or it read no log."""

    edit: Edit
    rows: DataRange | None


@dataclass(frozen=True)
class LearnedFrom:
    """The edits that a snapshot rests on, by number.

    Attributes:
        edits: Those with data.
        rolled_back: Edit of them -> the edit in its history that took it back.
    """

    edits: tuple[int, ...]
    rolled_back: Mapping[int, int]


def learned_from(registry: Registry, snapshots: Sequence[Snapshot]) -> dict[str, LearnedFrom]:
    """The edits with data that some snapshots of one model rest on: of their history and of each region's version.

    Args:
        registry: Where the model lives.
        snapshots: Of one model.

    Returns:
        Snapshot -> its edits.
    """
    if not snapshots:
        return {}
    model = snapshots[0].model
    with_data = {edit.number for edit in registry.edits(model) if edit.data_digest is not None}
    histories = registry.histories(model, *(snapshot.id for snapshot in snapshots))
    learned = {}
    for snapshot, landed in zip(snapshots, histories, strict=True):
        # A cherry-picked region comes from an edit that is not in the snapshot's own history.
        versions = {version.edit for version in lineage.versions_in(registry, snapshot).values()}
        numbers = ({edit.number for edit in landed} | versions) & with_data
        undone = {number: by for number, by in undone_edits(landed).items() if number in numbers - versions}
        learned[snapshot.id] = LearnedFrom(tuple(sorted(numbers)), dict(sorted(undone.items())))
    return learned


def data_of_edits(registry: Registry, model: str, numbers: Iterable[int]) -> tuple[DataOfEdit, ...]:
    """The data of some committed edits.

    Args:
        registry: Where the model lives.
        model: Its name.
        numbers: Of the edits.

    Returns:
        One entry for each, by number.

    Raises:
        NotFound: There is no such edit.
        StoreUnreachable: The store does not answer.
    """
    edits = [registry.edit(model, number) for number in sorted(set(numbers))]
    return tuple(DataOfEdit(edit, _rows(registry, edit)) for edit in edits)


def _rows(registry: Registry, edit: Edit) -> DataRange | None:
    if edit.result is None or edit.data_digest is None:
        return None
    made = lineage.find(registry, edit.model, edit.result)
    parent = None if made.parent is None else lineage.find(registry, edit.model, made.parent)
    try:
        return learned_range(registry, made.content, None if parent is None else parent.content)
    except (BlobMissing, BlobCorrupt, DamagedArtifact):
        return None
