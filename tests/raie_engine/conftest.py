"""One small model for all the engine's tests, trained once, on one thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.raie_engine.world import World


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products are faster on one thread, and other tests may run on the other cores."""
    torch = sys.modules.get("torch")
    if torch is None:  # no test that was collected needs it
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> World:
    """A model that was set up and edited twice; nobody changes it."""
    from tests.raie_engine.world import make_world

    return make_world(tmp_path_factory.mktemp("world"))
