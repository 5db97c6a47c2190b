"""A model version's page: what the snapshot is, where it came from, and every region with links to where it was made.

MLflow keeps 5,000 characters of it, so a table of many regions loses the links to runs first, and then its last rows.
Links in the table lead within MLflow's pages, whatever address they are read at: a server's address in each row would
be most of the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from raie.registry.events.openlineage import DataRange
from raie.registry.mlflow.payload import Payload, link, short_reason
from raie.registry.mlflow.text import DESCRIPTION_LENGTH, cut, markdown
from raie.registry.states import EditKind, RegionAction
from raie.registry.times import utc_text

__all__ = ["PageLinks", "measured", "version_description"]

_DONE: Mapping[str, str] = {
    RegionAction.SETUP: "set up",
    RegionAction.UPDATE: "updated",
    RegionAction.EXPAND: "expanded",
    RegionAction.ADD: "added",
    RegionAction.REVERT: "reverted",
    RegionAction.REPLACE: "replaced",
    RegionAction.RETIRE: "retired",
    RegionAction.ERASE: "erased",
}
_WINDOWS: Mapping[str, str] = {
    "adaptation": "new windows",
    "adaptation_known": "new windows of known items",
    "retention": "held-out setup windows",
    "holdout": "held-out setup windows",
}
_METRICS = ("Recall@10", "NDCG@10")
_HEAD_LENGTH = 3000
"""Of what stands above the table; more only for an actor and a kind as long as the registry takes them."""
# MLflow's pages put nothing between two columns.
_WIDE = "&nbsp;" * 4
_COLUMNS = (*(f"{name}{_WIDE}" for name in ("Region", "In this edit", "Version", "Made by")), "Here since")
_TABLE_HEAD = f"**Regions** those that the edit changed first\n\n| {' | '.join(_COLUMNS)} |"
_NUMBERS_NAMED = 8
"""Regions of one action that the first line names; MLflow's list of versions shows little of it."""


@dataclass(frozen=True)
class PageLinks:
    """Where a version's page leads.

    model: the registered model's legal name.  experiment: its experiment's id.  edit: link to the edit's run.  parent:
    link to the parent's version, None where MLflow has none.
    """

    model: str
    experiment: str
    edit: str
    parent: str | None

    def adapter(self, model_id: str) -> str:
        """A region's version."""
        return link("", f"/experiments/{self.experiment}/models/{model_id}")

    def run(self, run: str) -> str:
        """The run that made one."""
        return link("", f"/experiments/{self.experiment}/runs/{run}")

    def version(self, number: str) -> str:
        """Another version of the model."""
        return link("", f"/models/{quote(self.model)}/versions/{number}")


def version_description(
    payload: Payload, links: PageLinks, regions: Mapping[str, Mapping[str, Any]], data: DataRange | None
) -> str:
    """The markdown of a version's page; its first line is plain text, for MLflow's list of versions.

    Args:
        payload: of the event of the edit that made the snapshot.
        links: where the page leads.
        regions: of the snapshot in MLflow, as its tags keep them: region -> "version" and "model_id", and where they are
            known "run" and "edit", which made it, and "since" and "in", the edit and the version that brought it here.
        data: the rows that the edit took, None where that is not known.

    Returns: at most DESCRIPTION_LENGTH characters.
    """
    head = "\n\n".join([_first_line(payload), *_facts(payload, links, data)])
    head = cut(head, _HEAD_LENGTH, "\n\n(cut; event.json of the edit's run has the whole)")
    table = _region_table(payload, links, regions, DESCRIPTION_LENGTH - len(head) - 2)
    return f"{head}\n\n{table}"


def measured(report: Mapping[str, Any]) -> list[tuple[str, str, float | None, float]]:
    """What an edit's report says of the whole model: windows, metric, value before (None without) and after."""
    rows = []
    for part, windows in _WINDOWS.items():
        values = report.get(part)
        if not isinstance(values, Mapping):
            continue
        before, after = values.get("before", {}), values.get("after", values)
        for metric in _METRICS:
            if _is_number(after.get(metric)):
                start = before.get(metric)
                rows.append((windows, metric, start if _is_number(start) else None, after[metric]))
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first_line(payload: Payload) -> str:
    edit, regions = payload["edit"], len(payload["snapshot"]["content"]["regions"])
    changed: dict[str, list[int]] = {}
    for change in payload["changes"]:
        changed.setdefault(change["action"], []).append(change["region"])
    done = "; ".join(f"{_done(action)} {_numbers(numbers)}" for action, numbers in changed.items())
    gained = [
        f" {metric} on {windows} {before:.3f} → {after:.3f}."
        for windows, metric, before, after in measured(payload["report"])[:1]
        if before is not None
    ]
    kind = "" if edit["kind"] == EditKind.EDIT else f" ({_plain(edit['kind'])})"
    return (
        f"Edit {edit['number']}{kind}: {done or 'changed no region'}; {_count(regions)} in all.{''.join(gained)}"
    )


def _done(action: str) -> str:
    return _DONE.get(action) or _plain(action)


