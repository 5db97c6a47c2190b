"""A value that somebody may choose, and where it comes from: an option, the environment, raie.toml, or the built-in one.

An option comes before the environment, the environment before the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Origin", "Setting", "chosen", "from_options", "table_settings"]


class Origin(StrEnum):
    """Who chose a value."""

    OPTION = "option"
    ENVIRONMENT = "environment"
    FILE = "raie.toml"
    BUILT_IN = "built in"


@dataclass(frozen=True)
class Setting:
    """One value in force.

    value: never printed by repr, because a database's URL may hold a password.
    origin: who chose it.
    name: the option, the variable or the key under which it was chosen or may be.
    """

    value: Any = field(repr=False)
    origin: Origin
    name: str


def chosen(key: str, table: Mapping[str, Any], built_in: Any, *, name: str = "", variable: str = "") -> Setting:
    """The value of one key, not yet checked.

    Args:
        key: The key in `table`.
        table: A table of raie.toml.
        built_in: The value where nobody chose one.
        name: The key as the whole file spells it, where `table` is a part of it.
        variable: The variable of the environment that comes before the file; an empty one counts as none.

    Returns:
        The setting with its origin.
    """
    if variable and (value := os.environ.get(variable)):
        return Setting(value, Origin.ENVIRONMENT, variable)
    origin = Origin.FILE if key in table else Origin.BUILT_IN
    return Setting(table.get(key, built_in), origin, name or key)


def table_settings(table: Mapping[str, Any], in_force: Mapping[str, Any], prefix: str) -> dict[str, Setting]:
    """Every option of a nested table, as dotted names.

    Args:
        table: What raie.toml chooses.
        in_force: Every option with its value, those that `table` chooses among them.
        prefix: The name of the table with a dot behind it, such as `engine.`.

    Returns:
        Dotted name -> setting, in the order of `in_force`.
    """
    settings: dict[str, Setting] = {}
    for key, value in in_force.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            settings |= table_settings(table.get(key, {}), value, f"{name}.")
        else:
            settings[name] = Setting(value, Origin.FILE if key in table else Origin.BUILT_IN, name)
    return settings


def from_options(settings: Mapping[str, Setting], options: Iterable[tuple[str, str, Any]]) -> dict[str, Setting]:
    """The settings with the options of a command line laid over them.

    Args:
        settings: Dotted name -> setting.
        options: (dotted name, the option as it is typed, its value); a value of None was not given.

    Returns:
        A new mapping; the given one stays as it is.
    """
    given = {name: Setting(value, Origin.OPTION, option) for name, option, value in options if value is not None}
    return {**settings, **given}
