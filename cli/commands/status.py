"""`raie status`: where a model stands, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import Output, accent, faint, iso, json_option, one_line, short, times, when
from raie.cli.ui.records import edit_json, state_word
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace, without_password

if TYPE_CHECKING:
    from raie.registry import Alias, Edit, Registry, Snapshot

__all__ = ["status"]


@click.command()
@json_option
@in_workspace
def status(workspace: Workspace, output: Output) -> None:
    """Say where the model stands: its head and what that has learnt from, what aliases serve, and what is unfinished.

    Reads the database and one blob, so it also tells whether both answer. Times are UTC.

    \b
    Examples:
      raie status
      raie status --json
    """
    from raie.registry.db.shown_url import shown

    registry, model = workspace.registry(), workspace.model
    value: dict[str, Any] = {
        "model": model,
        "database": shown(without_password(workspace.database)),
        "store": shown(workspace.store),
        "head": None,
        "aliases": [],
        "open_edits": [],
    }
    if model in registry.models():
        value |= _state(registry, model)
    output.show(value, lambda: _draw(value))


def _state(registry: Registry, model: str) -> dict[str, Any]:
    head = registry.head(model)
    unfinished = registry.edits(model, only_open=True)
    return {
        "head": None if head is None else _head(registry, head),
        "aliases": [_alias(registry, alias, head) for alias in registry.aliases(model)],
        "open_edits": [edit_json(edit) for edit in unfinished],
    }


def _head(registry: Registry, head: Snapshot) -> dict[str, Any]:
    edit: Edit = registry.edit(head.model, head.edit)
    about = {key: value for key, value in edit_json(edit).items() if key in ("edit", "kind", "actor", "reason")}
    regions = {"regions": len(head.content.regions), "learnt_until": _learnt_until(registry, head)}
    return {"id": head.id, **about, **regions, **times(created_at=head.created_at)}


def _learnt_until(registry: Registry, snapshot: Snapshot) -> str | None:
    """The time up to which a snapshot has taken the rows of its logs; None where it holds no watermark."""
    from raie.engine.data.watermark import Watermark

    digests = snapshot.content.shared.get("watermark", ())
    return iso(Watermark.from_bytes(registry.get(digests[0])).timestamp) if digests else None


def _alias(registry: Registry, alias: Alias, head: Snapshot | None) -> dict[str, Any]:
    snapshot = registry.resolve(alias.model, alias.snapshot)
    return {
        "alias": alias.name,
        "snapshot": alias.snapshot,
        "edit": snapshot.edit,
        "is_head": head is not None and snapshot.id == head.id,
        **times(moved_at=alias.moved_at),
    }


def _draw(value: dict[str, Any]) -> list[str]:
    rows = [
        ("model", accent(one_line(value["model"]))),
        ("database", value["database"]),
        ("store", value["store"]),
    ]
    head = value["head"]
    if head is None:
        rows.append(("head", "none; `raie setup LOG` makes the first one"))
    else:
        why = f" · {one_line(head['reason'])}" if head["reason"] else ""
        made = f"{when(head['created_at_epoch'])}  {one_line(head['actor'])}{why}"
        rows.append(("head", f"{accent(short(head['id']))}  edit {head['edit']}  {head['kind']}  {made}"))
        learnt = f"rows until {head['learnt_until']}" if head["learnt_until"] else "no rows"
        rows.append(("learnt", f"{learnt}, {head['regions']} region{'s' * (head['regions'] != 1)}"))
    rows += [("alias", _alias_line(alias)) for alias in value["aliases"]]
    rows += [("open", _open_line(edit)) for edit in value["open_edits"]]
    return [f"{label:<8}  {text}" for label, text in rows]


def _alias_line(alias: dict[str, Any]) -> str:
    where = "the head" if alias["is_head"] else f"edit {alias['edit']}"
    since = faint(f"since {when(alias['moved_at_epoch'])}")
    return f"{accent(one_line(alias['alias']))} → {short(alias['snapshot'])}  {where} {since}"


def _open_line(edit: dict[str, Any]) -> str:
    way = f"; `raie edit resume {edit['edit']}` goes on" if edit["state"] == "abandoned" else ""
    since = faint(f"since {when(edit['created_at_epoch'])}")
    return f"edit {edit['edit']} of {one_line(edit['actor'])} is {state_word(edit['state'])} {since}{way}"
