"""A role's policy in S3 allows what its work asks of the store, and nothing beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raie import migrations
from raie.registry import Author, InvalidValue, Registry
from raie.registry.access.iam import iam_policies
from raie.registry.maintenance.checkpoints import publish
from raie.registry.maintenance.verify import gc
from raie.registry.ownership import standing
from raie.registry.store.s3 import S3Store
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
UNCALLED = {("s3:ListBucket", "List"), ("s3:AbortMultipartUpload", "Blobs")}


def reads(world: World) -> None:
    assert standing.look(world.registry).standing == "owner"
    for digest in world.head.content.blobs():
        world.registry.get(digest)


def edits(world: World) -> None:
    world.edit(0, text="b")
    publish(world.registry)


def promotes(world: World) -> None:
    world.registry.promote_region(MODEL, 0, 1, "production", Author("grace"))
    publish(world.registry)


def collects(world: World) -> None:
    assert gc(world.registry, author=Author("cron"), grace_s=0).removed
    publish(world.registry)


WORK: dict[str, Callable[[World], Any]] = {
    "reader": reads,
    "editor": edits,
    "promoter": promotes,
    "collector": collects,
}


@pytest.fixture
def world(sqlite_url: str, s3_url: str) -> World:
    migrations.upgrade(sqlite_url)
    world = World(Registry.open(sqlite_url, s3_url))
    world.setup()
    world.edit(0, text="a")
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    world.registry.put(b"nobody names me")
    return world


def allowed(policy: dict[str, Any]) -> set[tuple[str, str]]:
    """What a policy allows: action and part of the store."""
    return {(action, statement["Sid"]) for statement in policy["Statement"] for action in statement["Action"]}


def asked(model: Any, params: dict[str, Any]) -> tuple[str, str]:
    """What a call asks for."""
    action, key = ACTION[model.name], params["url_path"]
    return action, "List" if action.startswith(
        "s3:List"
    ) else "AuditEnds" if "/audit/" in key else "Marker" if key.endswith("/registry.json") else "Blobs"


def test_each_role_may_do_what_its_work_asks_of_the_store_and_nothing_else(world: World, s3_url: str) -> None:
    store = world.registry.store
    assert isinstance(store, S3Store)
    called: set[tuple[str, str]] = set()
    store._objects._client.meta.events.register(
        "before-call.s3", lambda model, params, **_: called.add(asked(model, params))
    )
    for role, work in WORK.items():
        called.clear()
        world.registry.checked.clear()
        work(world)
        may = allowed(iam_policies(s3_url)[role])
        assert called <= may, role
        assert may - UNCALLED <= called, role


def test_an_upload_in_parts_asks_for_nothing_else(world: World, s3_url: str) -> None:
    store = world.registry.store
    assert isinstance(store, S3Store)
    called: list[str] = []
    parts = S3Store(store.name, store.prefix, part_size=5 * 2**20)
    parts._objects._client.meta.events.register("before-call.s3", lambda model, **_: called.append(model.name))
    parts.put(b"\1" * (6 * 2**20))
    assert "UploadPart" in called
    assert {(ACTION[operation], "Blobs") for operation in called} <= allowed(iam_policies(s3_url)["editor"])


@pytest.mark.parametrize(
    ("url", "inside"), [("s3://models/raie", "/raie"), ("s3://models/a/b/", "/a/b"), ("s3://models", "")]
)
def test_a_policy_is_of_the_stores_own_objects(url: str, inside: str) -> None:
    arn = "arn:aws:s3:::models"
    places = {
        "Blobs": [f"{arn}{inside}/sha256/*"],
        "List": [arn],
        "AuditEnds": [f"{arn}{inside}/audit/*"],
        "Marker": [f"{arn}{inside}/registry.json"],
    }
    for policy in iam_policies(url).values():
        for statement in policy["Statement"]:
            assert statement["Resource"] == places[statement["Sid"]]
            assert statement["Effect"] == "Allow"
        assert not any("*" in action for action, _ in allowed(policy))


def test_only_a_collector_deletes_and_only_blobs_and_a_reader_writes_nothing() -> None:
    actions = {role: allowed(policy) for role, policy in iam_policies("s3://models/raie").items()}
    assert {role: part for role, may in actions.items() for action, part in may if "Delete" in action} == {
        "collector": "Blobs"
    }
    assert not any("Put" in action for action, _ in actions["reader"])
    assert ("s3:PutObject", "Blobs") not in actions["collector"]


def test_how_long_a_request_may_last_is_no_part_of_a_policy() -> None:
    assert iam_policies("s3://models/raie?timeout=5") == iam_policies("s3://models/raie")
    assert iam_policies("s3://models?timeout=5") == iam_policies("s3://models")


@pytest.mark.parametrize("url", ["s3://", "", "s3://key:secret@models/raie"])
def test_what_is_no_store_has_no_policy(url: str) -> None:
    with pytest.raises(InvalidValue, match="Expected") as refused:
        iam_policies(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["blobs", "file:///srv/blobs"])
def test_a_folder_has_file_permissions_and_no_policy(url: str) -> None:
    with pytest.raises(InvalidValue, match="file permissions"):
        iam_policies(url)
