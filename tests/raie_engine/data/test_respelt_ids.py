"""Ids that a later log spells otherwise are found and named; honest slices of new users and items are let through."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.known_ids import Known, Overlap, Reference, overlap, reference
from raie.engine.data.respelt_ids import cause_of, far_below, forgotten_past, swapped
from raie.engine.data.windows import Windows, cut_windows
from tests.raie_engine.world import sliding

MARK = 6_000
Rows = list[tuple[str, str, int]]


@cache
def shop(seed: int = 1, *, digits: bool = True) -> Rows:
    """10,000 rows of 300 users and 150 items; users and items come in over time, and low items are popular."""
    rng = np.random.default_rng(seed)
    rows = []
    for at in range(10_000):
        user = int(rng.integers(30 + at // 40))
        item = min(int(rng.geometric(0.03)), 60 + at // 100)
        rows.append((f"{user:04}" if digits else f"u{user}", f"{item:05}" if digits else f"Item{item}", at))
    return rows


def read(rows: Rows, known: Catalogue) -> Interactions:
    """As the reader reads them: known ids keep their rows, new ones are appended."""
    users, items = ({text: row for row, text in enumerate(texts)} for texts in (known.users, known.items))
    user = [users.setdefault(row[0], len(users)) for row in rows]
    item = [items.setdefault(row[1], len(items)) + 1 for row in rows]
    times = np.array([row[2] for row in rows], np.int64)
    catalogue = Catalogue(tuple(users), tuple(items))
    return Interactions(np.array(user, np.int32), np.array(item, np.int32), times, catalogue)


def model(rows: Rows) -> tuple[Catalogue, list[Windows], Reference]:
    """What a model keeps of the rows up to the mark: ids, windows of the newest tenth, shares of earlier slices."""
    past = read([row for row in rows if row[2] <= MARK], Catalogue())
    held = cut_windows(past, sliding(length=5, min_length=2), after=MARK * 9 // 10)
    least = reference(past)
    assert least is not None
    return past.catalogue, [held], least


def doubts(log: Interactions, catalogue: Catalogue, held: list[Windows], least: Reference) -> list[object]:
    past, new = between(log, None, MARK), between(log, MARK, None)
    known = overlap(log, catalogue, MARK, None)
    return [
        doubt
        for doubt in (
            cause_of(new, catalogue, known),
            swapped(new, catalogue, held),
            forgotten_past(past, held),
            far_below(known, least),
        )
        if doubt
    ]


def plain(text: str) -> str:
    return text


SPELLINGS: dict[str, tuple[Callable[[str], str], str]] = {
    "float": (lambda text: f"{text}.0", 'end in ".0"'),
    "zeros lost": (lambda text: text.lstrip("0") or "0", "differ in leading zeros"),
    "zeros added": (lambda text: text.zfill(9), "differ in leading zeros"),
    "blank": (lambda text: f"{text} ", "differ in blanks around them"),
    "several ways": (lambda text: f" {text.lstrip('0') or '0'}.0", "differ in several ways"),
}


@pytest.mark.parametrize("whole", [True, False], ids=["with the past", "new rows alone"])
@pytest.mark.parametrize("role", ["user", "item"])
@pytest.mark.parametrize("how", SPELLINGS)
def test_ids_spelt_otherwise_are_named_with_the_way_back(how: str, role: str, whole: bool) -> None:
    rows = shop()
    catalogue, held, least = model(rows)
    spell, words = SPELLINGS[how]
    of_user, of_item = (spell if role == kind else plain for kind in ("user", "item"))
    later = [(of_user(user), of_item(item), at) for user, item, at in rows if whole or at > MARK]
    doubt = doubts(read(later, catalogue), catalogue, held, least)
    assert f"{role} ids {words}" in str(doubt[0])


@pytest.mark.parametrize("whole", [True, False], ids=["with the past", "new rows alone"])
def test_ids_in_another_case_are_named(whole: bool) -> None:
    rows = shop(digits=False)
    catalogue, held, least = model(rows)
    later = [(user, item.upper(), at) for user, item, at in rows if whole or at > MARK]
    assert "item ids differ in upper and lower case" in str(
        doubts(read(later, catalogue), catalogue, held, least)[0]
    )


@pytest.mark.parametrize("digits", [True, False], ids=["one range of numbers", "two kinds of names"])
def test_swapped_columns_are_found_although_both_are_numbers(digits: bool) -> None:
    rows = [(user.lstrip("0") or "0", item.lstrip("0"), at) for user, item, at in shop(digits=digits)]
    catalogue, held, _ = model(rows)
    new = [(item, user, at) for user, item, at in rows if at > MARK]
    log = read(new, catalogue)
    assert cause_of(log, catalogue, overlap(log, catalogue, MARK, None)) is None
    assert swapped(log, catalogue, held)
    assert swapped(log, catalogue, []) is not digits, "popularity separates two ranges of numbers"


def test_ids_that_no_rule_brings_back_are_found_by_what_earlier_slices_knew() -> None:
    rows = shop()
    catalogue, held, least = model(rows)
    for role in (0, 1):
        hashed = [tuple(f"#{x}" if n == role else x for n, x in enumerate(row)) for row in rows]
        new = read([row for row in hashed if row[2] > MARK], catalogue)  # type: ignore[misc]
        assert far_below(overlap(new, catalogue, MARK, None), least) == (("users", "items")[role],)
        whole = read(hashed, catalogue)  # type: ignore[arg-type]
        assert forgotten_past(between(whole, None, MARK), held)


@pytest.mark.parametrize("digits", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_honest_slices_are_let_through(seed: int, digits: bool) -> None:
    rows = shop(seed, digits=digits)
    catalogue, held, least = model(rows)
    for start in (0, 4_000, MARK + 1):
        for end in (6_050, 7_000, 10_000):
            later = [row for row in rows if start <= row[2] <= end]
            assert doubts(read(later, catalogue), catalogue, held, least) == []


def test_a_catalogue_whose_ids_differ_by_zeros_takes_more_of_them() -> None:
    known = [f"{n}" for n in range(50)] + [f"0{n}" for n in range(50)]
    new = read([("u", f"00{n}", 10 + n) for n in range(40)], Catalogue(("u",), tuple(known)))
    catalogue = Catalogue(("u",), tuple(known))
    assert cause_of(new, catalogue, overlap(new, catalogue, None, None)) is None


def test_some_late_rows_are_not_taken_for_the_past() -> None:
    rows = shop()
    catalogue, held, _ = model(rows)
    late = [(f"new{n}", f"new{n}", 5_600 + n) for n in range(20)]
    assert not forgotten_past(read(late, catalogue), held)
    assert not forgotten_past(read([], catalogue), held)


def test_shares_count_rows_and_distinct_ids_alike() -> None:
    catalogue = Catalogue(("a", "b"), ("x", "y", "z"))
    log = read([("a", "x", 1), ("a", "x", 2), ("c", "x", 3), ("d", "w", 4)], catalogue)
    assert overlap(log, catalogue, None, None) == Overlap(Known(4, 2, 3, 1), Known(4, 3, 2, 1))
    assert overlap(log, catalogue, 2, 3) == Overlap(Known(1, 0, 1, 0), Known(1, 1, 1, 1))
    nothing = overlap(log, catalogue, 9, None)
    assert (nothing.users.row_share, nothing.items.id_share) == (1.0, 1.0)


def test_a_reference_reads_back_and_falls_with_every_slice() -> None:
    least = reference(read(shop(), Catalogue()))
    assert least is not None
    assert 0 < least.users[0] < 1
    assert Reference.from_mapping(least.to_mapping()) == least
    for damaged in (
        None,
        {},
        {"users": 1, "items": 2},
        {"users": {"rows": 2, "ids": 0}, "items": {"rows": 0, "ids": 0}},
    ):
        assert Reference.from_mapping(damaged) is None
    lower = least.lowered(Overlap(Known(10, 0, 10, 0), Known(10, 10, 10, 10)))
    assert lower == Reference((0.0, 0.0), least.items)
    assert reference(read([], Catalogue())) is None
