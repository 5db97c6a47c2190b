"""The consumers of events that raie.toml names: one table [events.NAME] each.

The environment comes before the file: RAIE_EVENTS_NAME_URL, for a URL may be a secret. Shared secrets and tokens are
never in the file: it names the variables that hold them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raie.configuration.settings import Setting, chosen
from raie.errors import WorkspaceError

__all__ = ["FORMATS", "EventConsumer", "consumer_settings", "event_consumers", "url_variable"]

FORMATS = ("openlineage", "webhook")
_TYPES = ("edit", "rollback", "promotion", "promotion_refused", "alias_deleted")
_DEFAULT_TYPES = {"openlineage": _TYPES, "webhook": _TYPES[1:]}
_STARTS = {"openlineage": "beginning", "webhook": "now"}
_KEYS = {
    "openlineage": ("file", "format", "namespace", "start", "token_variable", "types", "url"),
    "webhook": ("format", "secret_variable", "start", "types", "url"),
}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


@dataclass(frozen=True)
class EventConsumer:
    """One consumer of events as raie.toml and the environment describe it; one of file and url is set.

    Attributes:
        name: The table's name; its position in the history belongs to it.
        format: "openlineage" or "webhook".
        types: The types of events that it is given.
        start: "beginning" or "now": what a consumer that is new is given first.
        file: Absolute.
        url: Never printed but for its origin.
        namespace: Of OpenLineage's jobs.
        secret_variable: The variable of the environment that holds the webhook's shared secret.
        token_variable: The variable that holds OpenLineage's bearer token; "" for none.
    """

    name: str
    format: str
    types: tuple[str, ...]
    start: str
    file: Path | None = None
    url: str | None = field(default=None, repr=False)
    namespace: str = "raie"
    secret_variable: str = ""
    token_variable: str = ""


def url_variable(name: str) -> str:
    """The variable of the environment that comes before a consumer's `url`."""
    return f"RAIE_EVENTS_{name.upper().replace('-', '_')}_URL"


def consumer_settings(events: Mapping[str, Any]) -> dict[str, Setting]:
    """The URL of each consumer and who chose it, for those that have one.

    Args:
        events: The [events] table of raie.toml.

    Returns:
        `events.NAME.url` -> setting.
    """
    urls = {
        f"events.{name}.url": chosen("url", table, None, name=f"events.{name}.url", variable=url_variable(name))
        for name, table in events.items()
        if isinstance(table, Mapping)
    }
    return {name: setting for name, setting in urls.items() if setting.value is not None}


def event_consumers(events: Mapping[str, Any], folder: Path, file: Path) -> tuple[EventConsumer, ...]:
    """The consumers that the [events] table describes, by name.

    Args:
        events: The table.
        folder: At which relative paths start.
        file: The raie.toml, for messages.

    Returns:
        One entry for each [events.NAME].

    Raises:
        WorkspaceError: Names the key that is unknown, missing or of the wrong type.
    """
    return tuple(_Table(name, events[name], folder, file).consumer() for name in sorted(events))


@dataclass(frozen=True)
class _Table:
    """One [events.NAME] that is being read."""

    name: str
    values: Any
    folder: Path
    file: Path

    def consumer(self) -> EventConsumer:
        if not _NAME.fullmatch(self.name) or not isinstance(self.values, Mapping):
            raise self._wrong("", "a table [events.NAME], whose name is lower-case letters, digits, - and _")
        format_ = self._one_of("format", FORMATS, None)
        if unknown := sorted(set(self.values) - set(_KEYS[format_])):
            known = [f"events.{self.name}.{key}" for key in _KEYS[format_]]
            raise WorkspaceError(
                f"{self.file}: unknown key 'events.{self.name}.{unknown[0]}'; known here: {', '.join(known)}",
                unknown[0],
                dict(zip(_KEYS[format_], known, strict=True)),
            )
        target, url = self._text("file", ""), self._url()
        if bool(target) == bool(url):
            either = "either file or url" if format_ == "openlineage" else f"url, or {url_variable(self.name)}"
            raise WorkspaceError(f"{self.file}: events.{self.name} must have {either}")
        return EventConsumer(
            name=self.name,
            format=format_,
            types=self._types(format_),
            start=self._one_of("start", ("beginning", "now"), _STARTS[format_]),
            file=self.folder / Path(target).expanduser() if target else None,
            url=url,
            namespace=self._text("namespace", "raie"),
            secret_variable=self._variable("secret_variable", required=format_ == "webhook"),
            token_variable=self._variable("token_variable", required=False),
        )

    def _url(self) -> str | None:
        value = chosen("url", self.values, None, variable=url_variable(self.name)).value
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong("url", "a text")
        from raie.registry.errors import InvalidValue
        from raie.registry.events.http_post import checked_url

        try:
            return checked_url(value)
        except InvalidValue as error:
            raise WorkspaceError(f"{self.file}: events.{self.name}.url: {error}") from error

    def _types(self, format_: str) -> tuple[str, ...]:
        value = self.values.get("types", _DEFAULT_TYPES[format_])
        if not isinstance(value, list | tuple) or not value or not set(map(str, value)) <= set(_TYPES):
            raise self._wrong("types", f"a list of some of {', '.join(_TYPES)}")
        return tuple(known for known in _TYPES if known in value)

    def _one_of(self, key: str, known: tuple[str, ...], otherwise: str | None) -> str:
        value = self.values.get(key, otherwise)
        if value not in known:
            raise self._wrong(key, " or ".join(map(repr, known)))
        return str(value)

    def _text(self, key: str, otherwise: str) -> str:
        value = self.values.get(key, otherwise)
        if not isinstance(value, str) or (key in self.values and not value.strip()) or not value.isprintable():
            raise self._wrong(key, "a text that is not empty")
        return value

    def _variable(self, key: str, *, required: bool) -> str:
        value = self.values.get(key, "")
        if not isinstance(value, str) or ((value or required) and not _VARIABLE.fullmatch(value)):
            # Not repeated: somebody may have written the secret itself here.
            raise WorkspaceError(
                f"{self.file}: events.{self.name}.{key} must be the name of a variable of the environment, such as "
                "RAIE_PAGER_SECRET, that holds the secret"
            )
        return value

    def _wrong(self, key: str, expected: str) -> WorkspaceError:
        name = f"events.{self.name}.{key}" if key else f"events.{self.name!r}"
        return WorkspaceError(f"{self.file}: {name} must be {expected}")
