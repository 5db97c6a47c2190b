"""Named arrays with a header as safetensors bytes that are equal in any process.

safetensors keeps its metadata in a hash map whose order changes from run to run, so the whole header is one
entry of canonical JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from raie.engine.bytes.json import parse_json
from raie.engine.errors import DamagedArtifact

__all__ = ["Axes", "load_arrays", "pack", "unpack"]

Arrays = dict[str, npt.NDArray[Any]]
Axes = Mapping[str, str]
"""Name -> a letter per axis, the same letter for axes of one size, or a digit for the size itself."""
NO_AXES: Axes = {}


def pack(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The bytes of a JSON header, which names its `kind`, and of arrays.

    Args:
        header: JSON values, with a `kind`.
        arrays: by name.

    Returns:
        Bytes that are equal in any process.
    """
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"header": text}))


def unpack(
    data: bytes,
    kind: str,
    dtypes: Mapping[str, npt.DTypeLike],
    axes: Axes = NO_AXES,
    optional: Collection[str] = (),
) -> tuple[dict[str, Any], Arrays]:
    """The header and the arrays that `pack` wrote.

    Args:
        data: the stored bytes.
        kind: the kind that the header names.
        dtypes: by array name.
        axes: by array name, see Axes.
        optional: names that may be absent.

    Returns:
        The header, and the arrays by name.

    Raises:
        DamagedArtifact: for bytes that do not parse, are of another kind, or hold other arrays.
    """
    arrays = load_arrays(data, f"the bytes of a {kind}", dtypes, axes, optional)
    length = int.from_bytes(data[:8], "little")
    try:
        text = parse_json(data[8 : 8 + length], f"the header of a {kind}")["__metadata__"]["header"]
        header = parse_json(text, f"the header of a {kind}")
    except (KeyError, TypeError) as error:
        raise DamagedArtifact(
            f"expected the bytes of a {kind}, found some without a header ({error}); restore the blob"
        ) from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise DamagedArtifact(f"expected the bytes of a {kind}, found {header!r:.80}")
    return header, arrays


def load_arrays(
    data: bytes,
    what: str,
    dtypes: Mapping[str, npt.DTypeLike],
    axes: Axes = NO_AXES,
    optional: Collection[str] = (),
) -> Arrays:
    """The arrays of a safetensors file; no more memory is taken than the bytes themselves hold.

    Args:
        data: the stored bytes.
        what: what it should be, for the message.
        dtypes: by array name.
        axes: by array name, see Axes.
        optional: names that may be absent.

    Returns:
        The arrays by name.

    Raises:
        DamagedArtifact: for bytes that do not parse, and for arrays of other names, types or axes.
    """
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedArtifact(
            f"expected {what}, found bytes that do not parse ({error!s:.200}); restore the blob"
        ) from error
    wrong = [name for name, array in arrays.items() if name not in dtypes or array.dtype != dtypes[name]]
    if wrong or dtypes.keys() - arrays.keys() - set(optional):
        raise DamagedArtifact(f"expected {what} with arrays {sorted(dtypes)}, found {sorted(arrays)!s:.200}")
    shapes = {name: arrays[name].shape for name in axes if name in arrays}
    if not _agree(shapes, axes):
        wanted = ", ".join(f"{name} [{', '.join(letters)}]" for name, letters in axes.items())
        raise DamagedArtifact(f"expected {what} with shapes {wanted}; found {shapes!s:.200}; restore the blob")
    return arrays


def _agree(shapes: Mapping[str, tuple[int, ...]], axes: Axes) -> bool:
    """Whether every array has its axes, and axes of one letter have one size."""
    if any(len(shape) != len(axes[name]) for name, shape in shapes.items()):
        return False
    pairs = [pair for name, shape in shapes.items() for pair in zip(axes[name], shape, strict=True)]
    sizes = {letter: int(letter) if letter.isdigit() else size for letter, size in pairs}
    return all(size == sizes[letter] for letter, size in pairs)
