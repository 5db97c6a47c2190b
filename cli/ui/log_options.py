"""The options that say how a log is read; a model remembers them from its setup."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from raie.cli.ui.option_groups import with_options
from raie.cli.ui.output import one_line, say

__all__ = [
    "READING",
    "accept_new_ids_option",
    "column_options",
    "given_options",
    "later_log_options",
    "log_argument",
    "log_options",
    "option_words",
    "say_notes",
    "until_option",
]

READING = (
    "user_column",
    "item_column",
    "time_column",
    "rating_column",
    "min_rating",
    "title_column",
    "titles",
    "duplicates",
    "separator",
    "header",
)

# Whether the log can be read is for its reader to say, who refuses one that is not there with the same code.
log_argument = click.argument("log", type=click.Path(readable=False, path_type=str), metavar="LOG")

until_option = click.option(
    "--until",
    metavar="WHEN",
    help="Use rows up to this time: a quantile of the log (0.5), a date (2000-10-27) or epoch seconds.",
)

accept_new_ids_option = click.option(
    "--accept-new-ids",
    is_flag=True,
    help="Accept ids that look like known ids in another spelling, or far fewer known ids than usual, as new.",
)

_SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}


class _Separator(click.ParamType[Any]):
    """A separator by its name, or the character itself."""

    name = "separator"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The character."""
        text = {"\\t": "\t"}.get(str(value), _SEPARATORS.get(str(value), str(value)))
        if len(text) != 1 or text in '\r\n"' or not text.isascii():
            self.fail(f"expected comma, tab, semicolon, pipe or one character, found {value!r}", param, ctx)
        return text


_COLUMNS = (
    click.option("--user-column", metavar="NAME", help="Column of the user ids.  [user_id]"),
    click.option("--item-column", metavar="NAME", help="Column of the item ids.  [item_id]"),
    click.option(
        "--time-column", metavar="NAME", help="Column of the times, epoch seconds or ISO dates.  [timestamp]"
    ),
)
_SEPARATOR = click.option(
    "--separator",
    type=_Separator(),
    metavar="NAME",
    help="Separator of a text file: comma, tab, semicolon, pipe or a character.  [detected from the header]",
)


def _header_option(*, given: bool | None) -> Callable[..., Any]:
    return click.option(
        "--header/--no-header",
        "header",
        default=given,
        help="Whether a text file has a header. Without one, columns are named by number, from 1.",
    )


_OPTIONS = (
    *_COLUMNS,
    click.option("--rating-column", metavar="NAME", help="Column of the ratings."),
    click.option("--min-rating", type=float, metavar="R", help="Leave out interactions rated lower than R."),
    click.option("--title-column", metavar="NAME", help="Column of the items' titles.  [title]"),
    click.option(
        "--titles",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="File of the items' titles, if LOG has none: item_id and title, or MovieLens' movies.dat.",
    ),
    click.option(
        "--duplicates",
        type=click.Choice(["error", "drop", "keep"]),
        default="error",
        show_default=True,
        help="How to treat rows of the same user, item and time.",
    ),
    _SEPARATOR,
    _header_option(given=True),
)
_LATER_OPTIONS = (
    *_COLUMNS,
    click.option(
        "--duplicates",
        type=click.Choice(["error", "drop", "keep"]),
        help="How to treat rows of the same user, item and time.  [as at setup]",
    ),
    _SEPARATOR,
    _header_option(given=None),
)


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of reading a log to a command, which receives them as one mapping, `reading`."""

    @functools.wraps(command)
    def run(
        *arguments: Any,
        user_column: str | None,
        item_column: str | None,
        time_column: str | None,
        rating_column: str | None,
        title_column: str | None,
        titles: Path | None,
        min_rating: float | None,
        duplicates: str,
        separator: str | None,
        header: bool,
        **options: Any,
    ) -> Any:
        columns = {"user": user_column, "item": item_column, "timestamp": time_column, "rating": rating_column}
        columns["title"] = title_column
        if min_rating is not None and rating_column is None:
            columns["rating"] = "rating"
        reading = {
            **columns,
            "min_rating": min_rating,
            "duplicates": duplicates,
            # Absolute, because the next edit may be started somewhere else.
            "titles": None if titles is None else str(titles.resolve()),
            "separator": separator,
            "header": header,
        }
        return command(*arguments, reading=reading, **options)

    return with_options(run, _OPTIONS)


def later_log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a later log to a command, which receives those that differ from setup as `reading`."""

    @functools.wraps(command)
    def run(
        *arguments: Any, user_column: str | None, item_column: str | None, time_column: str | None, **options: Any
    ) -> Any:
        changes = {"user": user_column, "item": item_column, "timestamp": time_column}
        changes |= {name: options.pop(name) for name in ("duplicates", "separator", "header")}
        given = {name: value for name, value in changes.items() if value is not None}
        return command(*arguments, reading=given, **options)

    return with_options(run, _LATER_OPTIONS)


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of columns and separators to a command, which hands them on with `option_words`."""
    return with_options(command, (*_COLUMNS, _SEPARATOR, _header_option(given=None)))


def option_words(options: Mapping[str, str | bool | None]) -> list[str]:
    """Those of `column_options` that were given, as words of a command line."""
    words = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append("--header" if value else "--no-header")
        elif value is not None:
            words += [f"--{name.replace('_', '-')}", value]
    return words


def say_notes(lines: Iterable[str]) -> None:
    """Print on stderr how a log was read, and what a person should know of it."""
    for line in lines:
        say(f"note: {one_line(line)}", err=True)


def given_options(names: Sequence[str]) -> list[str]:
    """The options of the current command that were typed.

    Args:
        names: Parameters of the command.

    Returns:
        Those that the command line gives, with their dashes.
    """
    context, typed = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    return [f"--{name.replace('_', '-')}" for name in names if context.get_parameter_source(name) is typed]
