from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raie_engine.backbones import SasRec, SasRecShape, encode, item_scores, load_backbone
from raie_engine.errors import DamagedArtifact
from tests.raie_engine.world import in_another_process, random_backbone

LENGTH, ITEMS = 6, 30
BACKBONE = random_backbone()


def window(*items: int) -> torch.Tensor:
    return torch.tensor([items])


@pytest.mark.parametrize("place", range(1, LENGTH))
def test_a_later_item_changes_no_earlier_state(place: int) -> None:
    model = random_backbone()
    items = torch.randint(1, ITEMS + 1, (8, LENGTH), generator=torch.Generator().manual_seed(place))
    other = items.clone()
    other[:, place] = items[:, place] % ITEMS + 1
    before, after = model.hidden(items), model.hidden(other)
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.allclose(before[:, place], after[:, place])


@settings(deadline=None)
@given(st.lists(st.integers(1, ITEMS), min_size=1, max_size=LENGTH), st.randoms())
def test_where_padding_stands_changes_no_state(items: list[int], random: Random) -> None:
    places = sorted(random.sample(range(LENGTH), len(items)))
    scattered = [0] * LENGTH
    for place, item in zip(places, items, strict=True):
        scattered[place] = item
    right = items + [0] * (LENGTH - len(items))
    left = [0] * (LENGTH - len(items)) + items
    wanted = BACKBONE.hidden(window(*right))
    # Bit for bit, because all three become the same left-justified window.
    assert torch.equal(wanted, BACKBONE.hidden(window(*left)))
    assert torch.equal(wanted, BACKBONE.hidden(window(*scattered)))
    assert torch.equal(encode(BACKBONE, window(*right)), encode(BACKBONE, window(*left)))


def test_padding_behind_a_window_changes_none_of_its_states() -> None:
    model, items = random_backbone(), [3, 1, 4]
    short = model.hidden(window(*items))
    padded = model.hidden(window(*items, 0, 0, 0))
    # 1e-5: the two are products of other shapes, which may sum in another order.
    torch.testing.assert_close(padded[:, :3], short, rtol=0, atol=1e-5)
    torch.testing.assert_close(encode(model, window(*items, 0, 0, 0)), short[:, 2], rtol=0, atol=1e-5)


def test_the_state_of_a_prefix_is_the_state_of_the_shorter_window() -> None:
    model = random_backbone()
    whole = model.hidden(window(5, 6, 7, 8, 9, 10))
    for length in range(1, LENGTH):
        prefix = model.hidden(window(*range(5, 5 + length)))
        torch.testing.assert_close(whole[:, :length], prefix, rtol=0, atol=1e-5)


def test_padding_is_never_recommended() -> None:
    model = random_backbone()
    scores = item_scores(model, encode(model, window(1, 2, 3, 0, 0, 0)))
    assert scores.shape == (1, ITEMS + 1)
    assert scores[0, 0] == float("-inf")
    assert scores[0, 1:].isfinite().all()


def test_bytes_give_back_the_same_model() -> None:
    model, items = random_backbone(), torch.arange(1, 25).reshape(4, 6)
    again = load_backbone(*model.to_bytes())
    assert again.digest == model.digest
    assert torch.equal(again.hidden(items), model.hidden(items))
    assert isinstance(again, SasRec)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_the_digest_is_the_same_in_another_process(tmp_path: Path) -> None:
    model = random_backbone()
    config, weights = model.to_bytes()
    (tmp_path / "config").write_bytes(config)
    (tmp_path / "weights").write_bytes(weights)
    code = """
import hashlib, sys
from pathlib import Path
from raie_engine.backbones import load_backbone
folder = Path(sys.argv[1])
model = load_backbone((folder / "config").read_bytes(), (folder / "weights").read_bytes())
config, weights = model.to_bytes()
print(model.digest, hashlib.sha256(config + weights).hexdigest())
"""
    written = hashlib.sha256(config + weights).hexdigest()
    assert in_another_process(code, tmp_path) == f"{model.digest} {written}"


