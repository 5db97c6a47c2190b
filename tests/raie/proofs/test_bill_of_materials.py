"""The bill of materials of a snapshot: valid CycloneDX, every blob and log in it, the same bytes each time."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from raie.proofs.bill_of_materials import bill_of_materials
from raie.proofs.model_card import model_card
from raie.registry import Registry
from raie.workspace import Workspace
from tests.cli import history
from tests.cli.conftest import Raie


def test_the_command_writes_a_valid_bill_that_another_reader_understands(raie: Raie, registry: Registry) -> None:
    ran = raie("bom", "head", "-o", "bom.json")
    assert (ran.code, ran.err) == (0, "")
    text = Path("bom.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    head = registry.resolve(history.MODEL, "head")
    value: dict[str, Any] = json.loads(text)
    assert (value["specVersion"], value["metadata"]["component"]["version"]) == ("1.6", head.id)
    assert value["metadata"]["component"]["pedigree"]["ancestors"][0]["version"] == head.parent
    for component in (value["metadata"]["component"], *value["components"]):
        for key in {"modelCard", "data"} & component.keys():
            del component[key]
    read = Bom.from_json(value)  # type: ignore[attr-defined]
    digests = {hashed.content for part in read.components if part.name != "manifest" for hashed in part.hashes}
    logs = {str(registry.edit(history.MODEL, number).data_digest) for number in (1, 3, 5)}
    assert digests == set(head.content.blobs()) | logs
    assert {"raie", "torch", "safetensors"} <= {part.name for part in read.components if part.purl}
    assert raie("bom", "head", "-o", "bom.json").code == 1


def test_the_same_snapshot_gives_the_same_bytes_and_another_one_another_serial_number(
    workspace: Workspace,
) -> None:
    first = bill_of_materials(workspace, "edit:2")
    assert bill_of_materials(workspace, "edit:2") == first
    serials = [
        re.findall(rb'"serialNumber": "(urn:uuid:[0-9a-f-]{36})"', data)
        for data in (first, bill_of_materials(workspace, "edit:3"))
    ]
    assert len(serials[0]) == len(serials[1]) == 1
    assert serials[0] != serials[1]


def test_the_model_card_has_the_metrics_of_the_edit_with_their_intervals(registry: Registry) -> None:
    change = {"mean": 0.02, "low": 0.01, "high": 0.03}
    report = {"retention": {"windows": 9, "after": {"Recall@10": 0.5}, "Recall@10 change": change}}
    snapshot = registry.resolve(history.MODEL, "edit:2")
    edit = replace(registry.edit(history.MODEL, 2), report=report)
    card = model_card(snapshot, edit, registry.edit(history.MODEL, 1), [])
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "Recall@10", "value": "0.5", "slice": "held-out setup windows"},
        {
            "type": "Recall@10 change",
            "value": "0.02",
            "slice": "held-out setup windows",
            "confidenceInterval": {"lowerBound": "0.01", "upperBound": "0.03"},
        },
    ]
    assert "architectureFamily" not in card["modelParameters"], "the settings of this setup are not known"


def test_without_the_extra_one_line_says_what_to_install(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cyclonedx", None)
    ran = raie("bom")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "pip install 'raie[bom]'" in ran.err
