"""Bytes that rot, vanish or belong elsewhere: refused with one line by whatever reads them, and named by verify."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from raie.engine.bytes.arrays import pack, unpack
from raie.engine.model import ModelView
from raie.engine.regions.region_map import region_state
from raie.engine.training.adapter import ITEM_ROWS
from raie.registry import Author, Content, Digest, Registry, Snapshot
from tests.cli import history, trained
from tests.cli.conftest import Raie
from tests.cli.trained import LOG, MODEL, SECOND, refused

RECOMMEND = ["recommend", "--items", "t0-core-00,t0-core-01"]
PLAN = ["edit", "plan", LOG, "--until", SECOND]
APPLY = ["edit", "apply", LOG, "--until", SECOND, "--workers", "1"]
EVALUATE = ["evaluate", LOG]


def blobs(content: Content, number: int = 0) -> dict[str, Digest]:
    """Every blob of a content by its role; of a list of chunks the last, of regions those of one, called region 0."""
    shared = {role: digests[-1] for role, digests in content.shared.items()}
    region = {f"region 0 {role}": digest for role, digest in content.regions[number].items()}
    backbone = {f"backbone {role}": digest for role, digest in content.backbone.items()}
    return {**backbone, "space": content.space, **shared, **region}


# What reads the blob of a role and must refuse it; every other command has no need of it and still works.
ALL = [RECOMMEND, PLAN, APPLY, EVALUATE]
READERS = {
    "backbone weights": ALL,
    "backbone config": ALL,
    "space": ALL,
    "catalogue": ALL,
    "item_rows": ALL,
    "log_counts": [RECOMMEND, PLAN, APPLY, EVALUATE],
    "settings": ALL,
    "region 0 state": ALL,
    "region 0 lora": [RECOMMEND, APPLY, EVALUATE],
    "region 0 lora_config": [RECOMMEND, EVALUATE],  # an edit writes the same bytes again, and so heals it
    "region 0 item_rows": [RECOMMEND, APPLY, EVALUATE],
    "region 0 mixture": [RECOMMEND, EVALUATE],
    "region 0 log_counts": [RECOMMEND, PLAN, APPLY, EVALUATE],
    "region 0 shared_lora": [APPLY],
    "region 0 shared_lora_config": [],
    "region 0 shared_item_rows": [APPLY],
    "watermark": [PLAN, APPLY, EVALUATE],
    "add_buffer": [PLAN, APPLY],
    "validation": [PLAN, APPLY, EVALUATE],
    "region 0 replay": [PLAN, APPLY],
    "holdout": [PLAN, APPLY, EVALUATE],
}


def flip(file: Path) -> None:
    """Turn one bit in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def truncate(file: Path) -> None:
    """Lose the second half, as a disk that filled up once may have done."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES: Mapping[str, Callable[[Path], None]] = {"flipped": flip, "truncated": truncate, "missing": Path.unlink}


def blob_file(folder: Path, digest: str) -> Path:
    (file,) = (folder / ".raie" / "blobs").glob(f"registries/*/sha256/{digest[:2]}/{digest}")
    file.chmod(0o644)
    return file


def test_every_role_is_covered(edited: Path) -> None:
    assert set(blobs(head(trained.opened(edited)).content)) == set(READERS)


def head(registry: Registry) -> Snapshot:
    snapshot = registry.head(MODEL)
    assert snapshot is not None
    return snapshot


CASES = [(role, "flipped") for role in READERS]
CASES += [(role, kind) for role in ("backbone weights", "region 0 lora") for kind in ("truncated", "missing")]


@pytest.mark.parametrize(("role", "damage"), CASES)
def test_a_damaged_blob_is_refused_by_whatever_reads_it_and_named_by_verify(
    raie: Raie, edited: Path, role: str, damage: str
) -> None:
    registry = trained.opened(edited)
    before = head(registry)
    snapshots = {edit.result: registry.resolve(MODEL, str(edit.result)) for edit in registry.edits(MODEL)}
    content = head(registry).content
    digest = blobs(content)[role]
    # Two roles may have the same bytes: where training found nothing better a region's adapter is the shared one.
    roles = {role for number in content.regions for role, same in blobs(content, number).items() if same == digest}
    readers = [command for role in roles for command in READERS[role]]
    DAMAGES[damage](blob_file(edited, digest))
    for command in (RECOMMEND, PLAN, EVALUATE, APPLY):
        if command in readers:
            refused(raie(*command), 5, [digest])
        elif command is not APPLY:
            assert raie(*command).code == 0
    ran = raie("verify", "--json")
    assert ran.code == 5
    (named,) = ran.json["damaged"]
    assert named["digest"] == digest
    assert set(named["snapshots"]) == {
        id_ for id_, snapshot in snapshots.items() if digest in snapshot.content.blobs()
    }
    assert head(registry) == before


def test_verify_names_every_damaged_blob_at_once_with_every_snapshot_it_affects(raie: Raie, edited: Path) -> None:
    registry = trained.opened(edited)
    setup, edit = registry.resolve(MODEL, "edit:1"), registry.resolve(MODEL, "edit:2")
    both, lora = setup.content.backbone["weights"], edit.content.regions[0]["lora"]
    flip(blob_file(edited, both))
    blob_file(edited, lora).unlink()
    ran = raie("verify")
    assert ran.code == 5
    assert ran.out.count("damaged  ") == 2
    assert f"damaged  {both[:12]}" in ran.out
    assert f"affects {setup.id[:12]}, {edit.id[:12]}\n" in ran.out
    assert f"damaged  {lora[:12]}" in ran.out
    assert f"affects {edit.id[:12]}\n" in ran.out


MISTYPED = [
    ["verify"],
    ["audit", "verify"],
    ["gc", "--dry-run"],
    ["rollback", "2"],
    RECOMMEND,
    PLAN,
    APPLY,
    EVALUATE,
]


@pytest.mark.parametrize("command", MISTYPED, ids=lambda command: " ".join(command[:2]))
def test_a_store_at_a_mistyped_path_is_no_loss_and_nothing_is_put_there(
    raie: Raie, edited: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained.head_of(edited)
    monkeypatch.setenv("RAIE_STORE", "typo")
    ran = raie(*command)
    refused(ran, 6, ["found no folder; check store in raie.toml or RAIE_STORE", str(edited / "typo")])
    assert "backup" not in ran.out + ran.err
    assert raie("policy", "set", "production", "--locality").code == 0, "what needs no blob works"
    assert not (edited / "typo").exists()
    monkeypatch.delenv("RAIE_STORE")
    assert trained.head_of(edited) == before
    assert raie("verify").code == 0


def test_an_adapter_of_another_backbone_is_refused(raie: Raie, edited: Path) -> None:
    registry = trained.opened(edited)
    content = head(registry).content
    kinds = {"touched": np.int64, "a": np.float32, "b": np.float32, "bias": np.float32}
    facts, rows = unpack(registry.get(content.regions[0]["item_rows"]), ITEM_ROWS, kinds)
    stranger = registry.put(pack({**facts, "backbone": "f" * 64}, rows))
    regions = {**content.regions, 0: {**content.regions[0], "item_rows": stranger}}
    edit = registry.begin(MODEL, "import", seed=1, author=Author("ada"))
    registry.commit(MODEL, edit.number, replace(content, regions=regions), [history.change(0, "replace", 1)])
    before = trained.head_of(edited)
    for command in (RECOMMEND, EVALUATE, APPLY):
        refused(raie(*command), 5, ["adapter of backbone", "ffffffffffff"])
    assert trained.head_of(edited) == before


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Callable[[Registry, Content], None]:
    """Make a content the first snapshot of a model of its own, which the commands then use.

    No command makes such a model and no commit changes a model's backbone, so this is a hand at the registry.
    """

    def set_up(registry: Registry, content: Content) -> None:
        edit = registry.begin("odd", "setup", seed=1, author=Author("ada"))
        changes = [history.change(region, "setup", 1) for region in content.regions]
        registry.commit("odd", edit.number, content, changes)
        monkeypatch.setenv("RAIE_MODEL", "odd")

    return set_up


def rewritten(registry: Registry, content: Content, change: Callable[[dict[str, torch.Tensor]], None]) -> Content:
    """The content with other weights in its backbone, and everything else as it was."""
    weights = load(registry.get(content.backbone["weights"]))
    change(weights)
    return replace(content, backbone={**content.backbone, "weights": registry.put(save(weights))})


def test_the_weights_of_another_backbone_are_refused_before_anything_is_planned(
    raie: Raie, edited: Path, odd: Callable[[Registry, Content], None]
) -> None:
    registry = trained.opened(edited)
    odd(registry, rewritten(registry, head(registry).content, lambda weights: weights["norm.weight"].add_(0.01)))
    for command in (RECOMMEND, PLAN, EVALUATE, APPLY):
        refused(raie(*command), 5, ["backbone"])
    assert len(registry.edits("odd")) == 1
    assert raie("verify").code == 0, "every blob is whole: only the parts do not belong together"


def test_a_nan_in_the_embedding_is_refused_even_where_every_digest_is_right(
    raie: Raie, ready: Path, odd: Callable[[Registry, Content], None]
) -> None:
    registry = trained.opened(ready)
    content = head(registry).content
    view = ModelView(content, registry.get)
    row = view.catalogue.item_rows(["t0-core-00"])[0]

    def rot(weights: dict[str, torch.Tensor]) -> None:
        weights["items.weight"][row, 3] = float("nan")

    spoilt = rewritten(registry, content, rot)
    config, weights = (registry.get(spoilt.backbone[role]) for role in ("config", "weights"))
    digest = hashlib.sha256(hashlib.sha256(config).digest() + hashlib.sha256(weights).digest()).hexdigest()
    space = replace(view.space, backbone_digest=digest)
    region_map = replace(view.region_map, space=space.digest)
    regions = {
        region: {**entry, "state": registry.put(region_state(region_map, region))}
        for region, entry in content.regions.items()
    }
    odd(registry, replace(spoilt, space=registry.put(space.to_bytes()), regions=regions))
    for items in ("t0-core-00,t0-core-01", "t1-core-00"):
        refused(raie("recommend", "--items", items, "--json"), 3, ["NaN", "items.weight"])
    for command in (PLAN, EVALUATE, APPLY):
        refused(raie(*command), 3, ["NaN", "items.weight"])
    assert len(registry.edits("odd")) == 1
    assert raie("verify").code == 0


def test_a_nan_in_an_adapter_is_refused(raie: Raie, edited: Path) -> None:
    registry = trained.opened(edited)
    content = head(registry).content
    lora = load(registry.get(content.regions[0]["lora"]))
    name = sorted(lora)[0]
    lora[name][0, 0] = float("inf")
    regions = {**content.regions, 0: {**content.regions[0], "lora": registry.put(save(lora))}}
    edit = registry.begin(MODEL, "import", seed=1, author=Author("ada"))
    registry.commit(MODEL, edit.number, replace(content, regions=regions), [history.change(0, "replace", 1)])
    before = trained.head_of(edited)
    for command in (RECOMMEND, EVALUATE, APPLY):
        refused(raie(*command), 3, ["infinity"])
    assert trained.head_of(edited) == before
