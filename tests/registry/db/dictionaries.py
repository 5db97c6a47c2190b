"""A registry as dictionaries: what an edit, its replay on a newer head and its rollback must come to.

A content is a dictionary: region -> the text of its adapter, "mark" -> the text of the watermark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raie.registry import Content, Digest, digest_of

State = Mapping[Any, str]
"""region -> text, and "mark" -> text."""


def differing(older: State, newer: State) -> set[Any]:
    return {key for key in older.keys() | newer.keys() if older.get(key) != newer.get(key)}


def with_keys(target: State, source: State, keys: set[Any]) -> State:
    """The target with these keys as the source has them, absent where it has none."""
    kept = {key: value for key, value in target.items() if key not in keys}
    return kept | {key: source[key] for key in keys if key in source}


def replayed(base: State, mine: State, head: State) -> State | None:
    """The head with my changes; None where both changed the same."""
    clash = differing(base, mine) & differing(base, head)
    if mine["mark"] == head["mark"]:
        clash -= {"mark"}
    return None if clash else with_keys(head, mine, differing(base, mine))


def undone(base: State, result: State, head: State) -> State | None:
    """The head without a change; None where a later one is in its way."""
    touched = differing(base, result)
    later = touched & differing(result, head)
    if later - {"mark"} & differing(base, head):
        return None
    return with_keys(head, base, touched - (later & {"mark"}))


@dataclass(frozen=True)
class Change:
    """What an edit makes of what it stands on; before: that snapshot's id.  actions: what it says it does, by region."""

    before: str
    base: State
    result: State
    actions: Mapping[int, str] = field(default_factory=dict)


def entry_of(text: str) -> dict[str, Digest]:
    return {part: digest_of(f"{part} {text}".encode()) for part in ("state", "lora")}


def content_of(state: State) -> Content:
    def named(text: str) -> Digest:
        return digest_of(text.encode())

    return Content(
        backbone={"weights": named("weights"), "config": named("config")},
        space=named("space"),
        shared={"catalogue": (named("items"),), "watermark": (named(state["mark"]),)},
        regions={key: entry_of(text) for key, text in state.items() if key != "mark"},
    )
