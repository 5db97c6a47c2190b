"""What a setup knows of the setups before it."""

from __future__ import annotations

from raie.edits.workflow import _earlier_epochs
from raie.registry import Author, Registry
from tests.registry.building import World, change


def test_the_epochs_of_every_models_setup_are_known_and_nothing_else_counts(local_registry: Registry) -> None:
    for model, report in (("a", {"backbone": {"epochs": 23}}), ("b", {"ndcg": 0.1}), ("c", {"backbone": {}})):
        world = World(local_registry, model)
        number = local_registry.begin(model, "setup", seed=1, author=Author("ada")).number
        content = world.content(1)
        local_registry.commit(model, number, content, [change(0, "setup")], report)
    local_registry.begin("d", "setup", seed=1, author=Author("ada"))
    assert _earlier_epochs(local_registry) == [23]
