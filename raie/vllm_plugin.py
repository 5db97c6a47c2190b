"""vLLM asks for an adapter by name, and gets the region's of the snapshot that the registry names now.

    recsys@production/region-3      model @ reference / region; @head, @edit:3 and @<id> too

The registry decides: an alias that its policy protects is resolved as `raie recommend` resolves it. The adapter is
exported into a folder that is named by its digest, and every file of it is checked against that before vLLM reads it.
vLLM keeps what it has loaded under a name: name a snapshot's id where an alias that moves must be followed.

RAIE_WORKSPACE names the workspace; RAIE_LORA_CACHE the folder for adapters, else `.raie/lora` in the workspace.
Source: vllm.lora.resolver.LoRAResolver, found through the entry point `vllm.general_plugins`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.engine.errors import EngineError
from raie.errors import RaieError
from raie.registry import digest_of
from raie.registry.errors import RegistryError
from raie.workspace_file import find, find_nearest

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["AdapterName", "adapter_folder", "register", "verified"]

CACHE = "RAIE_LORA_CACHE"
_NAME = re.compile(r"(?P<model>.+)@(?P<ref>[^@]+)/region-(?P<region>[0-9]{1,9})")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdapterName:
    """What a name of an adapter asks for; ref: of a snapshot, as `raie promote` takes it."""

    model: str
    ref: str
    region: int

    @staticmethod
    def parse(name: str) -> AdapterName | None:
        """The parts of a name; None for one that another resolver may know."""
        match = _NAME.fullmatch(name)
        return None if match is None else AdapterName(match["model"], match["ref"], int(match["region"]))


def adapter_folder(workspace: Workspace, name: AdapterName, cache: Path, base_model: str) -> tuple[Path, str]:
    """The folder of an adapter and the digest that names it, exported now or found as it was exported.

    Args:
        workspace: Where the model lives.
        name: Of the adapter.
        cache: The folder that holds the folders.
        base_model: What the server calls the base model; it stands in the folder.

    Returns:
        The folder, every file of which has the sha256 that its digest covers, and the digest.

    Raises:
        RegistryError: There is no such snapshot, its policy does not let it be served, or a blob is lost.
        RaieError: The workspace has another model, the region has no adapter, or the folder cannot be written.
        EngineError: The adapter cannot be read.
    """
    from raie.engine.adapter_folder.files import FACTS_FILE
    from raie.snapshots.adapter_export import Exporter, write_folder

    if name.model != workspace.model:
        raise RaieError(f"expected an adapter of model {workspace.model!r}, found one of {name.model!r}")
    snapshot = workspace.registry().resolve(workspace.model, name.ref)
    exporter = Exporter(workspace, snapshot, base_model)
    _, files = exporter.files(name.region)
    digest = digest_of(files[FACTS_FILE])
    folder = cache / digest
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_folder(folder, files)
    verified(folder, digest)
    return folder, digest


def verified(folder: Path, digest: str) -> None:
    """Check every file of a folder against the digest that names it.

    Raises:
        RaieError: A file is missing, was changed, or is one more.
    """
    from raie.engine.adapter_folder.files import FACTS_FILE, read_facts

    data = (folder / FACTS_FILE).read_bytes() if (folder / FACTS_FILE).is_file() else b""
    sums = {FACTS_FILE: digest}
    if digest_of(data) == digest:
        sums |= dict(read_facts(data).files)
    held = {path.name: digest_of(path.read_bytes()) for path in folder.iterdir() if path.is_file()}
    wrong = sorted(name for name in sums.keys() | held.keys() if sums.get(name) != held.get(name))
    if wrong:
        raise RaieError(
            f"expected the adapter {digest[:12]} as it was exported in {folder}, found {wrong[0]} changed or missing: "
            "remove the folder, and it is exported again"
        )


def register() -> None:
    """What vLLM calls when it starts: lets it find adapters of this registry. Without a workspace it does nothing."""
    from vllm.lora.resolver import LoRAResolverRegistry

    named = os.environ.get("RAIE_WORKSPACE")
    workspace = find(Path(named)) if named else find_nearest()
    if workspace is not None:
        cache = Path(os.environ.get(CACHE) or workspace.folder / ".raie" / "lora")
        LoRAResolverRegistry.register_resolver("raie", _resolver(workspace, cache.absolute()))


def _resolver(workspace: Workspace, cache: Path) -> Any:
    """A resolver of the adapters of one workspace; its class is made here because its base is vLLM's."""
    from vllm.lora.request import LoRARequest
    from vllm.lora.resolver import LoRAResolver

    class RaieResolver(LoRAResolver):  # type: ignore[misc]
        """Adapters of one workspace."""

        async def resolve_lora(self, base_model_name: str, lora_name: str) -> Any:
            """The request of an adapter; None for a name that is no adapter here, or may not be served."""
            name = AdapterName.parse(lora_name)
            if name is None or name.model != workspace.model:
                return None
            try:
                # Reading and hashing would hold up every other request of the server.
                folder, digest = await asyncio.to_thread(adapter_folder, workspace, name, cache, base_model_name)
            except (RegistryError, RaieError, EngineError, OSError) as error:
                _log.warning("adapter %s is not served: %s", lora_name, error)
                return None
            # Positive, and the same in every process: Python's own hash of a text is neither.
            number = int(digest[:15], 16) + 1
            return LoRARequest(lora_name=lora_name, lora_int_id=number, lora_path=str(folder))

    return RaieResolver()
