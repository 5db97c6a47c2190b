"""The Add buffer: pending windows, which belong to no region, stay here from edit to edit until they can form one.

Legend: m pending windows, d dimensions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Floats
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.data.windows import Windows, concatenate, last_windows
from raie.engine.errors import DamagedArtifact, InputError, WrongBackbone

__all__ = ["AddBuffer"]


@dataclass(frozen=True, eq=False)
class AddBuffer:
    """windows: m of them; vectors float32 [m, d], where they lie in the routing space of this digest.

    The vectors are kept as they were: the backbone is frozen, so encoding the windows again would give them again.
    """

    windows: Windows
    vectors: Floats
    space: str

    def __post_init__(self) -> None:
        if len(self.windows) != len(self.vectors):
            raise InputError(
                f"expected one vector per window, found {len(self.vectors)} vectors, {len(self.windows)} windows"
            )

    def __len__(self) -> int:
        return len(self.windows)

    @classmethod
    def empty(cls, length: int, dimensions: int, space: str, *, times: bool = False) -> AddBuffer:
        """A buffer that holds nothing.

        Args:
            length: context items of its windows.
            dimensions: d of its vectors.
            space: digest of the routing space.
            times: whether its windows hold times.

        Returns:
            The buffer.
        """
        windows = last_windows((), length, () if times else None)
        return cls(windows, np.zeros((0, dimensions), np.float32), space)

    def take(self, rows: npt.NDArray[Any]) -> AddBuffer:
        """The windows of these rows (indices or mask).

        Args:
            rows: indices, mask or slice.

        Returns:
            The buffer.
        """
        return AddBuffer(self.windows.take(rows), self.vectors[rows], self.space)

    def extended(self, later: AddBuffer) -> AddBuffer:
        """These windows, then the later ones.

        Args:
            later: a buffer of the same space.

        Returns:
            The buffer.

        Raises:
            WrongBackbone: when the spaces differ.
        """
        if later.space != self.space:
            raise WrongBackbone(
                f"expected pending windows of routing space {self.space[:12]}, found {later.space[:12]}"
            )
        windows = concatenate([self.windows, later.windows])
        return AddBuffer(windows, np.concatenate([self.vectors, later.vectors]), self.space)

    def to_bytes(self) -> bytes:
        """Lossless bytes, equal in any process."""
        inner = np.frombuffer(self.windows.to_bytes(), np.uint8)
        return pack({"kind": "add_buffer", "space": self.space}, {"vectors": self.vectors, "windows": inner})

    @classmethod
    def from_bytes(cls, data: bytes) -> AddBuffer:
        """The buffer that `to_bytes` wrote.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        dtypes = {"vectors": np.float32, "windows": np.uint8}
        header, arrays = unpack(data, "add_buffer", dtypes, {"vectors": "md", "windows": "b"})
        windows = Windows.from_bytes(arrays["windows"].tobytes())
        if len(windows) != len(arrays["vectors"]):
            raise DamagedArtifact("expected one vector per pending window; restore the blob")
        return cls(windows, arrays["vectors"], str(header.get("space")))

    @cached_property
    def digest(self) -> str:
        """sha256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()
