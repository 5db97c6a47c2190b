"""Every value in force, as it may be shown, and where it comes from: `raie config show`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.configuration.settings import Origin, Setting
from raie.registry.db.shown_url import shown
from raie.workspace import FILE_NAME
from raie.workspace_file import all_settings

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["HIDDEN_TEXT", "ShownSetting", "key_lines", "shown_settings"]

HIDDEN_TEXT = "set, hidden"

_OF_THE_ENVIRONMENT = ("RAIE_ALIAS", "RAIE_ALIAS_INTERVAL", "RAIE_SIGNING_KEY", "RAIE_TRUST_WORKSPACE")
_SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
    "RAIE_SIGNING_PASSPHRASE",
)
_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*\]\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")


@dataclass(frozen=True)
class ShownSetting:
    """One value in force.

    Attributes:
        name: Dotted, as raie.toml spells it; the variable's name for what only the environment has.
        value: As it may be shown: secrets are `***`, or the whole value is HIDDEN_TEXT.
        hidden: Whether something of the value is not shown.
        origin: Who chose it.
        source: The option, the variable, the file with its line, or "".
        line: Of raie.toml, counted from 1; None where it is not in it, or not on a line of its own.
    """

    name: str
    value: Any
    hidden: bool
    origin: Origin
    source: str
    line: int | None = None


def shown_settings(workspace: Workspace) -> tuple[ShownSetting, ...]:
    """Every value of a workspace with its origin, none of which shows a secret.

    Args:
        workspace: As it was read.

    Returns:
        The keys of raie.toml first, then what only the environment chooses, as far as it is set.

    Raises:
        ConfigError: An option of the engine is unknown or of the wrong type.
    """
    file = workspace.folder / FILE_NAME
    lines = key_lines(file.read_text(encoding="utf-8")) if file.is_file() else {}
    of_file = tuple(
        _shown(name, setting, file, lines) for name, setting in sorted(all_settings(workspace).items(), key=_order)
    )
    return of_file + tuple(_environment(workspace))


def _order(named: tuple[str, Setting]) -> bool:
    """The options of the engine last: there are many."""
    return named[0].startswith("engine.")


def _shown(name: str, setting: Setting, file: Path, lines: Mapping[str, int]) -> ShownSetting:
    value, hidden = _value(name, setting.value)
    if setting.origin is not Origin.FILE:
        source = "" if setting.origin is Origin.BUILT_IN else setting.name
        return ShownSetting(name, value, hidden, setting.origin, source)
    line = lines.get(setting.name)
    return ShownSetting(name, value, hidden, setting.origin, f"{file}{'' if line is None else f':{line}'}", line)


def _value(name: str, value: Any) -> tuple[Any, bool]:
    """A value as it may be shown, and whether something of it is hidden."""
    # Of a webhook's URL the path is a secret as well.
    if name.startswith("events."):
        return HIDDEN_TEXT, True
    if not isinstance(value, str):
        return value, False
    harmless = shown(value)
    return harmless, harmless != value


def _environment(workspace: Workspace) -> Iterator[ShownSetting]:
    for name in _OF_THE_ENVIRONMENT:
        if value := os.environ.get(name):
            yield ShownSetting(name, value, False, Origin.ENVIRONMENT, name)
    of_consumers = {name for c in workspace.consumers for name in (c.secret_variable, c.token_variable) if name}
    for name in sorted(of_consumers | set(_SECRETS)):
        if os.environ.get(name):
            yield ShownSetting(name, HIDDEN_TEXT, True, Origin.ENVIRONMENT, name)


def key_lines(text: str) -> dict[str, int]:
    """The line of each key of a TOML text that stands on a line of its own.

    Args:
        text: Valid TOML.

    Returns:
        Dotted key -> line, counted from 1; empty for a text with strings of several lines, where a line may only look
        like a key.
    """
    if '"' * 3 in text or "'" * 3 in text:
        return {}
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TABLE.fullmatch(line):
            table = re.sub(r"\s", "", match[1]) + "."
        elif match := _KEY.match(line):
            lines.setdefault(table + re.sub(r"\s", "", match[1]), number)
    return lines
