"""Named arrays with a header as safetensors bytes that are equal in any process.

safetensors keeps its metadata in a hash map whose order changes from run to run, so the whole header is one
entry of canonical JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from raie_engine.errors import DamagedArtifact

__all__ = ["pack", "unpack"]

Arrays = dict[str, npt.NDArray[Any]]


def pack(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The bytes of a JSON header, which names its `kind`, and of arrays."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"header": text}))


def unpack(data: bytes, kind: str, dtypes: Mapping[str, npt.DTypeLike]) -> tuple[dict[str, Any], Arrays]:
    """The header and the arrays that `pack` wrote.

    Raises: DamagedArtifact for bytes that do not parse, are of another kind, or lack an array or hold another
    type.
    """
    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["header"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedArtifact(
            f"expected the bytes of a {kind}, found some that do not parse ({error}); restore the blob"
        ) from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise DamagedArtifact(f"expected the bytes of a {kind}, found {header!r:.80}")
    wrong = [name for name, dtype in dtypes.items() if name not in arrays or arrays[name].dtype != dtype]
    if wrong or set(arrays) != set(dtypes):
        raise DamagedArtifact(f"expected a {kind} with arrays {sorted(dtypes)}, found {sorted(arrays)}")
    return header, arrays
