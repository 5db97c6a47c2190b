"""Which users a blob names, whatever kind of blob it is: ids in a catalogue's chunk, rows of users in windows.

Read for a proof that nobody's rows are left, so a blob is looked at by what is in it and not by the role it should have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from raie.engine.bytes.json import parse_json
from raie.engine.errors import DamagedArtifact

__all__ = ["Traces", "traces_of"]


@dataclass(frozen=True)
class Traces:
    """Whom a blob names.

    users: external ids by row.  windows: row of a user -> how many windows are that user's.
    """

    users: Mapping[int, str] = field(default_factory=dict)
    windows: Mapping[int, int] = field(default_factory=dict)


def traces_of(data: bytes) -> Traces:
    """Whom a blob names.

    Args:
        data: any bytes.

    Returns:
        Its users; none for bytes that are neither a catalogue's chunk nor hold windows.
    """
    users: dict[int, str] = {}
    windows: Counter[int] = Counter()
    for part in _parts(data):
        if part[:1] == b"{":
            users |= _users(part)
        else:
            windows += _windows(part)
    return Traces(users, dict(windows))


def _parts(data: bytes) -> Iterator[bytes]:
    """The blob, and what is packed in it as bytes."""
    yield data
    if data[:1] == b"{":
        return
    for array in _arrays(data).values():
        if array.dtype == np.uint8 and array.ndim == 1 and len(array) > 1:
            yield from _parts(array.tobytes())


def _arrays(data: bytes) -> Mapping[str, np.ndarray]:
    # The length of the header comes first; other bytes would be taken for one of any size.
    if len(data) < 10 or data[8:9] != b"{":
        return {}
    try:
        arrays: Mapping[str, np.ndarray] = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError):
        return {}
    return arrays


def _users(data: bytes) -> dict[int, str]:
    try:
        value: Any = parse_json(data, "a blob")
    except DamagedArtifact:
        return {}
    ids, first = value.get("users"), value.get("first_user", 0)
    return dict(enumerate(map(str, ids), start=first)) if isinstance(ids, list) and isinstance(first, int) else {}


def _windows(data: bytes) -> Counter[int]:
    arrays = _arrays(data)
    if not {"user", "target"} <= arrays.keys():
        return Counter()
    rows, times = np.unique(arrays["user"], return_counts=True)
    return Counter(dict(zip(rows.tolist(), times.tolist(), strict=True)))
