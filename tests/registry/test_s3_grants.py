"""A role's policy in S3 allows what its work asks of the store, and nothing beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import migrations
from registry import InvalidValue, Registry
from registry.maintenance import gc
from registry.s3_grants import iam_policies
from registry.s3_store import S3Store
from tests.registry.building import MODEL, World

# The action that S3 asks for each operation (the service authorization reference of Amazon S3).
ACTION = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}
# Not called by a role's work, and needed all the same: S3 says that an object is missing only to who may list, and
# only who may abort an upload can clear away an interrupted one.
UNCALLED = {"s3:ListBucket", "s3:AbortMultipartUpload"}


def edits(world: World) -> None:
    world.edit(0, text="b")
    world.registry.put(b"x" * 100)


WORK: dict[str, Callable[[World], Any]] = {
    "reader": lambda world: [world.registry.get(digest) for digest in world.head.content.blobs()],
    "editor": edits,
    "promoter": lambda world: world.registry.promote_region(MODEL, 0, 1, "production", "grace"),
    "collector": lambda world: gc(world.registry, actor="cron", grace_s=0),
}


@pytest.fixture
def world(sqlite_url: str, s3_url: str) -> World:
    migrations.upgrade(sqlite_url)
    world = World(Registry.open(sqlite_url, s3_url))
    world.setup()
    world.edit(0, text="a")
    world.registry.promote(MODEL, "head", "production", "ada")
    world.registry.put(b"nobody names me")
    return world


def actions(policy: dict[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def test_each_role_may_do_what_its_work_asks_of_the_store_and_nothing_else(world: World, s3_url: str) -> None:
    store = world.registry.store
    assert isinstance(store, S3Store)
    called: set[str] = set()
    store._client.meta.events.register("before-call.s3", lambda model, **_: called.add(model.name))
    for role, work in WORK.items():
        called.clear()
        work(world)
        asked = {ACTION[operation] for operation in called}
        allowed = actions(iam_policies(s3_url)[role])
        assert asked <= allowed, role
        assert allowed - UNCALLED <= asked, role


def test_an_upload_in_parts_asks_for_nothing_else(world: World, s3_url: str) -> None:
    store = world.registry.store
    assert isinstance(store, S3Store)
    called: list[str] = []
    parts = S3Store(store.name, store.prefix, part_size=5 * 2**20)
    parts._client.meta.events.register("before-call.s3", lambda model, **_: called.append(model.name))
    parts.put(b"\1" * (6 * 2**20))
    assert "UploadPart" in called
    assert {ACTION[operation] for operation in called} <= actions(iam_policies(s3_url)["editor"])


@pytest.mark.parametrize(
    ("url", "objects"),
    [
        ("s3://models/raie", "arn:aws:s3:::models/raie/sha256/*"),
        ("s3://models/a/b/", "arn:aws:s3:::models/a/b/sha256/*"),
        ("s3://models", "arn:aws:s3:::models/sha256/*"),
    ],
)
def test_a_policy_is_of_the_stores_own_objects(url: str, objects: str) -> None:
    for policy in iam_policies(url).values():
        blobs, listing = policy["Statement"]
        assert (blobs["Resource"], listing["Resource"]) == ([objects], ["arn:aws:s3:::models"])
        assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}
        assert not any("*" in action for action in actions(policy))


def test_only_a_collector_deletes_and_a_reader_writes_nothing() -> None:
    found = {role: actions(policy) for role, policy in iam_policies("s3://models/raie").items()}
    assert [role for role, allowed in found.items() if "s3:DeleteObject" in allowed] == ["collector"]
    assert [role for role, allowed in found.items() if "s3:PutObject" in allowed] == ["editor", "promoter"]


@pytest.mark.parametrize("url", ["blobs", "file:///srv/blobs", "s3://", ""])
def test_a_folder_has_file_permissions_and_no_policy(url: str) -> None:
    with pytest.raises(InvalidValue, match="file permissions"):
        iam_policies(url)
