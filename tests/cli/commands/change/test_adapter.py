"""An adapter leaves as a folder and comes back as an edit; a wrong folder changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from raie.registry import Registry
from raie.registry.maintenance.verify import verify
from raie.workspace_file import find
from tests.cli.conftest import Raie
from tests.cli.trained import MODEL, opened, refused, state

TENSORS = "adapter_model.safetensors"


@pytest.fixture
def region(edited: Path) -> int:
    """A region of the head that has an adapter."""
    regions = opened(edited).resolve(MODEL, "head").content.regions
    return next(region for region, entry in regions.items() if "lora" in entry)


@pytest.fixture
def folder(raie: Raie, region: int) -> Path:
    """That adapter, exported."""
    ran = raie("adapter", "export", "head", "out", "--region", str(region))
    assert ran.code == 0, ran.err
    return Path("out").absolute()


def trained_on(folder: Path) -> Path:
    """A copy with other numbers, as training elsewhere leaves it."""
    copy = shutil.copytree(folder, folder.with_name("trained"))
    tensors = {name: value + 0.01 * ("lora_B" in name) for name, value in load_file(copy / TENSORS).items()}
    save_file(tensors, copy / TENSORS, {"format": "pt"})
    return copy


def test_what_was_exported_is_what_the_region_has_already(raie: Raie, edited: Path, folder: Path) -> None:
    before = state(edited)
    ran = raie("adapter", "import", str(folder), "--json")
    assert (ran.code, ran.json["idle"], ran.json["committed"]) == (0, True, None)
    assert "has this adapter already: nothing to import" in raie("adapter", "import", str(folder)).out
    assert state(edited) == before


def test_an_import_is_an_edit_and_what_was_exported_gives_back_the_same_content(
    raie: Raie, edited: Path, folder: Path, region: int
) -> None:
    registry = opened(edited)
    first = registry.resolve(MODEL, "head")
    ran = raie("adapter", "import", str(trained_on(folder)), "--reason", "the cluster", "--yes", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["from"]["trained_on"]
    assert ran.json["layers_changed"] == ran.json["layers"] > 0
    second = registry.resolve(MODEL, "head")
    edit = registry.edit(MODEL, second.edit)
    assert (edit.kind, edit.actor, edit.reason) == ("import", "ada", "the cluster")
    assert changed(first.content.regions, second.content.regions) == {region}
    kept = {
        role
        for role, digest in second.content.regions[region].items()
        if digest == first.content.regions[region][role]
    }
    assert kept >= {"state", "replay", "item_rows", "lora_config"}
    assert "lora" not in kept
    assert raie("recommend", "log.csv", "--user", "u00042").code == 0
    assert raie("adapter", "import", str(folder), "--yes").code == 0
    third = registry.resolve(MODEL, "head")
    assert third.content.digest == first.content.digest
    assert raie("rollback", str(third.edit), "--yes").code == 0
    assert registry.resolve(MODEL, "head").content.digest == second.content.digest
    assert "replaced region" in raie("log").out
    assert verify(registry).ok


def changed(older: object, newer: object) -> set[int]:
    assert isinstance(older, dict)
    assert isinstance(newer, dict)
    return {region for region in older.keys() | newer.keys() if older.get(region) != newer.get(region)}


def test_the_plan_is_shown_and_nothing_happens_without_a_yes(
    raie: Raie, edited: Path, folder: Path, region: int
) -> None:
    before = state(edited)
    copy = trained_on(folder)
    asked = raie("adapter", "import", str(copy))
    assert asked.code == 1
    assert f"import into region {region} of" in asked.err
    assert "trained on since" in asked.err
    assert "nothing was changed; add --yes" in asked.err
    shown = raie("adapter", "import", str(copy), "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert "layers differ" in shown.out
    assert state(edited) == before


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def with_tensors(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = {name: change(value) for name, value in load_file(folder / TENSORS).items()}
        save_file(tensors, folder / TENSORS, {"format": "pt"})

    return damage


def with_fact(**changed: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "raie_adapter.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return damage


def test_a_wrong_folder_is_one_line_and_changes_nothing(raie: Raie, edited: Path, folder: Path) -> None:
    before = state(edited)
    cases: list[tuple[Callable[[Path], None], int, str]] = [
        (without("raie_adapter.json"), 3, "raie_adapter.json"),
        (without(TENSORS), 3, "found none; export it again"),
        (lambda folder: shutil.rmtree(folder), 3, "expected the folder of an adapter"),
        (lambda folder: (folder / TENSORS).write_bytes(b"x"), 3, "expected safetensors"),
        (with_tensors(lambda value: value.half()), 3, "found float16"),
        (with_tensors(lambda value: value / 0), 3, "found NaN or infinity"),
        (with_tensors(lambda value: value[:1].contiguous()), 3, "of shape"),
        (with_fact(backbone="0" * 64), 5, "expected an adapter of backbone"),
        (with_fact(region=99), 2, "expected a region of the head, found 99"),
    ]
    for damage, code, words in cases:
        copy = shutil.copytree(folder, folder.with_name("wrong"))
        damage(copy)
        refused(raie("adapter", "import", str(copy), "--yes"), code, [words])
        shutil.rmtree(copy, ignore_errors=True)
    assert state(edited) == before


def test_every_region_goes_where_ray_serve_reads_it_with_the_base_beside(raie: Raie, edited: Path) -> None:
    ran = raie(
        "adapter", "export", "head", "adapters", "--all", "--base", "base", "--base-model", "org/base", "--json"
    )
    assert ran.code == 0, ran.err
    regions = [made["region"] for made in ran.json["adapters"]]
    assert sorted(path.name for path in Path("adapters").iterdir()) == sorted(
        f"region-{region}" for region in regions
    )
    for made in ran.json["adapters"]:
        folder = Path(made["folder"])
        assert {path.name for path in folder.iterdir()} == {*made["files"], "raie_adapter.json"}
        config = json.loads((folder / "adapter_config.json").read_text())
        assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", "org/base")
        assert 'base_model: "org/base"' in (folder / "README.md").read_text()
    assert ran.json["base"]["digest"] == ran.json["adapters"][0]["base_digest"]
    assert {path.name for path in Path("base").iterdir()} == {
        "config.json",
        "items.jsonl",
        "model.safetensors",
        "raie_base.json",
    }
    again = raie("adapter", "export", "head", "adapters", "--all")
    refused(again, 1, ["expected no folder", "name another"])
    refused(raie("adapter", "export", "head", "new", "--all", "--base", "base"), 1, ["base yet, found something"])
    Path("adapters/region-0").rename("elsewhere")
    refused(raie("adapter", "export", "head", "adapters", "--all"), 1, ["expected no folder"])
    assert not Path("adapters/region-0").exists()
    refused(raie("adapter", "export", "head", "new", "--region", "99"), 2, ["with an adapter, found 99"])
    assert raie("adapter", "export", "head", "new").code == 2
    assert not Path("new").exists()
    assert not [path for path in Path(".").iterdir() if path.name.endswith(".partial")]


def test_an_import_that_was_interrupted_is_finished(
    raie: Raie, edited: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    registry = opened(edited)
    before = registry.resolve(MODEL, "head").id
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "commit", interrupted)
        assert raie("adapter", "import", str(trained_on(folder)), "--yes").code == 130
    assert registry.resolve(MODEL, "head").id == before
    (number,) = [edit.number for edit in registry.edits(MODEL, only_open=True)]
    ran = raie("edit", "resume", str(number), "--force")
    assert ran.code == 0, ran.err
    assert registry.resolve(MODEL, "head").edit == number
    assert verify(find(edited).registry()).ok
