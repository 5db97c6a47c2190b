"""A region's adapter, and the backbone that it belongs to, as folders that PEFT, transformers and vLLM read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from raie.edits.workflow import open_view
from raie.engine.adapter_folder.base_model import BaseNames, base_files, base_names
from raie.engine.adapter_folder.card import CARD_FILE, card
from raie.engine.adapter_folder.files import FACTS_FILE, FolderFacts, adapter_files
from raie.engine.model import MIXTURE, ModelView
from raie.engine.training.adapter import Adapter
from raie.errors import UsageError
from raie.output_files import require_no_folder, whole_folder
from raie.registry import Snapshot, digest_of, lineage

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = [
    "ExportedAdapter",
    "ExportedBase",
    "Exporter",
    "export_adapter",
    "export_all",
    "export_base",
    "write_folder",
]


@dataclass(frozen=True)
class ExportedAdapter:
    """A folder with an adapter.

    Attributes:
        facts: What the folder says of itself: model, snapshot, region, version and base model.
        digest: sha256 of raie_adapter.json, which names every file by its sha256.
    """

    folder: Path
    facts: FolderFacts
    digest: str


@dataclass(frozen=True)
class ExportedBase:
    """A folder with the backbone, every item row of a snapshot among its rows.

    Attributes:
        name: What adapters call it, unless another name was given.
        digest: Of the backbone and of every item row.
        layout: "items" for a torch module of `load_base`, "tokens" for a language model of transformers.
    """

    folder: Path
    name: str
    digest: str
    layout: str
    items: int


@dataclass(frozen=True, eq=False)
class Exporter:
    """One snapshot, whose parts are read once for all of its adapters.

    Attributes:
        base_model: The base model's name in the folders; None for one made of the model's name and the digest.
    """

    workspace: Workspace
    snapshot: Snapshot
    base_model: str | None = None

    @cached_property
    def view(self) -> ModelView:
        """The snapshot as engine values."""
        return open_view(self.workspace.registry(), self.snapshot, self.workspace.backbone_file)

    @cached_property
    def names(self) -> BaseNames:
        """The layers of the base model, and its digest."""
        return base_names(self.view.backbone)

    @property
    def base_name(self) -> str:
        """The name of the base model."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", self.snapshot.model).strip("-.") or "model"
        return self.base_model or f"{plain[:60]}-{self.names.digest[:12]}"

    @cached_property
    def regions(self) -> tuple[int, ...]:
        """The regions that have an adapter."""
        return tuple(region for region, entry in self.snapshot.content.regions.items() if "lora" in entry)

    def files(self, region: int) -> tuple[FolderFacts, Mapping[str, bytes]]:
        """The facts of a region's folder, and its bytes by file name.

        Raises:
            UsageError: The snapshot has no such region, or it still answers with the frozen backbone.
        """
        blobs = self.view.adapter_blobs(region) if region in self.snapshot.content.regions else None
        if blobs is None:
            listed = ", ".join(map(str, self.regions)) or "none"
            raise UsageError(
                f"expected a region of {self.snapshot.id[:12]} with an adapter, found {region}; those with one: {listed}"
            )
        adapter = Adapter.from_blobs(blobs)
        adapter.require(self.view.backbone)
        files = adapter_files(adapter, self.names, self.base_name)
        version = lineage.versions_in(self.workspace.registry(), self.snapshot)[region].version
        facts = FolderFacts(
            model=self.snapshot.model,
            snapshot=self.snapshot.id,
            region=region,
            version=version,
            backbone=adapter.backbone_digest,
            base=self.base_name,
            base_digest=self.names.digest,
            layout=self.names.layout,
            vocab_size=adapter.vocab_size,
            files={},
        )
        files[CARD_FILE] = card(facts, adapter, mixed=MIXTURE in self.snapshot.content.regions[region])
        sums = {name: digest_of(data) for name, data in files.items()}
        facts = replace(facts, files=sums)
        return facts, {**files, FACTS_FILE: facts.to_bytes()}

    def write(self, region: int, folder: Path) -> ExportedAdapter:
        """Write a region's folder, whole or not at all; raises what `files` raises, RaieError and OSError."""
        facts, files = self.files(region)
        write_folder(folder, files)
        return ExportedAdapter(folder, facts, digest_of(files[FACTS_FILE]))


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a new folder, whole or not at all; raises RaieError and OSError."""
    with whole_folder(folder) as partial:
        for name, data in files.items():
            (partial / name).write_bytes(data)


def _exporter(workspace: Workspace, ref: str, base_model: str | None = None) -> Exporter:
    return Exporter(workspace, workspace.registry().resolve(workspace.model, ref), base_model)


def export_adapter(
    workspace: Workspace, folder: Path, *, region: int, ref: str = "head", base_model: str | None = None
) -> ExportedAdapter:
    """Write a region's adapter into a new folder, in the format of PEFT.

    Args:
        workspace: Where the model lives.
        folder: The folder to make; it is whole or absent.
        region: The region.
        ref: The snapshot.
        base_model: The base model's name in the folder, as of a hub; None for one with its digest.

    Raises:
        UsageError: The region has no adapter.
        ConfigError: A language model that others cannot read.
        RaieError: Something has the folder's name.
        RegistryError: There is no such snapshot, or a blob is missing or damaged.
    """
    return _exporter(workspace, ref, base_model).write(region, Path(folder).absolute())


def export_all(
    workspace: Workspace, folder: Path, *, ref: str = "head", base_model: str | None = None
) -> Sequence[ExportedAdapter]:
    """Write the adapter of every region that has one into `region-N` below a folder; arguments and errors as above."""
    exporter = _exporter(workspace, ref, base_model)
    if not exporter.regions:
        raise UsageError(
            f"expected a region of {exporter.snapshot.id[:12]} with an adapter, found none: edit it first"
        )
    folders = {region: Path(folder).absolute() / f"region-{region}" for region in exporter.regions}
    for path in folders.values():
        require_no_folder(path)
    Path(folder).mkdir(exist_ok=True)
    return tuple(exporter.write(region, path) for region, path in folders.items())


def export_base(workspace: Workspace, folder: Path, *, ref: str = "head") -> ExportedBase:
    """Write the backbone of a snapshot, with all its item rows, as the model that its adapters are put on.

    Args:
        workspace: Where the model lives.
        folder: The folder to make; it is whole or absent.
        ref: The snapshot.

    Raises:
        ConfigError: A language model that others cannot read.
        RaieError: Something has the folder's name.
        RegistryError: There is no such snapshot, or a blob is missing or damaged.
    """
    exporter, folder = _exporter(workspace, ref), Path(folder).absolute()
    write_folder(folder, base_files(exporter.view.backbone, exporter.view.catalogue))
    names = exporter.names
    items = len(exporter.view.backbone.item_table()) - 1
    return ExportedBase(folder, exporter.base_name, names.digest, names.layout, items)
