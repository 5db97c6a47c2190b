"""Titles of items: from a file of items beside the log, or from a column of the log itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raie_engine.errors import InputError
from raie_engine.log_files import Columns, id_codes, read_table

__all__ = ["read_titles"]


def read_titles(path: str | Path, columns: Columns) -> dict[str, str]:
    """External item id -> title. Of several rows of one item the first counts; an item without a title is left out.

    path: CSV, Parquet or JSONL with the columns of items and titles, or MovieLens' movies.dat.

    Raises: InputError for a file that is missing, of an unknown kind or broken, or has no such columns.
    """
    path = Path(path)
    if path.suffix.lower() == ".dat" and path.is_file():
        return _movies(path)
    table = read_table(path, {"item": columns.item, "title": columns.title or "title"})
    codes = id_codes(table["item"], f"{path}: {columns.item}", "item")
    items, rows = np.unique(codes.codes, return_index=True)  # the first row of each item that has one
    titles = [str(title or "").strip() for title in table["title"].take(rows).to_pylist()]
    return {codes.texts[item]: title for item, title in zip(items.tolist(), titles, strict=True) if title}


def _movies(path: Path) -> dict[str, str]:
    """movies.dat has no header: id::title::genres, in Latin-1."""
    rows = [line.split("::") for line in path.read_text(encoding="latin-1").splitlines() if line]
    if not all(len(row) == 3 for row in rows):
        raise InputError(
            f"{path}: expected lines of item::title::genres, found others; give CSV, Parquet or JSONL"
        )
    first = {item: title.strip() for item, title, _ in reversed(rows)}
    return {item: title for item, title in first.items() if title}
