"""The names of the protocol's steps: each is used in one place, and none that is not known."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from raie import registry
from raie.registry.failpoints import POINTS

SOURCES = sorted(Path(registry.__file__).parent.rglob("*.py"))


def reached(tree: ast.AST) -> Iterator[str]:
    """The argument of every call of failpoint(), which must be a text that can be read here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
            yield ast.literal_eval(node.args[0])


def test_every_point_is_reached_from_one_place_and_every_place_is_a_point() -> None:
    named = [point for path in SOURCES for point in reached(ast.parse(path.read_text(encoding="utf-8")))]
    assert sorted(named) == sorted(POINTS)


def test_every_point_says_what_has_happened_and_what_has_not() -> None:
    assert [name for name, meaning in POINTS.items() if ";" not in meaning or "\n" in meaning] == []
    assert len(POINTS) >= 20
