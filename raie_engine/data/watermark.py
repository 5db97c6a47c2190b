"""How far a log was consumed; read without a numerical library, so that a look at a model needs none."""

from __future__ import annotations

import json
from dataclasses import dataclass

from raie.engine.bytes.json import parse_json
from raie.engine.errors import DamagedArtifact

__all__ = ["Watermark"]


@dataclass(frozen=True)
class Watermark:
    """How far a log has been consumed.

    timestamp: everything up to and including it (epoch seconds UTC).  rows: how many rows that was at the time.
    train_until: what came after it has only validated so far, and is for the next edit to train on; None where nothing
    is left to train on.
    """

    timestamp: int
    rows: int
    train_until: int | None = None

    @property
    def trained(self) -> int:
        """The next edit trains on what came after it."""
        return self.timestamp if self.train_until is None else self.train_until

    def to_mapping(self) -> dict[str, int]:
        """Plain values, without what is None."""
        values = {"rows": self.rows, "timestamp": self.timestamp, "train_until": self.train_until}
        return {name: value for name, value in values.items() if value is not None}

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(self.to_mapping(), separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Watermark:
        """The inverse of `to_bytes`.

        Raises: DamagedArtifact for bytes that are no watermark.
        """
        values = parse_json(data, "a watermark")
        try:
            until = values.get("train_until")
            return Watermark(
                timestamp=int(values["timestamp"]),
                rows=int(values["rows"]),
                train_until=None if until is None else int(until),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedArtifact(
                f"expected a watermark as JSON, found bytes that are not one: {error!r}"
            ) from error
