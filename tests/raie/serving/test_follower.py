"""An alias is followed: one reference is swapped, what fails changes nothing, and what snapshots share is held once."""

from __future__ import annotations

import gc
import weakref

import pytest

from raie.engine.answers import Query, Wanted, answers
from raie.engine.model import ModelView
from raie.registry import Author, BlobCorrupt, NotFound
from raie.serving.follower import Follower, NotLoaded
from tests.raie.serving.conftest import Shop


def following(shop: Shop) -> Follower:
    follower = Follower(shop.source())
    assert follower.check()
    return follower


def test_a_promotion_is_served_after_the_next_question_and_a_request_keeps_the_snapshot_that_it_began_with(
    shop: Shop,
) -> None:
    follower = following(shop)
    held = follower.current
    assert not follower.check()
    assert (held.id, follower.state.swaps) == (shop.first, 0)
    shop.promote(shop.second)
    assert follower.check()
    assert (follower.current.id, follower.state.swaps) == (shop.second, 1)
    history = held.view.catalogue.items[:5]
    (before,), (now,) = (answers(of, [Query(history)]) for of in (held, follower.current))
    assert (before.snapshot, now.snapshot) == (shop.first, shop.second)


def test_what_two_snapshots_share_is_one_object_and_the_rest_goes_with_the_last_request(shop: Shop) -> None:
    follower = following(shop)
    view = follower.current.view
    weights = weights_of(view)
    shop.promote(shop.second)
    follower.check()
    newer = follower.current.view
    assert newer.space is view.space
    assert weights_of(newer) == weights
    same = [region for region, entry in newer.content.regions.items() if view.content.regions.get(region) == entry]
    assert all(newer.mixtures[region] is view.mixtures[region] for region in same)
    router, own = weakref.ref(view.router), weakref.ref(view.catalogue)
    gc.disable()
    try:
        del view
        assert router() is None
        assert own() in (None, newer.catalogue)
        shop.promote(shop.first)
        follower.check()
        assert weights_of(follower.current.view) == weights, "the weights outlive the snapshot that read them"
    finally:
        gc.enable()


def weights_of(view: ModelView) -> list[int]:
    """Where the weights of the backbone lie in memory."""
    return [weight.data_ptr() for weight in view.backbone.parameters()]  # type: ignore[attr-defined]


def test_over_many_swaps_no_more_than_two_snapshots_are_ever_held(shop: Shop) -> None:
    follower = following(shop)
    parts = follower.source.parts  # type: ignore[attr-defined]
    shop.promote(shop.second)
    follower.check()
    routers = [weakref.ref(follower.current.view.router)]
    sizes = []
    for number in range(6):
        shop.promote(shop.first if number % 2 == 0 else shop.second)
        assert follower.check()
        routers.append(weakref.ref(follower.current.view.router))
        sizes.append(len(parts._parts))
    assert sum(router() is not None for router in routers) == 1
    assert max(sizes[2:]) <= max(sizes[:2])
    assert follower.state.swaps == 7


def test_a_database_that_is_away_changes_nothing_and_is_recorded_until_it_answers(shop: Shop) -> None:
    follower = following(shop)
    database = shop.folder / "registry.db"
    database.rename(database.with_suffix(".away"))
    assert not follower.check()
    since = follower.state.behind_since
    assert not follower.check()
    state = follower.state
    assert (state.kind, state.refused) == ("DatabaseUnreachable", None)
    assert since is not None
    assert state.behind_since == since
    assert follower.current.id == shop.first
    database.with_suffix(".away").rename(database)
    assert not follower.check()
    assert (follower.state.behind_since, follower.state.error) == (None, None)


def test_a_blob_that_fails_its_check_keeps_the_old_snapshot_until_it_is_mended(shop: Shop) -> None:
    follower = following(shop)
    older, newer = (shop.registry.resolve("recsys", id_).content for id_ in (shop.first, shop.second))
    digest = sorted(
        digest
        for region, entry in newer.regions.items()
        for role, digest in entry.items()
        if role == "lora" and older.regions.get(region) != entry
    )[0]
    file = shop.blob(digest)
    whole = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shop.promote(shop.second)
    assert not follower.check()
    assert (follower.current.id, follower.state.refused) == (shop.first, shop.second)
    assert follower.state.kind == BlobCorrupt.__name__
    file.write_bytes(whole)
    assert follower.check()
    assert (follower.current.id, follower.state.refused, follower.state.kind) == (shop.second, None, None)


def test_before_the_first_snapshot_there_is_no_answer_and_an_alias_that_is_not_there_is_named(shop: Shop) -> None:
    follower = Follower(shop.source("staging"))
    with pytest.raises(NotLoaded, match="'staging'"):
        _ = follower.current
    with pytest.raises(NotFound, match="raie alias list"):
        follower.load_first()
    assert not follower.check()
    assert follower.state.kind == "NotFound"


def test_a_deleted_alias_changes_nothing_that_is_served_and_is_recorded_until_it_is_made_again(shop: Shop) -> None:
    follower = following(shop)
    shop.registry.delete_alias("recsys", "production", Author("ada", "by mistake"))
    assert not follower.check()
    assert (follower.current.id, follower.state.kind) == (shop.first, "AliasDeleted")
    assert "deleted by ada" in str(follower.state.error)
    shop.promote(shop.first)
    assert not follower.check()
    assert (follower.state.behind_since, follower.state.kind) == (None, None)


def test_every_row_answers_on_its_own(shop: Shop) -> None:
    loaded = following(shop).current
    items = loaded.view.catalogue.items
    queries = [
        Query(items[:3], wanted=Wanted(5)),
        Query(("nobody has this",)),
        Query(()),
        Query(items[3:9], wanted=Wanted(3, True)),
        Query(items[3:9], wanted=Wanted(10, None, (items[0], "nobody has this", items[7]))),
        Query(items[3:9], wanted=Wanted(4, None, ("nobody has this",))),
    ]
    together = answers(loaded, queries)
    assert together == [answers(loaded, [query])[0] for query in queries]
    assert [answer.cold for answer in together] == [False, True, True, False, False, False]
    assert together[1].items == together[2].items != ()
    assert [answer.ignored for answer in together] == [0, 1, 0, 0, 0, 0]
    assert set(together[4].items) == {items[0], items[7]}
    assert together[5].items == ()
    assert [len(answer.items) for answer in together[:4]] == [5, 10, 10, 3]
