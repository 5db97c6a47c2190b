"""Spellings of one name are one person, and a name that only looks like another is named."""

from __future__ import annotations

import pytest

from raie.registry.people import look_alike, person_of
from raie.registry.promotion.policy import Facts, Policy, checks


@pytest.mark.parametrize("another", ["Ada", "ADA", "ada ", " ada", "\uff21da", "\uff41\uff44\uff41", "\u1d43da"])
def test_another_spelling_of_a_name_is_the_same_person(another: str) -> None:
    assert person_of(another) == person_of("ada")
    assert not look_alike(another, "ada")


@pytest.mark.parametrize(
    ("name", "another"),
    [
        ("stra\u00dfe", "STRASSE"),
        ("Andre\u0301", "andr\u00e9"),
        ("Ada  Lovelace", "ada lovelace"),
        ("ada\u00a0lovelace", "ada lovelace"),
    ],
)
def test_case_marks_and_spaces_are_compared_as_unicode_says(name: str, another: str) -> None:
    assert person_of(name) == person_of(another)


@pytest.mark.parametrize("another", ["bob", "adam", "ad", "\u0430da", "ad\u0101"])
def test_another_name_is_another_person(another: str) -> None:
    assert person_of(another) != person_of("ada")


@pytest.mark.parametrize(
    ("name", "another"),
    [
        ("\u0430da", "ada"),  # a Cyrillic letter
        ("\u0430\u0501\u0430", "ada"),
        ("b\u03bfb", "bob"),  # a Greek letter
        ("b0b", "bob"),
        ("Iain", "lain"),
        ("arnold", "amold"),
        ("ren\u00e9", "rene"),
    ],
)
def test_a_name_that_is_drawn_like_another_is_told(name: str, another: str) -> None:
    assert look_alike(name, another)
    assert look_alike(another, name)


def second_person(authors: set[str], approvers: set[str]) -> tuple[bool, str]:
    facts = Facts("a" * 64, "production", True, authors=frozenset(authors), approvers=frozenset(approvers))
    (check,) = checks(Policy(second_person=True), facts)
    return check.passed, check.actual


def test_an_author_in_other_letters_is_no_second_person() -> None:
    for name in ("\uff21da", "ada ", "ADA"):
        assert second_person({"ada"}, {name})[0] is False
    assert second_person({"ada"}, {"ADA", "bob"}) == (True, "approval by bob")


def test_a_second_person_who_looks_like_an_author_is_told_so() -> None:
    passed, line = second_person({"ada"}, {"\u0430da"})
    assert passed
    assert "'\\u0430da' looks like author 'ada'" in line
