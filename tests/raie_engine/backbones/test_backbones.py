"""What is true of every backbone, whatever it is made of."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from raie.engine.backbones import Bert4Rec, Contexts, ItemModel, backbone_class, load_backbone
from raie.engine.backbones.next_item import at_places
from raie.engine.config import AdapterConfig, BackboneConfig, RegionConfig
from raie.engine.data.interactions import read_log
from raie.engine.data.synthetic import drifting_log, write_csv
from raie.engine.data.windows import Windows
from raie.engine.edit.setup import set_up
from raie.engine.errors import DamagedArtifact, EngineError, NotFinite
from raie.engine.model import ModelView
from raie.engine.regions.region_map import fit_regions
from raie.engine.regions.space import fit_space
from raie.engine.router import BLOCK_ROWS, Router, encode_windows
from raie.engine.training.adapter import AdapterDelta
from raie.engine.training.loop import Schedule
from raie.engine.training.train_adapter import TrainTask, train_region
from raie.engine.training.train_backbone import train_backbone
from tests.raie_engine.backbones.language_model import language_model
from tests.raie_engine.world import (
    ITEMS,
    LENGTH,
    ROOT,
    SMALL_LOG,
    Edited,
    Memory,
    StoredContent,
    edited,
    in_another_process,
    random_adapter,
    random_windows,
    small_settings,
    successor_windows,
)

SMALL = BackboneConfig(dim=16, layers=2, heads=2, batch=32, learning_rate=0.01, epochs=12, patience=0)
KINDS = ("sasrec", "esasrec", "hstu", "bert4rec", "tisasrec", "causal_lm", "causal_lm with titles", "file")
TITLES = [f"the {['first', 'second', 'third'][item % 3]} film {item}" for item in range(1, ITEMS + 2)]


@dataclass(frozen=True)
class Kind:
    """How a backbone of one kind comes to be."""

    config: BackboneConfig
    titles: tuple[str, ...] = ()

    @property
    def backbone_file(self) -> Path | None:
        return Path(self.config.path) if self.config.kind == "file" else None

    def begun(self, items: int = ITEMS, seed: int = 0) -> ItemModel:
        kind = backbone_class(self.config.kind, self.backbone_file)
        return kind.begin(self.config, items, LENGTH, titles=self.titles[:items], seed=seed)

    def loaded(self, config: bytes, weights: bytes) -> ItemModel:
        model = load_backbone(config, weights, self.backbone_file)
        assert isinstance(model, ItemModel)
        return model

    def trained(self, **more: object) -> tuple[ItemModel, tuple[float, ...]]:
        config = replace(self.config, **{k: more.pop(k) for k in ("epochs",) if k in more})
        options = {"positions": 3, "seed": 5, "titles": self.titles[:ITEMS], **more}
        model, result = train_backbone(timed(successor_windows(120, 0)), VALIDATION, ITEMS, config, **options)
        assert isinstance(model, ItemModel)
        return model, result.scores

    def random(self, *, items: int = ITEMS, seed: int = 0) -> ItemModel:
        """A frozen model whose every weight matters: as it is initialised, all states would be nearly equal."""
        model = self.begun(items, seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        return model.eval().requires_grad_(False)


def timed(windows: Windows) -> Windows:
    """The windows with times, which most kinds pass over."""
    steps = np.random.default_rng(len(windows)).integers(0, 100_000, windows.items.shape).cumsum(axis=1)
    return replace(windows, times=np.where(windows.items > 0, 1_000_000_000 + steps, 0))


WINDOWS = timed(random_windows(150, LENGTH, ITEMS, seed=1))
VALIDATION = timed(successor_windows(40, 1))
CONTEXTS = Contexts.of(WINDOWS)


@pytest.fixture(scope="session")
def configured_backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of docs/backbones.md, as a user saves it."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "backbones.md").read_text(), re.M | re.S)
    path = tmp_path_factory.mktemp("own") / "gru4rec.py"
    path.write_text(example)
    return path


@pytest.fixture(scope="session")
def kinds(configured_backbone_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    path = str(language_model(tmp_path_factory.mktemp("language_model")))
    slow_to_learn = replace(SMALL, kind="bert4rec", mask_share=0.5, epochs=30)
    reading = replace(SMALL, kind="causal_lm", path=path, prompt="a user has seen", learning_rate=0.003)
    return {
        "sasrec": Kind(SMALL),
        "esasrec": Kind(replace(SMALL, kind="esasrec")),
        "hstu": Kind(replace(SMALL, kind="hstu")),
        "bert4rec": Kind(slow_to_learn),
        "tisasrec": Kind(replace(SMALL, kind="tisasrec")),
        "causal_lm": Kind(reading),
        "causal_lm with titles": Kind(reading, tuple(TITLES)),
        "file": Kind(replace(SMALL, kind="file", path=str(configured_backbone_file))),
    }


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest, kinds: dict[str, Kind]) -> Kind:
    return kinds[request.param]


@pytest.fixture(scope="session")
def backbone(kind: Kind) -> ItemModel:
    return kind.random()


# --- What comes out


def test_where_padding_stands_changes_no_bit(backbone: ItemModel) -> None:
    assert CONTEXTS.times is not None
    places = torch.rand(CONTEXTS.items.shape, generator=torch.Generator().manual_seed(0))
    real = CONTEXTS.items != 0
    wanted = backbone.encode(CONTEXTS)
    for order in (real.int().argsort(dim=1, stable=True), _scattered(real, places)):
        moved = Contexts(CONTEXTS.items.gather(1, order), CONTEXTS.times.gather(1, order))
        assert not torch.equal(moved.items, CONTEXTS.items)
        assert torch.equal(backbone.encode(moved), wanted)


def _scattered(real: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """An order of each row's positions in which padding lies between the real ones, whose order stays."""
    slots = torch.where(real, places.sort(dim=1).values, places)
    return slots.argsort(dim=1)


