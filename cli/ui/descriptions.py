"""What regions are about, as JSON and as lines for a person, where `--describe` asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import accent, faint, one_line
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.snapshots.region_descriptions import RegionDescription

__all__ = ["describe_option", "description_json", "description_lines", "descriptions_if"]


def describe_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--describe` to a command, which receives it as `described`."""
    return click.option(
        "--describe",
        "described",
        is_flag=True,
        help="Say what each region is about: items, size over its versions, a typical history. Needs the engine.",
    )(command)


def descriptions_if(workspace: Workspace, snapshot: str, described: bool) -> Mapping[int, RegionDescription]:
    """The descriptions of a snapshot's regions where they are asked for; none else.

    Args:
        workspace: Whose model it is.
        snapshot: Its id.
        described: Whether they are asked for.
    """
    if not described:
        return {}
    from raie.snapshots.region_descriptions import descriptions_of

    return descriptions_of(workspace, snapshot)


def description_json(descriptions: Mapping[int, RegionDescription], region: int) -> dict[str, Any]:
    """A region's description under one key; no key where none was asked for."""
    if region not in descriptions:
        return {}
    about = descriptions[region]
    return {
        "description": {
            "sizes": list(about.sizes),
            "growth": about.growth,
            "items": [asdict(item) for item in about.items],
            "windows": about.windows,
            "history": about.history,
            "typical": [{"item": item, "title": title} for item, title in about.typical],
            "missing": about.missing or None,
        }
    }


def description_lines(descriptions: Mapping[int, RegionDescription]) -> list[str]:
    """Two or three lines for each region; none where no region is described."""
    return [line for about in descriptions.values() for line in ("", *_lines(about))]


def _lines(about: RegionDescription) -> Iterator[str]:
    sizes = (
        f", {' → '.join(f'{size:,}' for size in about.sizes)} ({about.growth:+.0%})"
        if about.growth is not None
        else ""
    )
    yield f"{accent(f'region {about.region}')}  {about.members:,} windows, {about.share:.1%}{sizes}"
    if about.missing:
        yield f"  {faint('items')}    none: {about.missing}"
        return
    items = ", ".join(f"{_item(item.item, item.title)} {item.lift:.1f}×" for item in about.items)
    yield f"  {faint('items')}    {items or 'none stands out'}"
    yield (
        f"  {faint('history')}  half have {about.history} items or more; a typical one ends in "
        f"{', '.join(_item(item, title) for item, title in about.typical)}"
    )


def _item(item: str, title: str) -> str:
    return one_line(title or item)
