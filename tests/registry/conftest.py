"""Fixtures of tests that need many registries, each a copy of one small history."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.registry.crash.grounds import Ground, prepared


@pytest.fixture(scope="module")
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """A history to copy, in the database and the store that the parameter names."""
    database, store = request.param.split("-")
    server = request.getfixturevalue("postgres_server") if database == "postgresql" else None
    environment = request.getfixturevalue("s3_server") if store == "s3" else {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with prepared(server, environment) as made:
            yield made
