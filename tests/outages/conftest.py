"""One report for the whole run, printed at its end: `make faults` shows it, and pytest swallows it otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

import migrations
from registry import Registry
from tests.outages.outage import WORKS, Work
from tests.outages.report import Report
from tests.registry.building import World


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """Where every fault's outcome is written down."""
    written = Report()
    yield written
    print(f"\n\n{written}")


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Work, str]:
    """What each work gives where nothing goes wrong: an id depends on neither a clock nor a server."""
    folder = tmp_path_factory.mktemp("undisturbed")
    database = f"sqlite:///{folder / 'registry.db'}"
    migrations.upgrade(database)
    registry = Registry.open(database, str(folder / "store"))
    World(registry).setup()
    return {work: work(registry) for work in WORKS}
