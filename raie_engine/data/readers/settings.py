"""How a model's logs are read; decided at its setup and stored with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.files import Reading

__all__ = ["LogSettings"]


@dataclass(frozen=True)
class LogSettings:
    """Column names, the least rating that counts, what to do with repeated rows ("error", "drop" or "keep"), the file of
    the items' titles, if there is one beside the log, and how a file of text is cut: its separator, None to look for it,
    and whether it has a header.
    """

    columns: Columns = field(default_factory=Columns)
    min_rating: float | None = None
    duplicates: str = "error"
    titles: str | None = None
    separator: str | None = None
    header: bool = True

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; how a file is cut only where it was said, so that models without it keep their bytes."""
        values = dataclasses.asdict(self)
        unsaid = {"separator": None, "header": True}
        return {name: value for name, value in values.items() if name not in unsaid or value != unsaid[name]}

    def changed(self, **changes: Any) -> LogSettings:
        """The same with these fields changed; those of `Columns` may stand beside them. What is None stays as it is.

        Returns:
            The settings.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        columns = {name: given.pop(name) for name in list(given) if name in vars(self.columns)}
        return dataclasses.replace(self, columns=dataclasses.replace(self.columns, **columns), **given)

    def as_read(self, reading: Reading | None) -> LogSettings:
        """The same with what was found in a log, for the logs that follow it.

        Args:
            reading: of the first log; None for none.

        Returns:
            The settings.
        """
        if reading is None:
            return self
        titles = self.titles if reading.titles is None else str(reading.titles.resolve())
        return dataclasses.replace(self, columns=reading.columns, titles=titles)
