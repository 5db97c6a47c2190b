"""NaN is refused where bytes become tensors: one in a weight turns every score it reaches into the best or the worst."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from raie.engine.errors import NotFinite

__all__ = ["require_finite"]


def require_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Checks tensors that came from bytes.

    Args:
        tensors: by name.
        what: the thing, for the message.

    Raises:
        NotFinite: naming the first that holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise NotFinite(
                f"expected finite numbers in {what}, found NaN or infinity in {name}; go back to a snapshot before it"
            )
