"""Each habit of a server works, or is one true line before anything is trained; none is silently wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raie.registry import Author, BlobMissing, Registry, StoreUnreachable, digest_of, open_store
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from raie.registry.store.s3 import S3Store
from raie.registry.store.s3_listing import NotAList, listed, relative_key
from tests.registry.building import MODEL, World
from tests.registry.store.s3_habits import (
    REFUSED,
    TOGETHER,
    WORKING,
    Answer,
    Forward,
    Habit,
    Request,
    a_web_page,
    as_it_is,
    served,
)


def whole_history(world: World) -> str | None:
    """Everything that touches a store, as far as it needs no engine; what gc says of interrupted uploads."""
    registry = world.registry
    registry.store.probe()
    assert list(registry.store.iterate()) == [], "the probe left something"
    world.setup(2)
    world.edit(1, text="a")
    registry.promote(MODEL, "head", "production", Author("ada"))
    registry.rollback_edit(MODEL, 2, Author("ada"))
    registry.promote(MODEL, "head", "production", Author("ada"))
    expire(registry, MODEL, Rule(keep_last=1), author=Author("ada", "space"))
    doomed = gc(registry, author=Author("ada"), grace_s=0.0, dry_run=True).removed
    # As a gc that was killed between an object and its row leaves it, or a rule of the bucket.
    registry.store.delete(doomed[0].digest)  # type: ignore[arg-type]
    collected = gc(registry, author=Author("ada"), grace_s=0.0)
    assert collected.removed == doomed
    report = verify(registry)
    assert report.ok, report
    assert report.blobs > 5
    assert {blob.digest for blob in registry.store.iterate()}.isdisjoint(blob.digest for blob in doomed)
    assert not registry.store.exists(doomed[0].digest)  # type: ignore[arg-type]
    return collected.uploads_problem


def in_s3(registry: Registry, url: str) -> Registry:
    """The same registry with its objects in S3."""
    return replace(registry, store=open_store(url).within(registry.store.scope), checked={})


# One in the suite: the habits of the others are each tried alone below.
@pytest.mark.parametrize(
    "habits", [pytest.param(name, marks=[pytest.mark.slow] * (name != next(iter(TOGETHER)))) for name in TOGETHER]
)
def test_a_whole_history_on_servers_with_habits(
    habits: str, local_registry: Registry, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(TOGETHER[habits], s3_folder, monkeypatch):
        whole_history(World(in_s3(local_registry, s3_url)))


@pytest.mark.slow
@pytest.mark.parametrize("habit", WORKING)
def test_a_whole_history_on_a_server_with_one_habit(
    habit: str, local_registry: Registry, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(WORKING[habit], s3_folder, monkeypatch):
        whole_history(World(in_s3(local_registry, s3_url)))


@pytest.mark.parametrize("habit", REFUSED)
def test_what_cannot_work_is_one_true_line_before_anything_depends_on_it(
    habit: str, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, said = REFUSED[habit]
    with served(act, s3_folder, monkeypatch):
        with pytest.raises(StoreUnreachable) as refused:
            open_store(s3_url).probe()
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith("Expected the store s3://models/")


def test_an_editor_who_may_not_delete_passes_and_leaves_the_same_objects_each_time(
    s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_delete(request: Request, forward: Forward) -> Answer:
        return Answer(403) if request.method == "DELETE" else forward(request)

    with served(no_delete, s3_folder, monkeypatch):
        store = open_store(s3_url)
        for _ in range(2):
            store.probe()
        left = [path for path in (s3_folder / "models" / s3_url.rpartition("/")[2]).rglob("*") if path.is_file()]
        assert len(left) == 3
        assert list(store.iterate()) == [], "they are no blobs, which a gc of orphans would take"


@pytest.mark.parametrize("status", [200, 404])
def test_a_web_page_is_neither_a_whole_store_nor_one_that_lost_its_blobs(
    status: int, local_registry: Registry, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login page came between: verify said that all is well, and with 404 that every blob is lost."""
    now: list[Habit] = [as_it_is]
    with served(lambda request, forward: now[0](request, forward), s3_folder, monkeypatch):
        registry = in_s3(local_registry, s3_url)
        first = World(registry).setup(1)
        now[0] = a_web_page(status)
        for call in (
            lambda: verify(registry),
            lambda: gc(registry, author=Author("ada")),
            lambda: registry.promote(MODEL, "head", "production", Author("ada")),
            lambda: registry.get(first.content.space),
            lambda: registry.store.check(first.content.space),
            lambda: list(registry.store.records("audit/0a")),
        ):
            with pytest.raises(StoreUnreachable):
                call()


def test_a_server_that_takes_no_parts_is_given_the_whole_object(
    s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_parts(request: Request, forward: Forward) -> Answer:
        return Answer(501) if request.method == "POST" else forward(request)

    with served(no_parts, s3_folder, monkeypatch):
        store = S3Store("models", s3_url.rpartition("/")[2], part_size=2**20)
        data = bytes(2**20 + 1)
        assert store.check(store.put(data)) == len(data)


def test_a_blob_that_the_server_lost_is_still_told_from_a_server_that_is_none(s3_url: str) -> None:
    store = open_store(s3_url)
    for read in (store.get, store.check):
        with pytest.raises(BlobMissing):
            read(digest_of(b"never put"))
    with pytest.raises(StoreUnreachable, match="nowhere"):
        open_store("s3://nowhere/prefix").exists(digest_of(b"never put"))


# The list, page by page


class Pages:
    """A list of keys in pages of two, as a server of version 1 or 2 answers it."""

    def __init__(self, count: int, **more: Any) -> None:
        self.keys, self.more = [f"k{number}" for number in range(count)], more

    def newer(self, **after: str) -> Mapping[str, Any]:
        page = self.page(after.get("ContinuationToken", ""))
        last = page["Contents"][-1]["Key"] if page["Contents"] else ""
        return page | ({"NextContinuationToken": last} if page["IsTruncated"] else {}) | self.more

    def older(self, **after: str) -> Mapping[str, Any]:
        return self.page(after.get("Marker", "")) | self.more

    def page(self, after: str) -> dict[str, Any]:
        left = [key for key in self.keys if key > after]
        return {"IsTruncated": len(left) > 2, "Contents": [{"Key": key} for key in left[:2]]}


@pytest.mark.parametrize("count", range(6))
def test_every_page_of_either_version_of_the_list_is_read(count: int) -> None:
    pages = Pages(count)
    for newer in (pages.newer, pages.older):
        assert [read["Key"] for read in listed(newer, pages.older)] == pages.keys


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"IsTruncated": True, "Contents": []},
        {"IsTruncated": True, "Contents": [{"Key": "a"}]},
        {"IsTruncated": True, "Contents": [{"Key": "a"}], "NextContinuationToken": "the same"},
        {"IsTruncated": True, "Contents": [], "NextContinuationToken": "the same"},
    ],
)
def test_a_list_that_cannot_be_read_to_its_end_is_refused(page: dict[str, Any]) -> None:
    with pytest.raises(NotAList):
        list(listed(lambda **after: page, lambda **after: page))


@pytest.mark.parametrize("key", ["a b/sha256/x", "a%20b%2Fsha256%2Fx", "/a b/sha256/x", "a%20b/sha256/x"])
def test_a_key_is_known_however_the_server_spells_it(key: str) -> None:
    assert relative_key(key, "a b/") == "sha256/x"
    assert relative_key("other/sha256/x", "a b/") is None