def _plain(text: str) -> str:
    """A word of a list that shows markdown as it is written: without what would need to be escaped."""
    return re.sub(r"[^\w \-]|_", "", text)[:40]


def _numbers(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:_NUMBERS_NAMED]))
    more = len(numbers) - _NUMBERS_NAMED
    return f"region{'s' * (len(numbers) > 1)} {named}" + (f" and {more:,} more" if more > 0 else "")


def _count(regions: int) -> str:
    return f"{regions:,} region{'s' * (regions != 1)}"


def _facts(payload: Payload, links: PageLinks, data: DataRange | None) -> Iterator[str]:
    snapshot, edit = payload["snapshot"], payload["edit"]
    yield f"**Snapshot** `{snapshot['id'][:12]}`"
    yield f"**Parent** {_parent(snapshot['parent'], links.parent)}"
    at = utc_text(edit.get("closed_at") or edit["created_at"])
    yield f"**Edit** [{edit['number']}, {markdown(edit['kind'])}]({links.edit}) by {markdown(edit['actor'])}, {at}"
    if edit.get("reason"):
        yield f"**Why** {short_reason(edit['reason'])}"
    if edit.get("data_digest"):
        yield f"**Data** {_data(payload, data)}"
    rows = measured(payload["report"])
    if rows:
        yield "\n".join(_metric_table(rows))


def _parent(parent: str | None, parent_link: str | None) -> str:
    if parent is None:
        return "none: this is the first"
    return f"`{parent[:12]}`" if parent_link is None else f"[`{parent[:12]}`]({parent_link})"


def _data(payload: Payload, data: DataRange | None) -> str:
    digest = f"log with sha256 `{payload['edit']['data_digest'][:12]}`"
    if data is None:
        return f"{digest}, {sum(change['windows'] for change in payload['changes']):,} windows"
    after = "its beginning" if data.after is None else utc_text(data.after)
    return f"{digest}, {data.rows:,} rows from {after} to {utc_text(data.until)}"


def _metric_table(rows: Iterable[tuple[str, str, float | None, float]]) -> Iterator[str]:
    yield "**Metrics** before and after the edit\n"
    yield f"| Metric{_WIDE} | Before{_WIDE} | After |"
    yield "|---|---|---|"
    for windows, metric, before, after in rows:
        yield f"| {metric}, {windows} | {'–' if before is None else f'{before:.4f}'} | {after:.4f} |"


@dataclass(frozen=True)
class _Row:
    """One region's row, with the link to the run and without; source: (name, address) of the link of its last cell."""

    whole: str
    short: str
    source: tuple[str, str] | None


def _region_table(payload: Payload, links: PageLinks, regions: Mapping[str, Mapping[str, Any]], room: int) -> str:
    """The regions that the edit changed first; in as many characters as there is room."""
    content = sorted(map(int, payload["snapshot"]["content"]["regions"]))
    actions = {change["region"]: _done(change["action"]) for change in payload["changes"]}
    ordered = sorted(content, key=lambda region: region not in actions)
    rows = [_row(region, actions.get(region), regions.get(str(region)), links) for region in ordered]
    whole = _rendered(rows, [row.whole for row in rows], "")
    if len(whole) <= room:
        return whole
    command = f"`raie regions list {payload['snapshot']['id'][:12]}`"
    fits, too_long = 0, len(rows) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(_shortened(rows, middle, command)) <= room:
            fits = middle
        else:
            too_long = middle
    return _shortened(rows, fits, command)


def _shortened(rows: Sequence[_Row], count: int, command: str) -> str:
    left_out = len(rows) - count
    more = f"and {_count(left_out).replace(' region', ' more region')} for which this page has no room: {command}"
    return _rendered(rows[:count], [row.short for row in rows[:count]], more if left_out else "")


def _rendered(rows: Sequence[_Row], lines: Sequence[str], more: str) -> str:
    if not rows and not more:
        return "**Regions** none"
    table = "\n".join([_TABLE_HEAD, "|---|---|---|---|---|", *lines])
    sources = dict(row.source for row in rows if row.source is not None)
    addresses = "\n".join(f"[{name}]: {address}" for name, address in sources.items())
    return "\n\n".join(part for part in (table, more, addresses) if part)


def _row(region: int, action: str | None, known: Mapping[str, Any] | None, links: PageLinks) -> _Row:
    if known is None:
        row = f"| {region} | {action or 'unchanged'} | not in MLflow | – | – |"
        return _Row(row, row, None)
    version = f"[v{known['version']}]({links.adapter(known['model_id'])})"
    maker, run = (f"edit {known['edit']}" if "edit" in known else "–"), known.get("run")
    since, source = _since(action, known, links)
    start = f"| {region} | {action or 'unchanged'} | {version} |"
    made = f"[{maker}]({links.run(run)})" if run else maker
    return _Row(f"{start} {made} | {since} |", f"{start} {maker} | {since} |", source)


def _since(action: str | None, known: Mapping[str, Any], links: PageLinks) -> tuple[str, tuple[str, str] | None]:
    if action is not None:
        return "this edit", None
    if "since" not in known:
        return "–", None
    name = f"edit {known['since']}"
    return f"[{name}][]", (name, links.version(known["in"]))
