"""What users did last, from a log, a mapping or a DataFrame, as the contexts that a snapshot recommends after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raie.engine.data.windows import Windows, last_windows
from raie.engine.errors import InputError
from raie.engine.model import ModelView
from raie.logs.log_reading import read_later_log

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Histories", "Source", "from_items", "from_log", "histories"]

Source = "DataFrame | Mapping[str, Sequence[str]] | str | Path"
"""Rows of a log, user -> item ids with the oldest first, or the path of a log."""


@dataclass(frozen=True, eq=False)
class Histories:
    """The end of each user's history.

    Attributes:
        users: External ids; None for a history of nobody in particular.
        windows: One context per user, its oldest item first.
        ignored: How many items of each user the snapshot does not know.
    """

    users: tuple[str | None, ...]
    windows: Windows
    ignored: tuple[int, ...]


def histories(
    view: ModelView,
    source: DataFrame | Mapping[str, Sequence[str]] | str | Path,
    users: Sequence[str] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Histories:
    """The histories of a source of any kind.

    Args:
        view: The snapshot whose catalogue counts.
        source: A log's path, a DataFrame with columns of users, items and, where there are some, times, or a mapping of
            users to item ids, the oldest first.
        users: The users wanted; None for all.
        reading: For a log: options that differ from the setup's.

    Raises:
        InputError: A user without a row, or without an item that the snapshot knows where it has no mixture, or columns
            that are not there.
    """
    if isinstance(source, str | Path):
        return from_log(view, Path(source), users, reading)
    events = source if isinstance(source, Mapping) else _by_user(view, source)
    pairs = {str(user): history for user, history in events.items()}
    wanted = list(pairs) if users is None else list(users)
    _require_rows(user for user in wanted if not len(pairs.get(user, ())))
    return _of_ids(view, {user: pairs[user] for user in wanted})


def from_items(view: ModelView, items: Sequence[str]) -> Histories:
    """One history of nobody in particular; raises UnknownItem for an item that no log has held."""
    rows = view.catalogue.item_rows(list(items))
    return Histories((None,), last_windows([rows], view.settings.engine.windows.length), (0,))


def from_log(
    view: ModelView, log: Path, users: Sequence[str] | None, reading: Mapping[str, Any] | None = None
) -> Histories:
    """The known items of the users of a log, all of them where None are named.

    Raises:
        InputError: Users without a row in the log, or, where the snapshot has no mixture, without an item that it knows;
            all of them at once.
    """
    interactions = read_later_log(view, log, reading)
    present = [interactions.catalogue.users[row] for row in np.unique(interactions.user)]
    wanted = present if users is None else list(users)
    there = set(present)
    if absent := [user for user in wanted if user not in there]:
        least = view.settings.log.min_rating
        rated = "" if least is None else f" rated {least:g} or more"
        raise InputError(
            f"expected every --user to have a row{rated} in {log}, found none of {_named(absent)}: check the ids, which "
            "are compared as text, or give a log that holds them"
        )
    rows = _rows_of(interactions.user, interactions.catalogue.user_rows(wanted))
    limit = len(view.backbone.item_table())
    known = [mine[interactions.item[mine] < limit] for mine in rows]
    _require_known(view, wanted, known, f" in {log}")
    windows = last_windows(
        [interactions.item[mine] for mine in known],
        view.settings.engine.windows.length,
        [interactions.timestamp[mine] for mine in known],
    )
    return Histories(tuple(wanted), windows, tuple(len(a) - len(b) for a, b in zip(rows, known, strict=True)))


def _rows_of(owner: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """The rows of each wanted user in their order in time; owner: [n] users by row."""
    order = np.argsort(owner, kind="stable")
    start, stop = (np.searchsorted(owner[order], wanted, side=side) for side in ("left", "right"))
    return [order[first:last] for first, last in zip(start, stop, strict=True)]


def _of_ids(view: ModelView, events: Mapping[str, Sequence[Any]]) -> Histories:
    """Histories of item ids, or of (item id, epoch seconds)."""
    items = set(view.catalogue.items)
    rows, times, ignored = [], [], []
    for history in events.values():
        known = [event for event in map(_event, history) if event[0] in items]
        rows.append(view.catalogue.item_rows([item for item, _ in known]))
        times.append([at for _, at in known])
        ignored.append(len(history) - len(known))
    _require_known(view, list(events), rows, "")
    timed = all(at is not None for history in times for at in history)
    windows = last_windows(rows, view.settings.engine.windows.length, times if timed and times else None)  # type: ignore[arg-type]
    return Histories(tuple(events), windows, tuple(ignored))


def _event(value: Any) -> tuple[str, int | None]:
    return (str(value[0]), int(value[1])) if isinstance(value, tuple) else (str(value), None)


def _by_user(view: ModelView, frame: DataFrame) -> dict[str, list[Any]]:
    """The items of each user of a DataFrame, by time where it has times and in the order of its rows where not."""
    named = view.settings.log.columns
    user, item = (
        _column(frame, "users", named.user, "user_id", "user"),
        _column(frame, "items", named.item, "item_id", "item"),
    )
    time = next((name for name in (named.timestamp, "timestamp", "time") if name in frame.columns), None)
    if time is None:
        events = list(frame[item])
    else:
        seconds = _epoch_seconds(frame[time])
        frame = frame.assign(**{time: seconds}).sort_values(time, kind="stable")
        events = list(zip(frame[item], frame[time], strict=True))
    by_user: dict[str, list[Any]] = {}
    for who, event in zip(frame[user], events, strict=True):
        by_user.setdefault(str(who), []).append(event)
    return by_user


def _column(frame: DataFrame, what: str, *names: str) -> str:
    for name in names:
        if name in frame.columns:
            return name
    raise InputError(
        f"expected a column of {what}, {' or '.join(dict.fromkeys(names))}, found {', '.join(map(str, frame.columns))}: "
        "rename it"
    )


def _epoch_seconds(times: Series) -> Series:
    """Numbers are epoch seconds already; everything else is a time, in UTC where it has no zone."""
    import pandas

    if pandas.api.types.is_numeric_dtype(times):
        return times.astype("int64")
    return pandas.to_datetime(times, utc=True).dt.as_unit("s").astype("int64")


def _require_rows(users: Iterable[str]) -> None:
    if absent := list(users):
        raise InputError(
            f"expected every user to have a row, found none of {_named(absent)}: leave them out, or check the ids, which "
            "are compared as text"
        )


def _require_known(
    view: ModelView, users: Sequence[str], known: Sequence[np.ndarray | Sequence[int]], where: str
) -> None:
    """Raises InputError where nothing says what users get of whom no item is known."""
    strange = [user for user, mine in zip(users, known, strict=True) if not len(mine)]
    if strange and not view.mixtures:
        raise InputError(
            f"expected every user to have an item{where} that the snapshot knows, found none of {_named(strange)}: leave "
            "them out, or learn their items by an edit on a log that holds them; a model that is set up today recommends "
            "what is popular then"
        )


def _named(users: Sequence[str]) -> str:
    return ", ".join(f"{user!r:.80}" for user in dict.fromkeys(users))
