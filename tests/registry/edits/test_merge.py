"""Replay, undo and cherry-pick: exact for every content, or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given

from raie.registry import Content, Digest, IncompatibleRegions, digest_of
from raie.registry.edits.merge import changed_regions, cherry_pick, contested_regions, rebase, revert
from raie.registry.roles import APPEND_ONLY
from tests.registry.strategies import disjoint, related


def blob(text: str) -> Digest:
    return digest_of(text.encode())


BASE = Content(
    {"weights": blob("weights")},
    blob("space"),
    {"catalogue": (blob("items 0"),), "watermark": (blob("mark 0"),)},
    {region: {"state": blob(f"{region} v1")} for region in range(3)},
)


def with_region(content: Content, region: int, text: str | None) -> Content:
    regions = {key: entry for key, entry in content.regions.items() if key != region}
    return replace(content, regions=regions if text is None else regions | {region: {"state": blob(text)}})


def with_shared(content: Content, **shared: tuple[str, ...]) -> Content:
    return replace(content, shared=dict(content.shared) | {k: tuple(map(blob, v)) for k, v in shared.items()})


def attempt(content: Content, base: Content, head: Content) -> Content | None:
    try:
        return rebase(content, base, head)
    except IncompatibleRegions:
        return None


@given(related(2))
def test_an_edit_on_a_head_that_did_not_move_keeps_its_bytes(pair: tuple[Content, Content]) -> None:
    base, content = pair
    assert rebase(content, base, base) == content
    assert rebase(base, base, content) == content


@given(related(3))
def test_two_disjoint_edits_give_the_same_content_in_either_order(trio: tuple[Content, ...]) -> None:
    base, first, second = trio
    assert attempt(first, base, second) == attempt(second, base, first)


@given(disjoint())
def test_a_replayed_edit_holds_its_own_regions_and_all_of_the_head_s(trio: tuple[Content, ...]) -> None:
    base, content, head = trio
    landed = rebase(content, base, head)
    mine, theirs = changed_regions(base, content), changed_regions(base, head)
    for region in mine | theirs | base.regions.keys():
        source = content if region in mine else head
        assert landed.regions.get(region) == source.regions.get(region)


@given(related(3))
def test_two_edits_of_one_region_are_never_merged(trio: tuple[Content, ...]) -> None:
    base, content, head = trio
    if changed_regions(base, content) & changed_regions(base, head):
        assert attempt(content, base, head) is None


@given(related(2))
def test_undoing_the_newest_edit_gives_its_base_exactly(pair: tuple[Content, Content]) -> None:
    base, result = pair
    assert revert(base, result, result) == base
    assert revert(base, result, result).digest == base.digest


@given(disjoint())
def test_undoing_the_first_of_two_disjoint_edits_leaves_the_second_byte_for_byte(
    trio: tuple[Content, ...],
) -> None:
    base, first, second = trio
    left = revert(base, first, rebase(second, base, first))
    assert left.regions == second.regions


@given(related(3))
def test_an_undo_touches_no_region_that_the_edit_did_not(trio: tuple[Content, ...]) -> None:
    base, result, head = trio
    if contested_regions(base, result, head):
        with pytest.raises(IncompatibleRegions):
            revert(base, result, head)
        return
    assert changed_regions(head, revert(base, result, head)) <= changed_regions(base, result)


@given(related(3))
def test_rows_that_later_edits_refer_to_are_never_taken_from_under_them(trio: tuple[Content, ...]) -> None:
    base, result, head = trio
    if head == result or contested_regions(base, result, head):
        return
    left = revert(base, result, head)
    for part in APPEND_ONLY:
        assert left.shared.get(part) == head.shared.get(part)


@given(related(3))
def test_undoing_twice_is_undoing_once(trio: tuple[Content, ...]) -> None:
    base, result, head = trio
    assume(not contested_regions(base, result, head))
    once = revert(base, result, head)
    assume(once != result)
    assert revert(base, result, once).regions == once.regions


@given(related(2))
def test_cherry_picking_changes_one_region_and_no_other(pair: tuple[Content, Content]) -> None:
    target, source = pair
    try:
        picked = cherry_pick(target, source, 1)
    except IncompatibleRegions:
        return
    assert changed_regions(target, picked) <= {1}
    assert picked.regions.get(1) == source.regions.get(1)
    for part in APPEND_ONLY:
        known = picked.shared.get(part, ())
        assert known[: len(source.shared.get(part, ()))] == source.shared.get(part, ())
        assert known[: len(target.shared.get(part, ()))] == target.shared.get(part, ())


def test_of_two_lists_that_grew_the_longer_one_wins_and_branches_are_refused() -> None:
    first = with_shared(with_region(BASE, 0, "0 v2"), catalogue=("items 0", "items 1"))
    longer = with_shared(with_region(BASE, 1, "1 v2"), catalogue=("items 0", "items 1", "items 2"))
    assert rebase(first, BASE, longer).shared["catalogue"] == longer.shared["catalogue"]
    assert rebase(longer, BASE, first).shared["catalogue"] == longer.shared["catalogue"]
    branch = with_shared(with_region(BASE, 1, "1 v2"), catalogue=("items 0", "other"))
    with pytest.raises(IncompatibleRegions, match="catalogue"):
        rebase(first, BASE, branch)


def test_two_watermarks_are_a_conflict_for_no_edit_may_skip_the_other_s_rows() -> None:
    first = with_shared(with_region(BASE, 0, "0 v2"), watermark=("mark 1",))
    second = with_shared(with_region(BASE, 1, "1 v2"), watermark=("mark 2",))
    with pytest.raises(IncompatibleRegions, match="watermark"):
        rebase(first, BASE, second)


def test_a_new_region_goes_when_its_edit_is_undone_and_a_retired_one_comes_back() -> None:
    added = with_region(BASE, 7, "7 v1")
    later = with_region(added, 1, "1 v2")
    assert 7 not in revert(BASE, added, later).regions
    retired = with_region(BASE, 2, None)
    later = with_region(retired, 1, "1 v2")
    assert revert(BASE, retired, later).regions[2] == BASE.regions[2]


def test_vectors_of_two_routing_spaces_are_never_mixed() -> None:
    moved = replace(BASE, space=blob("another space"))
    for mix in (
        lambda: rebase(with_region(BASE, 0, "0 v2"), BASE, moved),
        lambda: revert(BASE, with_region(BASE, 0, "0 v2"), with_region(moved, 0, "0 v2")),
        lambda: cherry_pick(BASE, moved, 0),
    ):
        with pytest.raises(IncompatibleRegions, match="routing space"):
            mix()


def test_adapters_of_another_backbone_are_refused() -> None:
    second = replace(BASE, backbone={"weights": blob("other weights")})
    with pytest.raises(IncompatibleRegions, match="backbone"):
        cherry_pick(BASE, second, 0)
