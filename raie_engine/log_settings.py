"""How a model's logs are read; decided at its set-up and stored with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from raie_engine.interactions import Columns

__all__ = ["LogSettings"]


@dataclass(frozen=True)
class LogSettings:
    """Column names, the least rating that counts, what to do with repeated rows ("error", "drop" or "keep"), and the
    file of the items' titles, if there is one beside the log.
    """

    columns: Columns = field(default_factory=Columns)
    min_rating: float | None = None
    duplicates: str = "error"
    titles: str | None = None
