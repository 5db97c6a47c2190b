"""Which edits count at the end of a history: a rollback takes edits back, and another gives them back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raie.registry.edits.undone import LandedEdit, distance, undone_edits


def _history(*edits: tuple[int, ...] | str) -> list[LandedEdit]:
    """Edits numbered from 1: () trains, (2,) undoes edit 2, "s3" returns to what edit 3 made."""
    return [
        LandedEdit(
            number, f"s{number}", () if isinstance(does, str) else does, does if isinstance(does, str) else None
        )
        for number, does in enumerate(edits, start=1)
    ]


def test_an_undone_edit_is_named_with_the_rollback_that_did_it():
    assert undone_edits(_history((), (), (), (2,))) == {2: 4}


def test_undoing_a_rollback_gives_back_what_it_took():
    assert undone_edits(_history((), (), (2,), (3,))) == {3: 4}


def test_returning_to_a_snapshot_takes_back_every_edit_since():
    assert undone_edits(_history((), (), (), "s1")) == {2: 4, 3: 4}


def test_returning_to_a_snapshot_takes_the_rollbacks_since_back_too():
    assert undone_edits(_history((), (), (2,), (), "s2")) == {3: 5, 4: 5}


def test_an_alias_that_holds_an_undone_edit_is_told_from_one_that_is_only_late():
    head = _history((), (), (), (2,))
    assert distance(head, head[:2]).taken_back == {2: 4}
    late = distance(head, head[:1])
    assert not late.taken_back
    assert late.behind == (2, 3, 4)
    assert not distance(head, head).behind


def _moves(number: int) -> st.SearchStrategy[tuple[int, ...] | str]:
    """What the edit of this number can do."""
    returns = st.integers(1, number - 1).map(lambda n: f"s{n}")
    undoes = st.integers(2, number - 1).map(lambda n: (n,)) if number > 2 else st.just(())
    return st.one_of(st.just(()), undoes, returns)


def _histories() -> st.SearchStrategy[list[LandedEdit]]:
    lengths = st.integers(2, 12)
    return lengths.flatmap(lambda n: st.tuples(*map(_moves, range(2, n)))).map(lambda moves: _history((), *moves))


@given(_histories())
def test_a_return_leaves_exactly_what_counted_there(history):
    for position, edit in enumerate(history):
        if edit.returns_to is None:
            continue
        then = next(k for k, made in enumerate(history) if made.snapshot == edit.returns_to) + 1
        counted = {e.number for e in history[:then]} - undone_edits(history[:then]).keys()
        now = {e.number for e in history[:position]} - undone_edits(history[: position + 1]).keys()
        assert now == counted


@given(_histories())
def test_a_snapshot_beside_itself_is_neither_behind_nor_taken_back(history):
    apart = distance(history, history)
    assert not apart.behind
    assert not apart.taken_back
