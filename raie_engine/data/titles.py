"""Titles of items: from a file of items beside the log, or from a column of the log itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.files import Read, read_table
from raie.engine.data.readers.ids import id_codes
from raie.engine.data.readers.sources import kind_of
from raie.engine.errors import InputError

__all__ = ["read_titles", "titles_beside"]

_ATOMIC = (".inter", ".item")
# What RecBole's data sets call the title of an item.
_ATOMIC_TITLES = ("title", "movie_title", "item_name", "name")


def titles_beside(log: Path, columns: Columns) -> Path | None:
    """RecBole's .item file with titles beside an .inter log; None for any other log, and where there is none.

    Args:
        log: the file.
        columns: names of the columns by role.

    Returns:
        The file.
    """
    beside = log.with_suffix(".item")
    if kind_of(log) != _ATOMIC[0] or not beside.is_file():
        return None
    try:
        _title_table(beside, columns)
    except InputError:
        return None  # it holds other things than titles, which nobody asked for
    return beside


def read_titles(path: str | Path, columns: Columns) -> dict[str, str]:
    """External item id -> title. Of several rows of one item the first counts; an item without a title is left out.

    Args:
        path: CSV, Parquet or JSONL with the columns of items and titles, RecBole's .item, or MovieLens' movies.dat.
        columns: names of the columns by role.

    Returns:
        Titles by external id.

    Raises:
        InputError: for a file that is missing, of an unknown kind or broken, or has no such columns.
    """
    path = Path(path)
    if path.suffix.lower() == ".dat" and path.is_file():
        return _movies(path)
    read = _title_table(path, columns)
    table = read.table
    codes = id_codes(table["item"], f"{path}: {columns.item}", "item", blanks=read.matched.blanks)
    items, rows = np.unique(codes.codes, return_index=True)  # the first row of each item that has one
    titles = [str(title or "").strip() for title in table["title"].take(rows).to_pylist()]
    return {codes.texts[item]: title for item, title in zip(items.tolist(), titles, strict=True) if title}


def _title_table(path: Path, columns: Columns) -> Read:
    """The items and their titles; of RecBole's file under any name that its data sets give them."""
    names = (columns.title,) if columns.title or kind_of(path) not in _ATOMIC else _ATOMIC_TITLES
    for name in names[:-1]:
        try:
            return read_table(path, {"item": columns.item, "title": str(name)})
        except InputError:
            continue  # the last name's error is the one to show
    return read_table(path, {"item": columns.item, "title": names[-1] or "title"})


def _movies(path: Path) -> dict[str, str]:
    """movies.dat has no header: id::title::genres, in Latin-1."""
    rows = [line.split("::") for line in path.read_text(encoding="latin-1").splitlines() if line]
    if not all(len(row) == 3 for row in rows):
        raise InputError(
            f"{path}: expected lines of item::title::genres, found others; give CSV, Parquet or JSONL"
        )
    first = {item: title.strip() for item, title, _ in reversed(rows)}
    return {item: title for item, title in first.items() if title}
