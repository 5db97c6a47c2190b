"""A snapshot's bill of materials: CycloneDX 1.6 JSON, checked against its strict schema before anybody gets it.

The model is a component with a model card; each of its blobs is a file with its sha256, each log that it learned from
is data with its digest, and the software are libraries of this installation. The same snapshot and the same software
give the same bytes: the serial number is a UUID of the snapshot's id, the time is that of the snapshot.

Source: CycloneDX 1.6. cyclonedx-python-lib has no model cards and no data yet: they are put into its JSON.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from raie.edits.edit_records import edit_reference
from raie.errors import RaieError
from raie.extras import require
from raie.proofs.data_used import DataOfEdit, data_of_edits, learned_from
from raie.proofs.model_card import data_ref, model_card
from raie.proofs.snapshot_parts import named_digests
from raie.registry import Edit, Registry, Snapshot, lineage
from raie.registry.times import utc_text

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

    from raie.workspace import Workspace

__all__ = ["bill_of_materials"]

SOFTWARE = ("raie", "torch", "transformers", "peft", "safetensors")
_SERIALS = uuid.UUID("2f0b1a6e-3d0f-5c1c-9a53-7f5a3b6a5d10")
"""The namespace of the serial numbers; it never changes."""


def bill_of_materials(workspace: Workspace, ref: str = "head") -> bytes:
    """The bill of materials of a snapshot.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3" or 3, a snapshot's id or its first characters.

    Returns:
        CycloneDX 1.6 JSON, valid by its strict schema.

    Raises:
        NotFound: There is no such snapshot.
        MissingExtra: The extra `bom` is not installed.
        StoreUnreachable: The store does not answer.
    """
    require("bom")
    registry = workspace.registry()
    snapshot = lineage.find(registry, workspace.model, edit_reference(ref))
    edit = registry.edit(snapshot.model, snapshot.edit)
    learned = learned_from(registry, [snapshot])[snapshot.id]
    data = data_of_edits(registry, snapshot.model, (n for n in learned.edits if n not in learned.rolled_back))
    document = json.loads(_document(snapshot, edit, data))
    _complete(document, model_card(snapshot, edit, _setup(registry, snapshot), data), data)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    _require_valid(text)
    return text.encode()


def _setup(registry: Registry, snapshot: Snapshot) -> Edit:
    """The first edit of a snapshot's history."""
    (landed,) = registry.histories(snapshot.model, snapshot.id)
    return registry.edit(snapshot.model, landed[0].number)


def _document(snapshot: Snapshot, edit: Edit, data: Iterable[DataOfEdit]) -> str:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.output.json import JsonV1Dot6

    model = _model(snapshot, edit)
    parts = [*_files(snapshot), *map(_data, data), *_software()]
    made = datetime.fromtimestamp(snapshot.created_at, UTC)
    bom = Bom(
        serial_number=uuid.uuid5(_SERIALS, snapshot.id),
        metadata=BomMetaData(component=model, timestamp=made),
        components=parts,
    )
    bom.register_dependency(model, parts)
    return JsonV1Dot6(bom).output_as_string()


def _model(snapshot: Snapshot, edit: Edit) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import ComponentType, Pedigree

    parent = None if snapshot.parent is None else _state(snapshot.model, snapshot.parent)
    why = f"edit {edit.number} ({edit.kind}) by {edit.actor}{f': {edit.reason}' if edit.reason else ''}"
    facts = {
        "content": snapshot.content.digest,
        "edit": str(edit.number),
        "regions": str(len(snapshot.content.regions)),
    }
    model = _state(snapshot.model, snapshot.id)
    model.type = ComponentType.MACHINE_LEARNING_MODEL
    model.pedigree = Pedigree(ancestors=[] if parent is None else [parent], notes=why)
    model.properties = [Property(name=f"raie:{name}", value=value) for name, value in facts.items()]
    return model


def _state(model: str, snapshot: str) -> Component:
    """A snapshot as a component; its id is the sha256 of its manifest."""
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=model,
        version=snapshot,
        bom_ref=f"snapshot/{snapshot}",
        hashes=[_sha256(snapshot)],
    )


def _sha256(digest: str) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType

    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _files(snapshot: Snapshot) -> Iterator[Component]:
    from cyclonedx.model.component import Component, ComponentType

    for name, digest in {"manifest": snapshot.id, **named_digests(snapshot.content)}.items():
        yield Component(type=ComponentType.FILE, name=name, bom_ref=f"file/{name}", hashes=[_sha256(digest)])


def _data(data: DataOfEdit) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.DATA,
        name=f"interactions of edit {data.edit.number}",
        bom_ref=data_ref(data.edit.number),
        description="The digest is of the interactions, whatever the format of their file.",
        hashes=[_sha256(str(data.edit.data_digest))],
    )


def _software() -> Iterator[Component]:
    """The installed libraries that make and read the blobs."""
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    for name in SOFTWARE:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        purl = PackageURL("pypi", name=name, version=version)
        yield Component(
            type=ComponentType.LIBRARY, name=name, version=version, bom_ref=f"software/{name}", purl=purl
        )


def _complete(document: dict[str, Any], card: dict[str, Any], data: Iterable[DataOfEdit]) -> None:
    """Adds what the library has no class for."""
    document["metadata"]["component"]["modelCard"] = card
    by_ref = {component["bom-ref"]: component for component in document["components"]}
    for known in data:
        component = by_ref[data_ref(known.edit.number)]
        properties = [{"name": f"raie:{name}", "value": value} for name, value in _data_facts(known)]
        component["data"] = [
            {"type": "dataset", "name": component["name"], "contents": {"properties": properties}}
        ]


def _data_facts(data: DataOfEdit) -> Iterator[tuple[str, str]]:
    yield "edit", str(data.edit.number)
    if data.rows is not None:
        yield "rows", str(data.rows.rows)
        if data.rows.after is not None:
            yield "after", utc_text(data.rows.after)
        yield "until", utc_text(data.rows.until)


def _require_valid(text: str) -> None:
    from cyclonedx.exception import MissingOptionalDependencyException
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    try:
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except MissingOptionalDependencyException as error:
        raise RaieError(
            "expected jsonschema, which checks the bill of materials, found it is not installed: run `pip install "
            "'raie[bom]'`"
        ) from error
    if problem is not None:
        raise RaieError(
            f"expected a bill of materials by CycloneDX 1.6, found one that is none: {problem!s:.200}; report it"
        )
