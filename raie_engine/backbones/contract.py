"""What a backbone must keep to, tried on a few windows before any training: foreign code is checked, not trusted.

A backbone that let a state see what it should predict would train to perfect scores and recommend nothing; one whose rows
read each other would give another answer in another batch. Both are found here in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from raie.engine.backbones.backbone_file import foreign_code
from raie.engine.backbones.item_model import ItemModel
from raie.engine.backbones.protocol import Contexts
from raie.engine.errors import ConfigError, DamagedArtifact

__all__ = ["require_contract"]

ROWS = 4
ROWS_READ = "the rows of the item table"


def require_contract(model: ItemModel) -> None:
    """Tries a backbone on a few windows before it trains.

    Args:
        model: the backbone.

    Raises:
        ConfigError: with the first thing that the model does not do as a backbone must.
    """
    training = model.training
    model.eval()
    with foreign_code(f"backbone.kind {model.kind!r}"), torch.no_grad(), torch.random.fork_rng(devices=[]):
        broken = next(_breaches(model), None)
    model.train(training)
    if broken:
        raise ConfigError(f"expected a backbone (docs/backbones.md), found one {broken}")


def _breaches(model: ItemModel) -> Iterator[str]:
    contexts, target = _windows(model)
    states = model.encode(contexts)
    if states.shape != (ROWS, model.dim) or not bool(states.isfinite().all()):
        yield f"whose states are {tuple(states.shape)} or not finite; `encode` gives [n, d] = [{ROWS}, {model.dim}]"
        return
    flipped = Contexts(contexts.items.flip(0), contexts.times)
    flipped.items[0] = contexts.items[0]
    if not torch.equal(model.encode(flipped)[0], states[0]):
        yield "in which the state of a window depends on the other windows of its batch"
    if model.length > 1 and not _width_is_nothing(model, contexts):
        yield "whose states of short windows depend on the padding behind them; read contexts of any width up to `length`"
    if type(model).examples is ItemModel.examples and not _causal(model, contexts):
        yield "in which `states` at a position has read a later item; mask the future, or define `encode` and `examples`"
    chosen, following = model.examples(contexts, target, model.length)
    if chosen.shape != (len(following), model.dim) or not len(following) or bool((following < 1).any()):
        yield f"whose `examples` gives states {tuple(chosen.shape)} for {len(following)} items of row 1 or later"
    reached = _reached(model, contexts)
    if ROWS_READ not in reached:
        yield "that reads items around `embedded`, so neither new items nor an adapter's item rows reach it"
    for name in sorted(set(model.lora_targets) - reached):
        yield f"whose linear layer {name!r} is not called when a window is encoded, so no adapter reaches it"
    if model.known_items > 1 and torch.equal(model.encode(_last_replaced(contexts)), states):
        yield "whose states do not depend on the last item of a window"
    yield from _changed_by_storing(model, contexts, states)


def _changed_by_storing(model: ItemModel, contexts: Contexts, states: Tensor) -> Iterator[str]:
    """What training would end in: hours later the model is stored, and read again by every later command."""
    try:
        again = model.from_bytes(*model.to_bytes())
    except DamagedArtifact as error:
        yield f"that cannot be read back once it is stored: {error}"
        return
    if not torch.equal(again.encode(contexts), states):
        yield "whose states are others once it was stored and read back"


def _windows(model: ItemModel) -> tuple[Contexts, Tensor]:
    """Full windows, as long as the model reads, of different items at different times."""
    places = torch.arange(ROWS * model.length).view(ROWS, -1)
    contexts = Contexts(places % model.known_items + 1, 1_000_000_000 + 86_400 * places)
    return contexts, (places[:, -1] + 1) % model.known_items + 1


def _last_replaced(contexts: Contexts) -> Contexts:
    items = contexts.items.clone()
    items[:, -1] = items[:, -1] % int(items.max()) + 1
    return Contexts(items, contexts.times)


def _width_is_nothing(model: ItemModel, contexts: Contexts) -> bool:
    """Whether a batch of short windows may come without their padding, as training passes it."""
    real = torch.arange(model.length) < (model.length + 1) // 2
    padded = replace(contexts, items=contexts.items * real)
    narrow, wide = model.encode(padded.trimmed()), model.encode(padded)
    # 1e-3: products of another shape sum in another order, in a model of any size.
    return bool(torch.allclose(narrow, wide, rtol=1e-3, atol=1e-3 * float(wide.abs().max())))


def _causal(model: ItemModel, contexts: Contexts) -> bool:
    before, after = (model.states(batch)[:, :-1] for batch in (contexts, _last_replaced(contexts)))
    return torch.equal(before, after)


def _reached(model: ItemModel, contexts: Contexts) -> set[str]:
    """What encoding calls of an adapter: linear layers, and the rows it reads.

    In inference mode, where torch has fast paths around its own layers.
    """
    reached: set[str] = set()

    class Nothing:
        def linear(self, name: str, layer: nn.Module, inputs: Tensor) -> Tensor:
            reached.add(name)
            out: Tensor = layer(inputs)
            return out

        def read(self, items: Tensor) -> Tensor | None:
            reached.add(ROWS_READ)
            return None

    with torch.inference_mode():
        model.encode(contexts, Nothing())
    return reached
