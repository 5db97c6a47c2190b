"""Small registries for the tests: contents of tiny blobs, and edits in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3

from raie.registry import (
    ArtifactStore,
    Author,
    Content,
    Digest,
    Edit,
    LocalStore,
    RegionChange,
    Registry,
    Snapshot,
)
from raie.registry.store.base import blob_key
from raie.registry.store.s3 import S3Store

__all__ = ["MODEL", "World", "change", "overwrite", "set_up"]

MODEL = "recsys"


class World:
    """A registry with a model in it, and what a test does to it."""

    def __init__(self, registry: Registry, model: str = MODEL) -> None:
        self.registry, self.model = registry, model

    def blob(self, text: str) -> Digest:
        return self.registry.put(text.encode())

    def entry(self, text: str) -> dict[str, Digest]:
        state, lora = self.blobs(f"state {text}", f"lora {text}")
        return {"state": state, "lora": lora}

    def blobs(self, *texts: str) -> list[Digest]:
        return self.registry.put_all([text.encode() for text in texts])

    def content(self, regions: int = 3) -> Content:
        weights, config, space, items, mark = self.blobs("weights", "config", "space", "items 0", "mark 0")
        states = self.blobs(*(f"state {region} v1" for region in range(regions)))
        return Content(
            backbone={"weights": weights, "config": config},
            space=space,
            shared={"catalogue": (items,), "watermark": (mark,)},
            regions={region: {"state": state} for region, state in enumerate(states)},
        )

    def setup(self, regions: int = 3) -> Snapshot:
        content = self.content(regions)
        edit = self.registry.begin(self.model, "setup", seed=0, author=Author("ada", "first"))
        changes = [change(region, "setup") for region in content.regions]
        return self.registry.commit(self.model, edit.number, content, changes, {"loss": 1.5})

    def begin(self, base: Snapshot | None = None, **more: Any) -> Edit:
        options: dict[str, Any] = {"seed": 7, "author": Author("ada", "drift")} | more
        return self.registry.begin(self.model, "edit", base=None if base is None else base.id, **options)

    def changed(self, content: Content, regions: dict[int, str], **shared: tuple[Digest, ...]) -> Content:
        entries = {region: self.entry(f"{region} {text}") for region, text in regions.items()}
        return replace(content, regions=dict(content.regions) | entries, shared=dict(content.shared) | shared)

    def commit(self, edit: Edit, content: Content, *regions: int, **report: Any) -> Snapshot:
        changes = [change(region) for region in regions]
        return self.registry.commit(self.model, edit.number, content, changes, report)

    def edit(
        self, *regions: int, text: str, base: Snapshot | None = None, **shared: tuple[Digest, ...]
    ) -> Snapshot:
        """Begins and commits an edit that gives the regions new adapters."""
        begun = self.begin(base)
        before = self.registry.resolve(self.model, str(begun.base)).content
        return self.commit(begun, self.changed(before, dict.fromkeys(regions, text), **shared), *regions)

    @property
    def head(self) -> Snapshot:
        newest = self.registry.head(self.model)
        assert newest is not None
        return newest


def set_up(registry: Registry) -> None:
    """The history of most tests: a setup of three regions."""
    World(registry).setup()


def overwrite(store: ArtifactStore, digest: Digest, data: bytes) -> None:
    """Puts other bytes where a blob should be, as rot, an operator or an attacker would."""
    if isinstance(store, LocalStore):
        (store.root / blob_key(digest)).write_bytes(data)
    else:
        assert isinstance(store, S3Store)
        boto3.client("s3").put_object(Bucket=store.name, Key=f"{store.prefix}/{blob_key(digest)}", Body=data)


def change(region: int, action: str = "update") -> RegionChange:
    """A change of a region with plausible numbers; the centre is a unit vector that depends on the region."""
    centre = tuple(1.0 if axis == region % 4 else 0.0 for axis in range(4))
    return RegionChange(region, action, 12, 0.01, 0.4, 20.0, 300, centre, {"loss": 0.5})