def test_another_item_anywhere_in_a_context_is_another_state(backbone: ItemModel) -> None:
    items = torch.randint(1, ITEMS + 1, (4, LENGTH), generator=torch.Generator().manual_seed(3))
    times = torch.arange(LENGTH).expand(4, LENGTH) * 1000
    wanted = backbone.encode(Contexts(items, times))
    for position in range(LENGTH):
        changed = items.clone()
        changed[:, position] = items[:, position] % ITEMS + 1
        assert (backbone.encode(Contexts(changed, times)) - wanted).abs().amax(dim=1).min() > 1e-4


def test_a_shorter_window_is_encoded_as_it_is_among_longer_ones(backbone: ItemModel) -> None:
    items, times = CONTEXTS.items[:, :4], CONTEXTS.times[:, :4]  # type: ignore[index]
    padded = Contexts(torch.nn.functional.pad(items, (0, 2)), torch.nn.functional.pad(times, (0, 2)))
    # 1e-5: products of another shape may sum in another order.
    narrow = Contexts(items, times)
    torch.testing.assert_close(backbone.encode(padded), backbone.encode(narrow), rtol=0, atol=1e-5)


def test_states_at_some_places_are_those_among_all_places(backbone: ItemModel) -> None:
    contexts = CONTEXTS.left_justified()
    places = torch.from_numpy(
        np.random.default_rng(0).integers(0, contexts.lengths.numpy()[:, None], (len(WINDOWS), 2))
    )
    if isinstance(backbone, Bert4Rec):
        every = torch.arange(LENGTH).expand(len(WINDOWS), LENGTH)
        states, chosen = (backbone.filled_in(contexts.items, slots) for slots in (every, places))
    else:
        states, chosen = backbone.states(contexts), backbone.states_at(contexts, places)
    # 1e-5: products of another shape may sum in another order.
    torch.testing.assert_close(chosen, at_places(states, places), rtol=0, atol=1e-5)


