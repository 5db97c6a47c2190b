"""An adapter from a folder of PEFT becomes the adapter of a region: an edit like every other, which can be rolled back.

The folder is read and checked whole before the edit begins. What of the region is no adapter stays: where it lies, what
it replays, and the mixture that its scores are joined with.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.actor import actor
from raie.chain_head import publishes_chain_head
from raie.command_blobs import CommandBlobs
from raie.edits.edit_result import EditResult, result_of
from raie.edits.workflow import open_view
from raie.engine.adapter_folder.base_model import base_names
from raie.engine.adapter_folder.files import (
    ADAPTER_FILE,
    CONFIG_FILE,
    FACTS_FILE,
    ITEM_ROWS_FILE,
    TRANSITIONS_FILE,
    FolderFacts,
    read_adapter,
    read_facts,
)
from raie.engine.errors import InputError
from raie.engine.model import ADAPTER_ROLES, ModelView
from raie.engine.training.adapter import Adapter
from raie.errors import UsageError
from raie.registry import Author, CommitConflict, Content, Digest, Registry, Snapshot, digest_of, lineage
from raie.registry.states import EditKind, RegionAction

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["PlannedImport", "apply_import", "plan_import", "resume_import"]

_FILES = (CONFIG_FILE, ADAPTER_FILE, FACTS_FILE, ITEM_ROWS_FILE, TRANSITIONS_FILE)
_CHECKPOINT = "adapter"


@dataclass(frozen=True, eq=False, repr=False)
class PlannedImport:
    """What an import would do; nothing has changed yet.

    Attributes:
        base: The head, from which the edit starts.
        folder, facts: What is imported, and what it says of itself.
        digest: sha256 of raie_adapter.json.
        trained_on: Whether its tensors are others than those that were exported.
        region: Whose adapter it becomes.
        version: The region's version now.
        adapter: As it was read.
        blobs: Bytes by role of the region's entry.
        layers: How many linear layers differ from the region's adapter now, and how many there are.
    """

    base: Snapshot
    folder: Path
    facts: FolderFacts
    digest: str
    trained_on: bool
    region: int
    version: int
    adapter: Adapter
    blobs: Mapping[str, bytes]
    layers: tuple[int, int]

    @property
    def entry(self) -> dict[str, Digest]:
        """The region's entry after the import."""
        blobs = {role: digest_of(data) for role, data in self.blobs.items()}
        return _entry(self.base, self.region, blobs)

    @property
    def idle(self) -> bool:
        """Whether the region has exactly this adapter already."""
        return self.entry == dict(self.base.content.regions[self.region])

    def __repr__(self) -> str:
        return f"PlannedImport(base={self.base.id[:12]!r}, region={self.region}, idle={self.idle})"


def plan_import(workspace: Workspace, folder: Path, *, region: int | None = None) -> PlannedImport:
    """Read and check a folder, and say what its import would do; nothing changes.

    Args:
        workspace: Where the model lives.
        folder: Of `export_adapter`, or what PEFT saved of it with raie_adapter.json beside.
        region: Whose adapter it becomes; None for the region that it was exported from.

    Raises:
        InputError: The folder holds no adapter that fits.
        NotFinite: It holds NaN or infinity.
        WrongBackbone: It belongs to another backbone.
        UsageError: There is no snapshot, or it has no such region.
    """
    registry, folder = workspace.registry(), Path(folder).absolute()
    files = _read(folder)
    facts = read_facts(files.get(FACTS_FILE, b""))
    base = registry.head(workspace.model)
    if base is None:
        raise UsageError(f"model {workspace.model!r} has no snapshot to edit: run `raie setup` first")
    chosen = facts.region if region is None else region
    if chosen not in base.content.regions:
        listed = ", ".join(map(str, base.content.regions))
        raise UsageError(f"expected a region of the head, found {chosen}; name one with --region: {listed}")
    view = open_view(registry, base, workspace.backbone_file)
    adapter = read_adapter(
        _with_transitions(files, facts, view, chosen), facts, view.backbone, base_names(view.backbone)
    )
    _require_rank(adapter, view)
    version = lineage.versions_in(registry, base)[chosen]
    return PlannedImport(
        base=base,
        folder=folder,
        facts=facts,
        digest=digest_of(files[FACTS_FILE]),
        trained_on=facts.files.get(ADAPTER_FILE) != digest_of(files[ADAPTER_FILE]),
        region=chosen,
        version=version.version,
        adapter=adapter,
        blobs=adapter.to_blobs(),
        layers=_layers(adapter, view.adapter_blobs(chosen)),
    )


