"""The lanes of the history: drawn as text here, because that is what they are for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raie.cli.ui.tree import branches, graph


def drawn(nodes: list[tuple[str, str | None]], trunk: str) -> str:
    lines = []
    for (name, _), row in zip(nodes, graph(nodes, trunk), strict=True):
        lines += [row.joins] if row.joins else []
        lines.append(f"{row.node} {name}")
    return "\n".join(lines)


def test_a_linear_history_is_one_lane() -> None:
    assert drawn([("c", "b"), ("b", "a"), ("a", None)], "c") == "● c\n● b\n● a"


def test_a_snapshot_composed_beside_the_head_has_its_own_lane_and_joins_its_parent() -> None:
    expected = """\
  ○ d
● │ c
├─╯
● b
● a"""
    assert drawn([("d", "b"), ("c", "b"), ("b", "a"), ("a", None)], "c") == expected


def test_a_composed_snapshot_whose_parent_was_composed_stays_in_its_lane() -> None:
    nodes = [("f", "d"), ("e", "b"), ("d", "b"), ("c", "b"), ("b", "a"), ("a", None)]
    expected = """\
  ○ f
  │ ○ e
  ○ │ d
● │ │ c
├─┴─╯
● b
● a"""
    assert drawn(nodes, "c") == expected


def test_a_lane_that_only_passes_is_crossed_not_joined() -> None:
    nodes = [("e", "b"), ("d", "a"), ("c", "b"), ("b", "a"), ("a", None)]
    expected = """\
● e
│ ○ d
│ │ ○ c
├─┼─╯
● │ b
├─╯
● a"""
    assert drawn(nodes, "e") == expected


def test_a_history_that_is_cut_off_leaves_its_lanes_open() -> None:
    assert graph([("c", "b"), ("b", "a")], "c")[-1].below == "│"


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(0, 30))
def test_every_snapshot_is_drawn_once_in_its_own_row(parents: list[int], head: int) -> None:
    """Any forest: node i's parent is some earlier node."""
    chain = [(str(i), str(p % i) if i else None) for i, p in enumerate(parents)]
    rows = graph(chain[::-1], str(min(head, len(chain) - 1)))
    assert len(rows) == len(chain)
    assert all(row.node.count("●") + row.node.count("○") == 1 for row in rows)
    assert not rows or not rows[-1].below.strip(" "), "a lane is still open below the first snapshot"


@pytest.mark.parametrize("below", [[], ["x", "y"]])
def test_branches_hang_their_lines_below_them(below: list[str]) -> None:
    assert branches([("a", below), ("b", [])]) == ["├─ a", *(f"│  {line}" for line in below), "└─ b"]
