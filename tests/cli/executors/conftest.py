"""One Ray with two processors for all tests of a file that ask for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.executors.ray_here import NOT_INSTALLED, ray_environment


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray to which this process is connected."""
    ray = pytest.importorskip("ray", reason=NOT_INSTALLED)
    with ray_environment() as options:
        handler = signal.getsignal(signal.SIGTERM)
        ray.init("local", num_cpus=2, **options)
        yield ray
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)
