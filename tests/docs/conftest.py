"""The workspace of the command line's tests, in which somebody has left an edit open and production is protected."""

from __future__ import annotations

import pytest

from raie.registry import Author, Registry
from tests.cli.conftest import Raie, _made, _somewhere_else, raie, registry, workspace
from tests.cli.history import MODEL

__all__ = ["_made", "_somewhere_else", "incident", "raie", "registry", "workspace"]


@pytest.fixture
def incident(registry: Registry, raie: Raie, monkeypatch: pytest.MonkeyPatch) -> Raie:
    """Commands of grace, in that workspace."""
    registry.begin(MODEL, "edit", seed=7, author=Author("ada", "nightly"), data_digest="a" * 64)
    ran = raie("policy", "set", "production", "--second-person", "--reason", "two people look at it")
    assert ran.code == 0
    monkeypatch.setenv("RAIE_ACTOR", "grace")
    return raie