def test_what_is_predicted_is_never_read(backbone: ItemModel) -> None:
    target = torch.full((len(WINDOWS),), ITEMS)
    contexts = Contexts(CONTEXTS.items.masked_fill(CONTEXTS.items >= ITEMS - 1, 1), CONTEXTS.times)
    torch.manual_seed(3)
    states, following = backbone.examples(contexts, target, 3)
    torch.manual_seed(3)
    others, replaced = backbone.examples(contexts, target - 1, 3)
    is_target = following == ITEMS
    assert is_target.sum() > 20
    assert torch.equal(is_target, replaced == ITEMS - 1)
    assert torch.equal(states[is_target], others[is_target])


def test_training_reads_the_last_positions_alone(backbone: ItemModel) -> None:
    items = torch.arange(1, LENGTH + 1).expand(50, LENGTH)
    contexts = Contexts(items, torch.arange(LENGTH).expand(50, LENGTH))
    for positions in (1, 3, 100):
        states, following = backbone.examples(contexts, torch.full((50,), LENGTH + 1), positions)
        assert states.shape == (len(following), backbone.dim)
        assert set(following.tolist()) == set(range(max(2, LENGTH + 2 - positions), LENGTH + 2)) - {1}


def test_every_layer_that_carries_an_adapter_is_reached_whenever_the_model_is_read(backbone: ItemModel) -> None:
    reached: set[str] = set()

    class Zero:
        def linear(self, name: str, layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
            assert inputs.shape[0] == len(CONTEXTS), "a router gives each window its own adapter"
            reached.add(name)
            out: torch.Tensor = layer(inputs)
            return out

        def read(self, items: torch.Tensor) -> torch.Tensor:
            assert items.shape[0] == len(CONTEXTS)
            reached.add("item rows")
            return torch.zeros(*items.shape, backbone.dim)

    everything = {"item rows", *backbone.lora_targets}
    with torch.inference_mode():
        assert torch.equal(backbone.encode(CONTEXTS, Zero()), backbone.encode(CONTEXTS))
    assert reached == everything
    reached.clear()
    backbone.examples(CONTEXTS, torch.from_numpy(WINDOWS.target).long(), 3, Zero())
    assert reached == everything


# --- Routing and isolation


@pytest.fixture(scope="session")
def router(backbone: ItemModel) -> Router:
    """Four regions, of which two have an adapter."""
    encodings = encode_windows(backbone, WINDOWS)
    space = fit_space(encodings, 0, backbone.digest)
    regions, _ = fit_regions(space.project(encodings), RegionConfig(), 0, space.digest, 4)
    adapters = {0: random_adapter(backbone, [1, 2, 3], seed=1), 2: random_adapter(backbone, [9], seed=2)}
    return Router(backbone, (), space, regions, adapters)


def test_a_window_scores_the_same_bits_alone_and_whatever_the_other_rows_are(router: Router) -> None:
    scores, owner = router.scores(WINDOWS), router.assign(WINDOWS)
    assert set(owner.tolist()) == {0, 1, 2, 3}
    generator = np.random.default_rng(0)
    for region in range(4):
        row = generator.choice(np.flatnonzero(region == owner))
        others = generator.integers(0, len(WINDOWS), BLOCK_ROWS + 5)
        position = generator.integers(0, len(others))
        others[position] = row
        assert torch.equal(router.scores(WINDOWS.take(others))[position], scores[row])
        assert torch.equal(router.scores(WINDOWS.take(slice(row, row + 1)))[0], scores[row])


def test_adapters_of_other_regions_and_appended_items_change_no_bit(router: Router, backbone: ItemModel) -> None:
    rows = torch.randn(2, backbone.dim, generator=torch.Generator().manual_seed(2))
    longer, owner = backbone.with_item_rows(rows, ["a new one", ""]), router.assign(WINDOWS)
    more = {0: router.adapters[0], 1: random_adapter(longer, [3, ITEMS + 1], seed=5)}
    scores = router.scores(WINDOWS)
    again = replace(router, adapters=more, backbone=longer, item_chunks=(rows,))
    mine = (owner == 0) | (owner == 3)
    assert torch.equal(again.scores(WINDOWS)[mine, : ITEMS + 1], scores[mine])
    assert (again.assign(WINDOWS) == owner).all()


# --- Bytes


def test_bytes_give_back_the_same_frozen_model(kind: Kind, backbone: ItemModel) -> None:
    again = kind.loaded(*backbone.to_bytes())
    assert again.digest == backbone.digest
    assert again.to_bytes() == backbone.to_bytes()
    assert torch.equal(again.encode(CONTEXTS), backbone.encode(CONTEXTS))
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_digests_and_states_are_the_same_in_another_process(
    kinds: dict[str, Kind], configured_backbone_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "windows").write_bytes(WINDOWS.to_bytes())
    mine = []
    for number, kind in enumerate(kinds.values()):
        model = kind.random()
        for name, data in zip(("config", "weights"), model.to_bytes(), strict=True):
            (tmp_path / f"{number} {name}").write_bytes(data)
        mine.append(f"{model.digest} {hashlib.sha256(encode_windows(model, WINDOWS).tobytes()).hexdigest()}")
    code = """
import hashlib, sys
from pathlib import Path
from raie.engine.backbones import load_backbone
from raie.engine.router import encode_windows
from raie.engine.data.windows import Windows
folder, own, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
windows = Windows.from_bytes((folder / "windows").read_bytes())
for number in range(count):
    model = load_backbone(*((folder / f"{number} {name}").read_bytes() for name in ("config", "weights")), own)
    print(model.digest, hashlib.sha256(encode_windows(model, windows).tobytes()).hexdigest())
"""
    assert in_another_process(code, tmp_path, configured_backbone_file, len(kinds)).splitlines() == mine


def test_another_weight_is_another_digest(kind: Kind) -> None:
    assert len({kind.random(seed=seed).digest for seed in range(3)} | {kind.random(items=31).digest}) == 4


def test_a_seed_gives_one_model_and_leaves_the_process_its_random_state(kind: Kind) -> None:
    state = torch.get_rng_state()
    assert kind.begun(seed=1).digest == kind.begun(seed=1).digest != kind.begun(seed=2).digest
    assert torch.equal(torch.get_rng_state(), state)


DAMAGE: dict[str, Callable[[bytes, bytes], tuple[bytes, bytes]]] = {
    "weights cut short": lambda config, weights: (config, weights[:-1]),
    "no weights": lambda config, weights: (config, b""),
    "a damaged header": lambda config, weights: (config, weights[:9] + b"\x00" + weights[10:]),
    "a tensor too few": lambda config, weights: (config, save(dict(list(load(weights).items())[1:]))),
    "a number that is none": lambda config, weights: (config, save(_with_nan(load(weights)))),
    "more items than rows": lambda config, weights: (_with(config, items=31), weights),
    "no position": lambda config, weights: (_with(config, length=0), weights),
    "a negative size": lambda config, weights: (_with(config, items=-5), weights),
    "a size that is text": lambda config, weights: (_with(config, items="16"), weights),
    "an unknown field": lambda config, weights: (_with(config, colour=1), weights),
    "an unknown kind": lambda config, weights: (_with(config, kind="gru"), weights),
    "no configuration": lambda config, weights: (b"", weights),
    "a number": lambda config, weights: (b"5", weights),
    "a list": lambda config, weights: (b"[]", weights),
    "not text": lambda config, weights: (b"\xff\xfe", weights),
}


def _with(config: bytes, **values: object) -> bytes:
    return json.dumps(json.loads(config) | values).encode()


def _with_nan(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["items.weight"][1, 0] = float("nan")
    return tensors


@pytest.mark.parametrize("what", list(DAMAGE))
def test_damaged_bytes_are_refused_in_one_line(what: str, kind: Kind, backbone: ItemModel) -> None:
    with pytest.raises(EngineError) as refused:
        kind.loaded(*DAMAGE[what](*backbone.to_bytes()))
    assert isinstance(refused.value, NotFinite if "is none" in what else DamagedArtifact)
    assert str(refused.value).startswith("expected ")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


# --- Item rows


def test_appended_items_change_neither_the_digest_nor_the_states_of_known_items(
    kind: Kind, backbone: ItemModel
) -> None:
    longer = backbone.with_item_rows(torch.ones(2, backbone.dim), ["one", "two"])
    # The digest is computed afresh: with_item_rows shares the attribute that keeps it.
    assert kind.loaded(*longer.to_bytes()).digest == backbone.digest == longer.digest
    assert torch.equal(longer.encode(CONTEXTS), backbone.encode(CONTEXTS))
    assert longer.known_items == backbone.known_items == ITEMS
    assert len(longer.item_table()) == ITEMS + 3
    new = Contexts(torch.tensor([[1, ITEMS + 2, 0]]), torch.tensor([[5, 6, 0]]))
    assert longer.encode(new).isfinite().all()
    assert not torch.equal(longer.encode(new), longer.encode(Contexts(torch.tensor([[1, 0, 0]]), new.times)))


def test_appending_again_replaces_what_was_appended_and_leaves_the_older_model_alone(backbone: ItemModel) -> None:
    once = backbone.with_item_rows(torch.ones(2, backbone.dim))
    twice = once.with_item_rows(torch.full((3, backbone.dim), 2.0))
    assert [len(model.item_table()) for model in (backbone, once, twice)] == [ITEMS + 1, ITEMS + 3, ITEMS + 4]
    assert torch.equal(once.item_table()[-2:], torch.ones(2, backbone.dim))
    assert torch.equal(twice.item_table()[-3:], torch.full((3, backbone.dim), 2.0))


# --- Training


def test_training_learns_what_follows_what(kind: Kind) -> None:
    _, scores = kind.trained()
    # By chance the target of 30 items is among the first ten with an NDCG of about 0.15.
    assert scores[0] < 0.3
    assert max(scores) > 0.6


def test_a_backbone_killed_while_it_trains_ends_with_the_same_digest(kind: Kind, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def killed(epoch: int, score: float) -> None:
        if epoch == 2:
            raise Killed

    path = tmp_path / "backbone.safetensors"
    with pytest.raises(Killed):
        kind.trained(epochs=3, checkpoint=path, progress=killed)
    epochs: list[int] = []
    model, scores = kind.trained(epochs=3, checkpoint=path, progress=lambda epoch, _: epochs.append(epoch))
    torch.manual_seed(99)
    uninterrupted, whole = kind.trained(epochs=3)
    assert epochs == [3]
    assert model.digest == uninterrupted.digest
    assert scores == whole


def test_a_region_trains_its_adapter_and_leaves_the_backbone_as_it_was(kind: Kind, backbone: ItemModel) -> None:
    config, weights = backbone.to_bytes()
    task = TrainTask(
        region=3,
        backbone=(config, weights),
        item_rows=torch.zeros(0, backbone.dim),
        current=None,
        shared=None,
        new=timed(successor_windows(120, 0)),
        replay=VALIDATION.take(slice(0, 0)),
        validation=VALIDATION,
        retained=VALIDATION.take(slice(0, 0)),
        positions=3,
        adapter=AdapterConfig(rank=4, alpha=8, item_rank=3),
        schedule=Schedule(epochs=4, batch=16, learning_rate=0.02, seed=1),
        backbone_file=kind.backbone_file,
    )
    result, again = train_region(task), train_region(task)
    assert result.blobs == again.blobs
    assert result.chosen == "trained"
    assert result.after["NDCG@10"] > result.before["NDCG@10"] + 0.1
    assert backbone.to_bytes() == (config, weights)
    assert kind.loaded(config, weights).digest == backbone.digest


def test_peft_loads_an_adapter_and_gives_the_same_states(backbone: ItemModel, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # What peft's own imports warn of is not ours to fix.
        warnings.simplefilter("ignore")
        from peft import PeftModel

        adapter = random_adapter(backbone, [2])
        blobs = adapter.to_blobs()
        (tmp_path / "adapter_model.safetensors").write_bytes(blobs["lora"])
        (tmp_path / "adapter_config.json").write_bytes(blobs["lora_config"])
        # A copy: peft puts its layers into the module that it is given.
        copy = type(backbone).from_bytes(*backbone.to_bytes())
        wrapped = PeftModel.from_pretrained(copy, str(tmp_path)).eval()
        theirs = wrapped.base_model.model.encode(CONTEXTS)
    ours = backbone.encode(CONTEXTS, AdapterDelta(adapter.lora, adapter.scaling))
    assert (ours - backbone.encode(CONTEXTS)).abs().max() > 0.1, "the test needs an adapter that does something"
    assert (ours - theirs).abs().max() == 0


# --- The whole way


@dataclass(frozen=True)
class Way:
    """A model that was set up on a synthetic log and edited once."""

    memory: Memory
    view: ModelView
    edit: Edited


@pytest.fixture(scope="session")
def way(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Way:
    folder, made = tmp_path_factory.mktemp("way"), drifting_log(SMALL_LOG)
    write_csv(made, folder / "log.csv")
    if kind.titles:
        items = sorted(set(read_log(folder / "log.csv").catalogue.items))
        rows = (f"{item},the {['first', 'second', 'third'][row % 3]} film" for row, item in enumerate(items))
        (folder / "items.csv").write_text("\n".join(["item_id,title", *rows]))
    interactions = read_log(folder / "log.csv", titles=folder / "items.csv" if kind.titles else None)
    settings, ends = small_settings(), [int(end) for end in made.truth.ends]
    config = replace(kind.config, batch=64, epochs=3, layers=1, learning_rate=0.005)
    quick = replace(settings.engine.edit, shared_epochs=1, epochs=1)
    settings = replace(settings, engine=replace(settings.engine, backbone=config, edit=quick))
    memory = Memory()
    view = memory.view(memory.content(set_up(interactions, ends[0], settings).parts), kind.backbone_file)
    return Way(memory, view, edited(memory, view, interactions, ends[1]))


def test_an_edit_changes_the_regions_it_touches_and_nothing_else(way: Way) -> None:
    before, after, plan = way.view, way.edit.view, way.edit.prepared.plan
    assert plan.touched
    assert after.backbone.digest == before.backbone.digest
    assert after.content.backbone == before.content.backbone
    for region in set(before.content.regions) - set(plan.touched):
        assert after.content.regions[region] == before.content.regions[region]
    windows = before.holdout
    old, new = before.router.assign(windows), after.router.assign(windows)
    kept = (old == new) & ~np.isin(new, plan.touched)
    scores, now = before.router.scores(windows), after.router.scores(windows)
    assert torch.equal(now[kept, : scores.shape[1]], scores[kept])


def test_what_an_edit_made_is_read_back_and_recommends_new_items(way: Way) -> None:
    content = way.edit.view.content
    assert isinstance(content, StoredContent)
    view = way.memory.view(content, way.view.backbone_file)
    new = len(view.backbone.item_table()) - 1 - view.backbone.known_items
    assert new == len(view.item_chunks[0]) > 0
    windows = way.edit.prepared.windows
    scores = view.router.scores(windows)
    assert torch.equal(scores, way.edit.view.router.scores(windows))
    assert scores[:, -new:].isfinite().any()


def test_windows_hold_times_and_new_items_hold_titles_where_the_backbone_reads_them(kind: Kind, way: Way) -> None:
    view = way.edit.view
    timed_windows = [view.holdout, view.validation, view.buffer.windows, way.edit.prepared.windows]
    timed_windows += [view.replay(region) for region in view.content.regions]
    reads_times = kind.config.kind == "tisasrec"
    assert view.settings.engine.windows.times == reads_times
    assert {windows.times is not None for windows in timed_windows} == {reads_times}
    assert view.backbone.reads_titles == (kind.config.kind == "causal_lm")
    if view.backbone.reads_titles:
        titles = view.backbone.appended_titles  # type: ignore[attr-defined]
        assert titles.shape[0] == len(view.item_chunks[0])
        assert (titles >= 0).any() == bool(kind.titles)
