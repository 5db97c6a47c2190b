"""The routing space: where windows are compared, after what all encodings share has been taken out.

z = normalise(P (e - m)), with e a window's encoding by the frozen backbone, m the mean setup encoding and
P the projection off the top principal components. Without the mean taken out all windows look alike and the
decisions are noise. A space belongs to one backbone, and vectors of two spaces are never compared.
Legend: n windows, d dimensions, c removed components.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raie.engine.arrays import Floats
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.errors import InputError, NotFinite, WrongBackbone
from raie.engine.regions.kmeans import CHUNK

__all__ = ["RoutingSpace", "fit_space"]

LEAST_SPREAD = 1e-6
"""Of a norm: what an encoding differs from the mean by less than that is rounding, and no direction."""


@dataclass(frozen=True, eq=False)
class RoutingSpace:
    """mean float32 [d]; components float32 [c, d], orthonormal; backbone_digest: whose encodings these are for."""

    mean: Floats
    components: Floats
    backbone_digest: str

    def project(self, encodings: Floats) -> Floats:
        """Encodings as unit vectors; an encoding equal to the mean has no direction and stays zero.

        Args:
            encodings: float32 [n, d].

        Returns:
            float32 [n, d].

        Raises:
            WrongBackbone: for another number of dimensions.
            NotFinite: with the number of bad rows.
        """
        d = len(self.mean)
        if encodings.ndim != 2 or encodings.shape[1] != d:
            raise WrongBackbone(f"expected encodings [n, {d}] of this space's backbone, found {encodings.shape}")
        _require_finite(encodings)
        vectors = np.empty(encodings.shape, np.float32)
        for start in range(0, len(encodings), CHUNK):
            block = encodings[start : start + CHUNK].astype(np.float64) - self.mean
            block -= (block @ self.components.T) @ self.components
            norms = np.linalg.norm(block, axis=1, keepdims=True)
            floor = LEAST_SPREAD * max(float(np.linalg.norm(self.mean)), 1e-20)
            vectors[start : start + CHUNK] = np.where(norms > floor, block / np.maximum(norms, floor), 0.0)
        return vectors

    def require_backbone(self, digest: str) -> None:
        """Checks that encodings come from the backbone that the space was fitted on.

        Args:
            digest: of the backbone.

        Raises:
            WrongBackbone: for another one.
        """
        if digest != self.backbone_digest:
            raise WrongBackbone(
                f"expected encodings of backbone {self.backbone_digest[:12]}, found backbone {digest[:12]}; "
                "use the backbone of this snapshot"
            )

    def to_bytes(self) -> bytes:
        """Lossless bytes, equal in any process."""
        header = {"kind": "routing_space", "backbone": self.backbone_digest}
        return pack(header, {"mean": self.mean, "components": self.components})

    @property
    def dimensions(self) -> int:
        """d."""
        return len(self.mean)

    @classmethod
    def from_bytes(cls, data: bytes) -> RoutingSpace:
        """The space that `to_bytes` wrote.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        dtypes = {"mean": np.float32, "components": np.float32}
        header, arrays = unpack(data, "routing_space", dtypes, {"mean": "d", "components": "cd"})
        return cls(arrays["mean"], arrays["components"], str(header.get("backbone")))

    @cached_property
    def digest(self) -> str:
        """sha256 of `to_bytes`: the name under which region maps and buffers refer to this space."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def fit_space(encodings: Floats, remove_components: int, backbone_digest: str) -> RoutingSpace:
    """The routing space of setup encodings.

    Args:
        encodings: float32 [n, d].
        remove_components: principal components to take out.
        backbone_digest: whose encodings these are.

    Returns:
        The space.

    Raises:
        NotFinite: with the number of bad rows.
        InputError: for no window or too many components.

    Source: Mu and Viswanath, "All-but-the-Top" (ICLR 2018), for taking out the mean and the top components.

    Departs from the paper: arXiv 2603.00638 clusters raw normalised encodings.
    """
    n, d = encodings.shape
    if n < 1 or not 0 <= remove_components < min(n, d):
        raise InputError(
            f"expected at least one window and fewer than min(n, d) removed components, "
            f"found n = {n}, d = {d}, regions.remove_components = {remove_components}"
        )
    _require_finite(encodings)
    mean = encodings.mean(axis=0, dtype=np.float64)
    if np.linalg.norm(encodings - mean, axis=1).max() <= LEAST_SPREAD * np.linalg.norm(mean):
        mean = np.zeros(d)  # of one encoding alone, taking out the mean would leave no direction
    components = np.empty((0, d))
    if remove_components:
        scatter = np.zeros((d, d))
        for start in range(0, n, CHUNK):
            block = encodings[start : start + CHUNK].astype(np.float64) - mean
            scatter += block.T @ block
        components = np.linalg.eigh(scatter)[1][:, ::-1][:, :remove_components].T  # [c, d], largest first
    return RoutingSpace(mean.astype(np.float32), np.ascontiguousarray(components, np.float32), backbone_digest)


def _require_finite(encodings: Floats) -> None:
    bad = int((~np.isfinite(encodings).all(axis=1)).sum())
    if bad:
        raise NotFinite(
            f"expected finite encodings, found NaN or infinity in {bad} of {len(encodings)} windows; "
            "check that the backbone's training did not diverge"
        )
