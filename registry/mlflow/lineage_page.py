"""One edit as a page: where it came from, what it changed region by region, and what it left alone.

The page is rendered from the event alone and needs nothing else: no script, no font, no link. MLflow shows it as
an artifact of the edit's run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from string import Template
from typing import Any

from raie.registry.states import RegionAction
from raie.registry.times import iso

__all__ = ["lineage_page"]

Payload = Mapping[str, Any]

_COLOURS = {
    RegionAction.SETUP: "#5b7fb4",
    RegionAction.UPDATE: "#2f8f83",
    RegionAction.EXPAND: "#b7791f",
    RegionAction.ADD: "#7a5bb5",
    RegionAction.REVERT: "#b4525b",
    RegionAction.REPLACE: "#4a76c9",
    RegionAction.RETIRE: "#77787c",
}

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<style>
:root { --ink: #1d2430; --soft: #667085; --line: #e3e6eb; --card: #fff; --paper: #f6f7f9;
  color-scheme: light dark }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaee; --soft: #98a1b0; --line: #343a45; --card: #1d2129; --paper: #15181e } }
* { box-sizing: border-box; margin: 0 }
body { background: var(--paper); color: var(--ink); padding: 28px; max-width: 1080px; margin: auto;
  font: 14px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums }
h1 { font-size: 20px; font-weight: 650 } h2 { font-size: 13px; font-weight: 600; margin: 28px 0 10px }
p, b, td { overflow-wrap: anywhere; unicode-bidi: isolate }
p, .soft { color: var(--soft) } code { font: 12px ui-monospace, monospace }
.flow { display: flex; align-items: stretch; gap: 12px; margin-top: 20px; flex-wrap: wrap }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; flex: 1 }
.card b { display: block; font-size: 15px } .edit { border-color: #2f8f83; border-width: 2px }
.arrow { align-self: center; color: var(--soft); font-size: 20px }
.strip { display: flex; gap: 6px; flex-wrap: wrap }
.tile { width: 62px; padding: 7px 0; border-radius: 8px; border: 1px solid var(--line); background: var(--card);
  text-align: center; color: var(--soft); font-size: 11px } .tile b { display: block; font-size: 15px }
.tile.on { background: var(--hue); border-color: var(--hue); color: #fff }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden }
th, td { padding: 8px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 500; font-size: 12px } tr:last-child td { border-bottom: 0 }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
.badge { background: var(--hue); color: #fff; border-radius: 20px; padding: 1px 9px; font-size: 12px }
.bar { display: inline-block; height: 6px; border-radius: 3px; background: var(--hue); margin-right: 8px }
.wide { overflow-x: auto } footer { margin-top: 24px; font-size: 12px }
</style></head><body>
<h1>$heading</h1><p>$subtitle</p>
<div class="flow">$flow</div>
<h2>Regions</h2><div class="strip">$strip</div>
$table
<footer class="soft">$footer</footer>
</body></html>
""")


def lineage_page(model: str, payload: Payload) -> str:
    """The page of a "snapshot_committed" event as one HTML document of a few kilobytes."""
    edit, snapshot = payload["edit"], payload["snapshot"]
    heading = f"{escape(model)} · edit {edit['number']}"
    return _PAGE.substitute(
        title=heading,
        heading=heading,
        subtitle=escape(edit.get("reason") or "no reason given"),
        flow=_flow(edit, snapshot),
        strip=_strip(snapshot["content"]["regions"], payload["changes"]),
        table=_table(payload["changes"]),
        footer=_footer(edit, snapshot),
    )


def _flow(edit: Payload, snapshot: Payload) -> str:
    parent = snapshot["parent"]
    regions = len(snapshot["content"]["regions"])
    cards = [
        _card("from", _short(parent) if parent else "nothing", "parent snapshot" if parent else "first snapshot"),
        _card(f"edit {edit['number']}", escape(edit["kind"]), f"by {escape(edit['actor'])}", "edit"),
        _card("to", _short(snapshot["id"]), f"{regions} region{'s' * (regions != 1)}"),
    ]
    return '<span class="arrow">→</span>'.join(cards)


def _card(label: str, title: str, note: str, kind: str = "") -> str:
    return f'<div class="card {kind}"><span class="soft">{label}</span><b>{title}</b><p>{note}</p></div>'


def _strip(regions: Mapping[str, Any], changes: list[Payload]) -> str:
    """One tile per region before or after the edit, coloured where the edit changed it."""
    changed = {change["region"]: change for change in changes}
    return "".join(_tile(region, changed.get(region)) for region in sorted({*map(int, regions), *changed}))


def _tile(region: int, change: Payload | None) -> str:
    if change is None:
        return f'<div class="tile"><b>{region}</b>same</div>'
    label = escape(change["action"])
    return f'<div class="tile on" style="--hue:{_colour(change)}"><b>{region}</b>{label}</div>'


def _table(changes: list[Payload]) -> str:
    if not changes:
        return "<p>No region changed.</p>"
    most = max(change["windows"] for change in changes) or 1
    names = ("region", "action", "version", "windows", "centre moved", "radius", "concentration", "members")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(_row(change, most) for change in sorted(changes, key=lambda c: c["region"]))
    return (
        "<h2>What changed</h2>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(change: Payload, most: int) -> str:
    version = change.get("version")
    cells = (
        f"{change['region']}",
        f'<span class="badge">{escape(change["action"])}</span>',
        "–" if version is None else f"v{version}",
        f'<span class="bar" style="width:{60 * change["windows"] // most}px"></span>{change["windows"]:,}',
        f"{math.degrees(change['centre_shift']):.2f}°",
        f"{math.degrees(change['radius']):.1f}°",
        f"{change['concentration']:.1f}",
        f"{change['count']:,}",
    )
    return f'<tr style="--hue:{_colour(change)}">' + "".join(f"<td>{text}</td>" for text in cells) + "</tr>"


def _footer(edit: Payload, snapshot: Payload) -> str:
    parts = [f"snapshot <code>{escape(snapshot['id'])}</code>", f"seed {edit['seed']}"]
    if edit.get("data_digest"):
        parts.append(f"data <code>{_short(edit['data_digest'])}</code>")
    if edit.get("closed_at"):
        parts.append(iso(edit["closed_at"]))
    return " · ".join(parts)


def _colour(change: Payload) -> str:
    return _COLOURS.get(change["action"], "#77787c")


def _short(digest: str) -> str:
    return escape(digest[:12])
