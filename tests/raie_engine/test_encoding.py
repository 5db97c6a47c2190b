"""Windows encoded in parts by several tasks."""

from __future__ import annotations

import numpy as np

from raie.engine.encoding import encode_on
from raie.engine.executor import LOCAL
from raie.engine.router import encode_windows
from tests.raie_engine.travelling import TravellingExecutor
from tests.raie_engine.world import World


def test_windows_encoded_in_parts_have_the_bits_of_all_at_once(world: World) -> None:
    view = world.view
    windows = view.holdout.take(np.arange(700) % len(view.holdout))
    whole = encode_windows(view.backbone, windows)
    executor = TravellingExecutor()
    parts = encode_on(executor, view.backbone, view.backbone_bytes, windows, size=256)
    assert len(executor.ran) == 3
    assert np.array_equal(parts, whole)
    assert np.array_equal(encode_on(LOCAL, view.backbone, view.backbone_bytes, windows, size=256), whole)


def test_few_windows_are_encoded_without_a_task(world: World) -> None:
    view, executor = world.view, TravellingExecutor()
    encode_on(executor, view.backbone, view.backbone_bytes, view.holdout.take(slice(0, 256)), size=256)
    assert executor.ran == []
