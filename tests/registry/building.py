"""Small registries for the tests: contents of tiny blobs, and edits in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from registry import Content, Digest, Edit, RegionChange, Registry, Snapshot

__all__ = ["MODEL", "World"]

MODEL = "recsys"


class World:
    """A registry with a model in it, and what a test does to it."""

    def __init__(self, registry: Registry, model: str = MODEL) -> None:
        self.registry, self.model = registry, model

    def blob(self, text: str) -> Digest:
        return self.registry.put(text.encode())

    def entry(self, text: str) -> dict[str, Digest]:
        return {"state": self.blob(f"state {text}"), "lora": self.blob(f"lora {text}")}

    def content(self, regions: int = 3) -> Content:
        return Content(
            backbone={"weights": self.blob("weights"), "config": self.blob("config")},
            space=self.blob("space"),
            shared={"catalogue": (self.blob("items 0"),), "watermark": (self.blob("mark 0"),)},
            regions={region: {"state": self.blob(f"state {region} v1")} for region in range(regions)},
        )

    def setup(self, regions: int = 3) -> Snapshot:
        content = self.content(regions)
        edit = self.registry.begin(self.model, "setup", seed=0, actor="ada", reason="first")
        changes = [change(region, "setup") for region in content.regions]
        return self.registry.commit(self.model, edit.number, content, changes, {"loss": 1.5})

    def begin(self, base: Snapshot | None = None, **more: Any) -> Edit:
        options: dict[str, Any] = {"seed": 7, "actor": "ada", "reason": "drift"} | more
        return self.registry.begin(self.model, "edit", base=None if base is None else base.id, **options)

    def changed(self, content: Content, regions: dict[int, str], **shared: tuple[Digest, ...]) -> Content:
        entries = {region: self.entry(f"{region} {text}") for region, text in regions.items()}
        return replace(content, regions=dict(content.regions) | entries, shared=dict(content.shared) | shared)

    def commit(self, edit: Edit, content: Content, *regions: int, **report: Any) -> Snapshot:
        changes = [change(region) for region in regions]
        return self.registry.commit(self.model, edit.number, content, changes, report)

    def edit(self, *regions: int, text: str, base: Snapshot | None = None, **shared: tuple[Digest, ...]) -> Snapshot:
        """Begins and commits an edit that gives the regions new adapters."""
        begun = self.begin(base)
        before = self.registry.resolve(self.model, str(begun.base)).content
        return self.commit(begun, self.changed(before, dict.fromkeys(regions, text), **shared), *regions)

    @property
    def head(self) -> Snapshot:
        found = self.registry.head(self.model)
        assert found is not None
        return found


def change(region: int, action: str = "update") -> RegionChange:
    """A change of a region with plausible numbers; the centre is a unit vector that depends on the region."""
    centre = tuple(1.0 if axis == region % 4 else 0.0 for axis in range(4))
    return RegionChange(region, action, 12, 0.01, 0.4, 20.0, 300, centre, {"loss": 0.5})
