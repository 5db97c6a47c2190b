"""A snapshot's blobs under names that say where they belong: what an edit needs where there is no registry.

"backbone/config", "space", "shared/catalogue/0", "region/3/lora": a part's place, not its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raie.engine.content import ContentParts
from raie.engine.model import ADAPTER_ROLES, LOG_COUNTS, MIXTURE, ModelView

__all__ = ["Blobs", "named_blobs", "scoring_view", "view_of", "with_parts"]

Blobs = Mapping[str, bytes]
"""Bytes by name."""

_OF_EDITS = frozenset({"watermark", "validation", "holdout", "add_buffer", LOG_COUNTS})
"""Shared roles that no score reads."""
_OF_SCORES = frozenset({"state", LOG_COUNTS, MIXTURE, *ADAPTER_ROLES})
"""Roles of a region that scores read."""


@dataclass(frozen=True)
class _Names:
    """The content of a snapshot whose digests are names."""

    backbone: Mapping[str, str]
    space: str
    shared: Mapping[str, tuple[str, ...]]
    regions: Mapping[int, Mapping[str, str]]


def view_of(blobs: Blobs, backbone_file: Path | None = None) -> ModelView:
    """The snapshot that named blobs are.

    Args:
        blobs: bytes by name.
        backbone_file: the Python file of a backbone of the user's own.

    Returns:
        The snapshot.
    """
    backbone: dict[str, str] = {}
    chunks: dict[str, int] = {}
    regions: dict[int, dict[str, str]] = {}
    for name in blobs:
        match name.split("/"):
            case ["backbone", role]:
                backbone[role] = name
            case ["shared", role, _]:
                chunks[role] = chunks.get(role, 0) + 1
            case ["region", region, role]:
                regions.setdefault(int(region), {})[role] = name
    shared = {role: tuple(f"shared/{role}/{i}" for i in range(n)) for role, n in chunks.items()}
    names = _Names(backbone, "space", shared, regions)
    return ModelView(names, blobs.__getitem__, backbone_file)


def named_blobs(view: ModelView) -> Blobs:
    """The blobs of any snapshot, whatever names or digests its own content knows them by.

    Args:
        view: the snapshot.

    Returns:
        Bytes by name.
    """
    content = view.content
    places: dict[str, Any] = {f"backbone/{role}": digest for role, digest in content.backbone.items()}
    places["space"] = content.space
    for role, digests in content.shared.items():
        places |= {f"shared/{role}/{number}": digest for number, digest in enumerate(digests)}
    for region, entry in content.regions.items():
        places |= {f"region/{region}/{role}": digest for role, digest in entry.items()}
    return {name: view.get(digest) for name, digest in places.items()}


def scoring_view(view: ModelView) -> ModelView:
    """The same snapshot with the bytes of what routes and scores, and no others: it can be pickled.

    Args:
        view: the snapshot.

    Returns:
        The snapshot; what edits alone read raises KeyError.
    """
    content = view.content
    shared = {role: tuple(digests) for role, digests in content.shared.items() if role not in _OF_EDITS}
    regions = {
        region: {role: digest for role, digest in entry.items() if role in _OF_SCORES}
        for region, entry in content.regions.items()
    }
    names = _Names(dict(content.backbone), content.space, shared, regions)
    digests = {*names.backbone.values(), names.space}.union(
        *shared.values(), *(entry.values() for entry in regions.values())
    )
    return ModelView(names, {digest: view.get(digest) for digest in digests}.__getitem__, view.backbone_file)


def with_parts(blobs: Blobs, parts: ContentParts) -> Blobs:
    """The blobs after a setup or an edit; what its parts do not name stays.

    Args:
        blobs: bytes by name.
        parts: what the setup or the edit made.

    Returns:
        Bytes by name.
    """
    gone = tuple(f"region/{region}/" for region in parts.regions)
    after = {name: data for name, data in blobs.items() if not name.startswith(gone)}
    after |= {f"backbone/{role}": data for role, data in parts.backbone.items()}
    after |= {} if parts.space is None else {"space": parts.space}
    for role, data in parts.appended.items():
        after[f"shared/{role}/{sum(name.startswith(f'shared/{role}/') for name in after)}"] = data
    after |= {f"shared/{role}/0": data for role, data in parts.replaced.items()}
    for region, entry in parts.regions.items():
        after |= {f"region/{region}/{role}": data for role, data in entry.items()}
    return after
