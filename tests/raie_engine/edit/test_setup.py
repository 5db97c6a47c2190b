"""A setup whose backbone trains and whose windows are encoded elsewhere."""

from __future__ import annotations

import pytest

from raie.engine import encoding
from raie.engine.edit.setup import _stored_backbone, set_up
from tests.raie_engine.travelling import TravellingExecutor
from tests.raie_engine.world import World, small_settings


def test_a_setup_on_an_executor_has_the_parts_of_one_in_this_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding.encode_on, "__kwdefaults__", {"size": 256})
    executor, heard = TravellingExecutor(), list[int]()
    made = set_up(
        world.interactions,
        world.ends[0],
        small_settings(),
        executor=executor,
        progress=lambda epoch, score: heard.append(epoch),
    )
    assert made.parts == world.made.parts
    assert executor.ran.count(_stored_backbone) == 1
    assert executor.ran.count(encoding._encoded) > 1
    assert heard[:2] == [1, 2]