def _read(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise InputError(
            f"expected the folder of an adapter in {folder}, found {'a file' if folder.exists() else 'none'}"
        )
    files = {}
    for name in _FILES:
        with suppress(FileNotFoundError):
            files[name] = (folder / name).read_bytes()
    return files


def _with_transitions(
    files: dict[str, bytes], facts: FolderFacts, view: ModelView, region: int
) -> Mapping[str, bytes]:
    """Where PEFT saved the folder anew and left the counts behind, the region's own stay where they fit."""
    now = view.adapter_blobs(region)
    if TRANSITIONS_FILE in files or TRANSITIONS_FILE not in facts.files or now is None or "transitions" not in now:
        return files
    same_items = Adapter.from_blobs(now).vocab_size == facts.vocab_size
    return {**files, TRANSITIONS_FILE: now["transitions"]} if same_items else files


def _require_rank(adapter: Adapter, view: ModelView) -> None:
    """The adapters of a snapshot have one rank: stacked to the widest, a narrower one would sum in another order."""
    rank = view.settings.engine.adapter.rank
    if adapter.rank != rank:
        raise InputError(
            f"expected an adapter of rank {rank}, as this model trains them, found rank {adapter.rank}"
        )


def _layers(adapter: Adapter, now: Mapping[str, bytes] | None) -> tuple[int, int]:
    names = {name.rpartition(".lora_")[0] for name in adapter.lora}
    if now is None:
        return len(names), len(names)
    before = Adapter.from_blobs(now).lora
    differing = {
        name.rpartition(".lora_")[0]
        for name, value in adapter.lora.items()
        if name not in before or before[name].shape != value.shape or not bool((before[name] == value).all())
    }
    return len(differing), len(names)


@publishes_chain_head
def apply_import(workspace: Workspace, planned: PlannedImport, *, reason: str = "") -> EditResult | None:
    """Commit what was planned.

    Args:
        workspace: Where the model lives.
        planned: What `plan_import` returned.
        reason: Why; it stays in the history.

    Returns:
        The new snapshot; None where the region has this adapter already, and nothing was changed.

    Raises:
        CommitConflict: The head moved, and its region changed too.
        RegistryError: The database or the store refuses.
    """
    if planned.idle:
        return None
    registry, model = workspace.registry(), workspace.model
    facts = planned.facts
    source = {"model": facts.model, "snapshot": facts.snapshot, "region": facts.region, "version": facts.version}
    parameters: dict[str, Any] = {"folder": str(planned.folder), "source": source, "digest": planned.digest}
    parameters |= {"region": planned.region, "trained_on": planned.trained_on}
    digests = dict(zip(planned.blobs, CommandBlobs(registry).put_all(list(planned.blobs.values())), strict=True))
    edit = registry.begin(
        model,
        EditKind.IMPORT,
        seed=0,
        author=Author(actor(), reason),
        parameters=parameters,
        base=planned.base.id,
    )
    # From here on the blobs are safe from gc, and another process can finish.
    registry.record_checkpoint(model, edit.number, _CHECKPOINT, {"blobs": digests})
    try:
        return result_of(registry, _commit(registry, model, edit.number, planned.region, planned.base, digests))
    except CommitConflict as error:
        # The same folder on the new head is another edit.
        registry.abort(model, edit.number, Author(actor(), str(error)))
        raise


def _entry(base: Snapshot, region: int, blobs: Mapping[str, Digest]) -> dict[str, Digest]:
    """What the region holds besides an adapter, and the blobs of the new one."""
    kept = {role: digest for role, digest in base.content.regions[region].items() if role not in ADAPTER_ROLES}
    return {**kept, **blobs}


def _commit(
    registry: Registry, model: str, number: int, region: int, base: Snapshot, blobs: Mapping[str, Digest]
) -> Snapshot:
    regions = {**base.content.regions, region: _entry(base, region, blobs)}
    content = Content(base.content.backbone, base.content.space, base.content.shared, regions)
    version = lineage.versions_in(registry, base)[region]
    change = replace(version.change, action=RegionAction.REPLACE, windows=0, centre_shift=0.0, metrics={})
    return registry.commit(model, number, content, [change])


def resume_import(workspace: Workspace, number: int, *, force: bool = False) -> EditResult:
    """Finish an import that was interrupted after it had recorded its blobs.

    Raises:
        UsageError: It had not recorded them.
        LeaseLost: Another process works on it.
        EditStateError: It is closed.
    """
    registry, model = workspace.registry(), workspace.model
    edit = registry.resume(model, number, author=Author(actor()), force=force)
    recorded = registry.checkpoints(model, number).get(_CHECKPOINT)
    if recorded is None:
        raise UsageError(
            f"expected the adapter of edit {number} in the registry, found that it was stopped before: `raie edit abort "
            f"{number}`, and import the folder again"
        )
    base = registry.resolve(model, str(edit.base))
    return result_of(
        registry, _commit(registry, model, number, int(edit.parameters["region"]), base, recorded["blobs"])
    )
