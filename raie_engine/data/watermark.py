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
    """

    timestamp: int
    rows: int

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps({"rows": self.rows, "timestamp": self.timestamp}, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Watermark:
        """The inverse of `to_bytes`.

        Raises: DamagedArtifact for bytes that are no watermark.
        """
        values = parse_json(data, "a watermark")
        try:
            return Watermark(timestamp=int(values["timestamp"]), rows=int(values["rows"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedArtifact(
                f"expected a watermark as JSON, found bytes that are not one: {error!r}"
            ) from error