def test_another_weight_is_another_digest() -> None:
    digests = {random_backbone(seed=seed).digest for seed in range(3)} | {random_backbone(items=31).digest}
    assert len(digests) == 4


def test_a_seed_gives_one_model_and_leaves_the_process_its_random_state() -> None:
    shape, state = SasRecShape(ITEMS, LENGTH, 16, 1, 2), torch.get_rng_state()
    assert SasRec(shape, seed=1).digest == SasRec(shape, seed=1).digest != SasRec(shape, seed=2).digest
    assert torch.equal(torch.get_rng_state(), state)


def test_appended_items_change_neither_the_digest_nor_the_states_of_known_items() -> None:
    model, items = random_backbone(), torch.arange(1, 25).reshape(4, 6)
    before = model.hidden(items)
    longer = model.with_item_rows(torch.ones(2, 16))
    # The digest is computed afresh: with_item_rows shares the attribute that keeps it.
    assert SasRec.from_bytes(*longer.to_bytes()).digest == model.digest == longer.digest
    assert torch.equal(longer.hidden(items), before)
    assert longer.known_items == model.known_items == ITEMS
    assert len(longer.item_table()) == ITEMS + 3
    assert longer.hidden(window(1, 32)).isfinite().all()


def test_appending_again_replaces_what_was_appended_and_leaves_the_older_model_alone() -> None:
    model = random_backbone()
    once = model.with_item_rows(torch.ones(2, 16))
    twice = once.with_item_rows(torch.full((3, 16), 2.0))
    assert [len(each.item_table()) for each in (model, once, twice)] == [ITEMS + 1, ITEMS + 3, ITEMS + 4]
    assert torch.equal(once.item_table()[-2:], torch.ones(2, 16))
    assert torch.equal(twice.item_table()[-3:], torch.full((3, 16), 2.0))


def damaged() -> dict[str, tuple[bytes, bytes]]:
    config, weights = random_backbone().to_bytes()
    fields = json.loads(config)

    def with_config(**values: object) -> bytes:
        return json.dumps(fields | values).encode()

    return {
        "weights cut short": (config, weights[:-1]),
        "no weights": (config, b""),
        "a damaged header": (config, weights[:9] + b"\x00" + weights[10:]),
        "weights of another model": (config, random_backbone(items=31).to_bytes()[1]),
        "more items than rows": (with_config(items=31), weights),
        "fewer layers": (with_config(layers=1), weights),
        "another size": (with_config(dim=8), weights),
        "heads that do not divide dim": (with_config(heads=3), weights),
        "no heads": (with_config(heads=0), weights),
        "a negative size": (with_config(items=-5), weights),
        "a size that is text": (with_config(dim="16"), weights),
        "an unknown field": (with_config(colour=1), weights),
        "an unknown kind": (with_config(kind="gru"), weights),
        "no configuration": (b"", weights),
        "a number": (b"5", weights),
        "a list": (b"[]", weights),
        "not text": (b"\xff\xfe", weights),
    }


@pytest.mark.parametrize("what", list(damaged()))
def test_damaged_bytes_are_refused_in_one_line(what: str) -> None:
    config, weights = damaged()[what]
    with pytest.raises(DamagedArtifact) as refused:
        load_backbone(config, weights)
    assert str(refused.value).startswith("expected the configuration")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_number_for_a_configuration_is_refused_by_the_model_itself_too() -> None:
    with pytest.raises(DamagedArtifact):
        SasRec.from_bytes(b"5", b"")


def test_every_linear_layer_can_carry_an_adapter() -> None:
    model = random_backbone()
    layers = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert set(model.lora_targets) == layers
    assert len(layers) == 2 * 6
    reached: list[str] = []

    def delta(name: str, inputs: torch.Tensor) -> torch.Tensor:
        reached.append(name)
        return inputs.new_zeros(*inputs.shape[:-1], model.lora_targets[name].outputs)

    items = window(1, 2, 3, 4, 5, 6)
    assert torch.equal(model.hidden(items, delta), model.hidden(items))
    assert set(reached) == layers
