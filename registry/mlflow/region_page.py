"""A region version's page in MLflow: its bytes, the version before it, the data it learned from, and what that gained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raie.registry.mlflow.payload import Payload
from raie.registry.mlflow.text import TAG_LENGTH, cut, markdown
from raie.registry.values import entry_digest

__all__ = ["region_version_tags"]

_METRICS = ("Recall@10", "NDCG@10")


def region_version_tags(
    payload: Payload,
    change: Payload,
    entry: Mapping[str, Any],
    *,
    size: int | None,
    before: tuple[int, str] | None,
    edit_link: str,
) -> dict[str, str]:
    """The tags of the external model of a region's new version, with the text of its page.

    Args:
        payload: of the event of the edit that made it.
        change: what the edit did to the region.
        entry: of the region: role -> digest.
        size: of its blobs together, in bytes; None where one of them is gone.
        before: number of the version before and a link to it; None for the first.
        edit_link: to the edit's run.
    """
    edit = payload["edit"]
    tags = {
        "mlflow.model.isExternal": "true",
        "mlflow.note.content": cut("  \n".join(_lines(payload, change, size, before, edit_link)), TAG_LENGTH),
        "raie.region": str(change["region"]),
        "raie.version": str(change["version"]),
        "raie.edit": str(edit["number"]),
        "raie.digest": entry_digest(entry),
        "raie.windows": str(change["windows"]),
        "raie.size_bytes": None if size is None else str(size),
        "raie.parent_version": None if before is None else str(before[0]),
        "raie.data_digest": edit.get("data_digest"),
    }
    digests = {f"raie.digest.{role}": digest for role, digest in entry.items()}
    return digests | {key: value for key, value in tags.items() if value is not None}


def _lines(
    payload: Payload, change: Payload, size: int | None, before: tuple[int, str] | None, edit_link: str
) -> list[str]:
    edit = payload["edit"]
    lines = [
        f"Version {change['version']} of region {change['region']}",
        f"**Made by** [edit {edit['number']}]({edit_link}): {markdown(change['action'])}, by {markdown(edit['actor'])}",
        "**Version before** " + ("none: this is the first" if before is None else f"[v{before[0]}]({before[1]})"),
    ]
    if size is not None:
        lines.append(f"**Size** {size:,} bytes")
    if edit.get("data_digest"):
        lines.append(f"**Data** log with sha256 `{edit['data_digest'][:12]}`, {change['windows']:,} windows of it")
    return lines + _gains(change.get("metrics") or {})


def _gains(metrics: Mapping[str, float]) -> list[str]:
    """The metrics that the edit measured before and after, on the region's new windows."""
    pairs = [(name, metrics.get(f"before {name}"), metrics.get(f"after {name}")) for name in _METRICS]
    return [
        f"**{name}** on its new windows {before:.4f} → {after:.4f}"
        for name, before, after in pairs
        if before is not None and after is not None
    ]
