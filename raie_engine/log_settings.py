"""How a model's logs are read; decided at its set-up and stored with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from raie_engine.interactions import Columns

__all__ = ["LogSettings"]


@dataclass(frozen=True)
class LogSettings:
    """Column names, the least rating that counts, and what to do with repeated rows: "error", "drop" or "keep"."""

    columns: Columns = field(default_factory=Columns)
    min_rating: float | None = None
    duplicates: str = "error"
