"""One edit as a page: where it came from, what it changed region by region, and what it left alone.

The page is rendered from the event alone, into lineage_page.html beside this file, and needs nothing else: no script, no
font, no link. MLflow shows it as an artifact of the edit's run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from raie.registry.states import RegionAction
from raie.registry.times import utc_text

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["lineage_page"]

Payload = Mapping[str, Any]

_COLORS: Mapping[str, str] = {
    RegionAction.SETUP: "#5b7fb4",
    RegionAction.UPDATE: "#2f8f83",
    RegionAction.EXPAND: "#b7791f",
    RegionAction.ADD: "#7a5bb5",
    RegionAction.REVERT: "#b4525b",
    RegionAction.REPLACE: "#4a76c9",
    RegionAction.RETIRE: "#77787c",
    RegionAction.ERASE: "#8a5a3c",
}


def lineage_page(model: str, payload: Payload) -> str:
    """The page of a committed edit.

    Args:
        model: The model's name.
        payload: That of a "snapshot_committed" event.

    Returns:
        One HTML document of a few kilobytes. Every text in it is escaped.
    """
    snapshot = payload["snapshot"]
    changes = {change["region"]: change for change in payload["changes"]}
    return _template().render(
        heading=f"{model} · edit {payload['edit']['number']}",
        edit=payload["edit"],
        snapshot=snapshot,
        cards=_cards(payload["edit"], snapshot),
        # Those before the edit and those after it: a region that was retired is shown too.
        regions=sorted({*map(int, snapshot["content"]["regions"]), *changes}),
        changes=changes,
        most_windows=max([change["windows"] for change in changes.values()], default=0) or 1,
    )


@cache
def _template() -> Template:
    """The page with its holes, compiled once in a process; a name that it has and nobody gives is an error."""
    # Whoever only asks how far MLflow is behind renders nothing.
    from jinja2 import Environment, StrictUndefined

    pages = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    pages.filters |= {"degrees": _degrees, "hue": _hue, "utc_text": utc_text}
    return pages.from_string(files(__package__).joinpath("lineage_page.html").read_text(encoding="utf-8"))


def _cards(edit: Payload, snapshot: Payload) -> list[dict[str, str]]:
    """From which snapshot, by which edit, to which snapshot."""
    parent, regions = snapshot["parent"], len(snapshot["content"]["regions"])
    before, kind = (parent[:12], "parent snapshot") if parent else ("nothing", "first snapshot")
    return [
        _card("from", before, kind),
        _card(f"edit {edit['number']}", edit["kind"], f"by {edit['actor']}", "edit"),
        _card("to", snapshot["id"][:12], f"{regions} region{'s' * (regions != 1)}"),
    ]


def _card(label: str, title: str, note: str, kind: str = "") -> dict[str, str]:
    return {"label": label, "title": title, "note": note, "kind": kind}


def _hue(action: str) -> str:
    """The color of an action."""
    return _COLORS.get(action, "#77787c")


def _degrees(radians: float, digits: int) -> str:
    return f"{math.degrees(radians):.{digits}f}°"
