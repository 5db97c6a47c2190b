"""A small history made by hand: three regions, edits on some of them, two aliases, no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raie.registry import Author, Registry
from raie.registry.values import Content, RegionChange, RegionEntry, Snapshot

MODEL = "recsys"


def entry(registry: Registry, region: int, state: str) -> RegionEntry:
    """A region whose blobs are a few words; the first state of a region has no adapter."""
    roles = {"state": f"{region} {state}"}
    if state != "set up":
        roles |= {"lora": f"weights {region} {state}", "lora_config": "rank 8"}
    return {role: registry.put(text.encode()) for role, text in roles.items()}


def set_up(registry: Registry, regions: int = 3) -> Snapshot:
    """The first snapshot."""
    edit = registry.begin(MODEL, "setup", seed=42, author=Author("ada", "first log"), data_digest="d" * 64)
    content = Content(
        backbone={"weights": registry.put(b"backbone"), "config": registry.put(b"sasrec")},
        space=registry.put(b"space"),
        shared={"catalogue": (registry.put(b"items 1-9"),), "settings": (registry.put(b"seed = 42"),)},
        regions={region: entry(registry, region, "set up") for region in range(regions)},
    )
    changes = [change(region, "setup", 100 * (region + 1)) for region in range(regions)]
    return registry.commit(MODEL, edit.number, content, changes, {"ndcg": {"before": 0.1, "after": 0.125}})


def change(region: int, action: str, windows: int) -> RegionChange:
    """What an edit did to a region, in round numbers."""
    return RegionChange(
        region,
        action,
        windows=windows,
        centre_shift=0.05,
        radius=0.5,
        concentration=20.0,
        count=500,
        centre=(1.0, 0.0),
    )


def edit(registry: Registry, regions: Sequence[int], reason: str = "", actor: str = "ada") -> Snapshot:
    """Update some regions, adding those that are new."""
    begun = registry.begin(MODEL, "edit", seed=7, author=Author(actor, reason), data_digest=f"{len(regions):064x}")
    base = registry.resolve(MODEL, str(begun.base)).content
    entries = {region: entry(registry, region, f"edit {begun.number}") for region in regions}
    content = replace(base, regions={**base.regions, **entries})
    changes = [change(region, "update" if region in base.regions else "add", 40 + region) for region in regions]
    return registry.commit(MODEL, begun.number, content, changes)


def make(registry: Registry) -> None:
    """Six edits: 1 setup, 2 and 3 edits, 4 a cherry-pick for production, 5 an edit, 6 a rollback of edit 2."""
    set_up(registry)
    edit(registry, [1], "weekly log")
    registry.promote(MODEL, "head", "production", author=Author("ada", "passed review"))
    edit(registry, [0, 3], "new catalogue", actor="grace")
    registry.promote_region(MODEL, 0, 2, "production", author=Author("grace", "region 0 first"))
    edit(registry, [2], "weekly log")
    registry.promote(MODEL, "head", "staging", author=Author("ada"))
    registry.rollback_edit(MODEL, 2, author=Author("ada", "a week of bot traffic"))
