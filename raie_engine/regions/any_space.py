"""Either kind of space in which windows are compared, and how stored bytes are read as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from raie.engine.arrays import Floats
from raie.engine.data.windows import Windows
from raie.engine.errors import DamagedArtifact
from raie.engine.regions.item_space import ItemSpace
from raie.engine.regions.space import RoutingSpace

__all__ = ["Space", "read_space", "vectors_in"]

Space: TypeAlias = ItemSpace | RoutingSpace


def vectors_in(space: Space, windows: Windows, encode: Callable[[Windows], Floats]) -> Floats:
    """Where the contexts of windows lie in a space.

    Args:
        space: of a snapshot.
        windows: n of them.
        encode: the encodings [n, d] of windows by the frozen backbone, for a space that compares those.

    Returns:
        float32 [n, d], of norm 1.
    """
    return space.vectors(windows) if isinstance(space, ItemSpace) else space.project(encode(windows))


def read_space(data: bytes) -> Space:
    """The space that its `to_bytes` wrote.

    Args:
        data: the stored bytes.

    Returns:
        The value that was stored.

    Raises:
        DamagedArtifact: for bytes that hold neither kind.
    """
    try:
        return ItemSpace.from_bytes(data)
    except DamagedArtifact:
        return RoutingSpace.from_bytes(data)
