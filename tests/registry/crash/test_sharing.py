"""Two registries in one store work and die side by side, and neither loses a byte to the other."""

from __future__ import annotations

import pytest

from tests.registry.crash.sharing import rounds, sharing


def test_registries_that_share_a_store_and_are_killed_lose_nothing_to_each_other() -> None:
    with sharing(None, {}) as places:
        shared = rounds(places, 3, seed=3)
    assert shared.broken == []
    assert shared.killed


@pytest.mark.slow
@pytest.mark.parametrize(("database", "store"), [("sqlite", "folder"), ("postgresql", "s3")])
def test_nor_do_they_in_two_hundred_rounds(database: str, store: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres_server") if database == "postgresql" else None
    environment = request.getfixturevalue("s3_server") if store == "s3" else {}
    with sharing(server, environment) as places:
        shared = rounds(places, 200, seed=1)
    assert shared.broken == []
    assert shared.killed > 50
