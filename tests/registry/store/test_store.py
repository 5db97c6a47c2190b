"""A blob is whole, or it is refused by name; a store that cannot answer says so in one line and soon."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from raie.registry import (
    ArtifactStore,
    BlobCorrupt,
    BlobMissing,
    Digest,
    InvalidValue,
    LocalStore,
    StoreError,
    StoreFull,
    StoreUnreachable,
    digest_of,
    open_store,
)
from raie.registry.store.base import blob_key
from raie.registry.store.s3 import S3Store
from tests.conftest import free_port
from tests.registry.building import overwrite

HELLO = b"hello, region"


@pytest.fixture
def store(store_url: str) -> ArtifactStore:
    return open_store(store_url)


@pytest.mark.parametrize("data", [b"", HELLO, bytes(range(256)) * 8192], ids=["empty", "small", "2 MiB"])
def test_what_was_put_comes_back_bit_for_bit(store: ArtifactStore, data: bytes) -> None:
    digest = store.put(data)
    assert digest == digest_of(data)
    assert store.exists(digest)
    assert store.get(digest) == data


def test_many_blobs_are_put_and_checked_at_once_and_each_that_is_not_whole_is_named(store: ArtifactStore) -> None:
    data = [f"blob {number}".encode() for number in range(20)]
    digests = store.put_all(data)
    assert digests == [digest_of(blob) for blob in data]
    assert [store.get(digest) for digest in digests] == data
    assert store.check_all(digests) == {}
    absent = Digest("0" * 64)
    store.delete(digests[3])
    faults = store.check_all([*digests, absent])
    assert {digest: type(fault) for digest, fault in faults.items()} == {
        digests[3]: BlobMissing,
        absent: BlobMissing,
    }
    assert store.put_all([]) == []


def test_a_record_lies_beside_the_blobs_and_is_none_of_them(store: ArtifactStore) -> None:
    store.put(HELLO)
    for name in ("audit/0a/1-b.json", "audit/0a/2-c.json", "audit/0b/1-b.json", "audit/0a/1-b.json"):
        store.put_record(name, b"{}")
    assert sorted(store.records("audit/0a")) == ["audit/0a/1-b.json", "audit/0a/2-c.json"]
    assert list(store.records("audit/0c")) == []
    assert [blob.digest for blob in store.iterate()] == [digest_of(HELLO)]


@pytest.mark.parametrize(
    "name", ["audit/../x.json", "/audit/x.json", "audit/a/../../x.json", "audit/x", "b/a.json"]
)
def test_a_record_s_name_cannot_leave_its_folder(store: ArtifactStore, name: str) -> None:
    with pytest.raises(InvalidValue, match="Expected a record's name"):
        store.put_record(name, b"{}")
    with pytest.raises(InvalidValue, match="Expected a record's name"):
        list(store.records(f"audit/../{name}"))


def test_putting_the_same_bytes_again_changes_nothing(store: ArtifactStore) -> None:
    assert store.put(HELLO) == store.put(HELLO)
    assert [blob.digest for blob in store.iterate()] == [digest_of(HELLO)]


@pytest.mark.parametrize("damaged", [b"hello, Region", HELLO[:-1], b"", HELLO + b"!"])
def test_a_flipped_or_truncated_blob_is_refused_by_name(store: ArtifactStore, damaged: bytes) -> None:
    digest = store.put(HELLO)
    overwrite(store, digest, damaged)
    with pytest.raises(BlobCorrupt, match=digest) as refused:
        store.get(digest)
    assert refused.value.digest == digest
    assert one_line(refused.value)


def test_a_missing_blob_is_refused_by_name(store: ArtifactStore) -> None:
    digest = digest_of(b"never put")
    assert not store.exists(digest)
    store.put(HELLO)
    assert not store.exists(digest)
    with pytest.raises(BlobMissing, match=digest) as refused:
        store.get(digest)
    assert refused.value.digest == digest
    assert one_line(refused.value)


def test_a_folder_that_is_not_there_is_not_a_store_that_lost_a_blob(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match=r"found no folder; check store in raie\.toml or RAIE_STORE"):
        LocalStore(tmp_path / "typo").get(digest_of(HELLO))
    assert not (tmp_path / "typo").exists()


def test_putting_a_damaged_blob_again_heals_it(store: ArtifactStore) -> None:
    digest = store.put(HELLO)
    overwrite(store, digest, b"rot")
    store.put(HELLO)
    assert store.get(digest) == HELLO


def test_deleting_removes_one_blob_and_may_be_repeated(store: ArtifactStore) -> None:
    digest, second = store.put(HELLO), store.put(b"other")
    store.delete(digest)
    store.delete(digest)
    assert not store.exists(digest)
    assert store.get(second) == b"other"


def test_listing_names_every_blob_with_its_size_and_age(store: ArtifactStore) -> None:
    before = time.time()
    expected = {store.put(bytes([number]) * number): number for number in range(1, 6)}
    read = list(store.iterate())
    assert {blob.digest: blob.size for blob in read} == expected
    assert all(before - 5 <= blob.modified_at <= time.time() + 5 for blob in read)


@pytest.mark.parametrize("text", ["../../etc/passwd", "", "a" * 63 + "/", "A" * 64, "a" * 64 + "\0"])
def test_no_text_but_a_digest_reaches_the_store(store: ArtifactStore, text: str) -> None:
    for call in (store.get, store.exists, store.delete):
        with pytest.raises(InvalidValue):
            call(Digest(text))


def test_a_big_blob_goes_up_in_parts_and_comes_back_whole(s3_url: str) -> None:
    data = bytes(range(256)) * 4096 * 6
    store = S3Store("models", s3_url.rpartition("/")[2], part_size=5 * 2**20)
    assert store.get(store.put(data)) == data


def test_a_blob_lies_under_its_digest_in_the_folder(tmp_path: Path) -> None:
    digest = LocalStore(tmp_path / "deep" / "store").put(HELLO)
    assert (tmp_path / "deep" / "store" / "sha256" / digest[:2] / digest).read_bytes() == HELLO


def test_other_files_in_the_folder_are_no_blobs(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    digest = store.put(HELLO)
    (tmp_path / "sha256" / "readme.txt").write_text("?")
    (tmp_path / "sha256" / digest[:2] / "copy").write_text("?")
    (tmp_path / "sha256" / "00").mkdir(exist_ok=True)
    (tmp_path / "sha256" / "00" / digest).write_text("?")
    assert [blob.digest for blob in store.iterate()] == [digest]


def test_what_a_killed_upload_left_goes_when_it_is_old_and_not_before(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    digest = store.put(HELLO)
    (tmp_path / "incoming" / "half").write_bytes(HELLO[:4])
    assert store.discard_incomplete_uploads(time.time() - 60) == []
    assert store.discard_incomplete_uploads(time.time() + 60, dry_run=True) == ["half"]
    assert store.discard_incomplete_uploads(time.time() + 60) == ["half"]
    assert list((tmp_path / "incoming").iterdir()) == []
    assert store.get(digest) == HELLO


def test_an_upload_whose_file_is_taken_for_a_leftover_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gc without a period of grace may run while somebody uploads."""
    local, taken = LocalStore(tmp_path), list[str]()

    def collect_once(point: str) -> None:
        if point == "upload.written" and not taken:
            taken.extend(local.discard_incomplete_uploads(time.time() + 1))

    monkeypatch.setattr("raie.registry.store.local.failpoint", collect_once)
    assert local.get(local.put(HELLO)) == HELLO
    assert len(taken) == 1
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_upload_in_parts_that_was_never_finished_is_aborted(s3_url: str) -> None:
    store = S3Store("models", s3_url.rpartition("/")[2])
    key = f"{store.prefix}/{blob_key(digest_of(HELLO))}"
    boto3.client("s3").create_multipart_upload(Bucket="models", Key=key)
    assert store.discard_incomplete_uploads(time.time() - 60) == []
    assert store.discard_incomplete_uploads(time.time() + 60, dry_run=True) == [key]
    assert store.discard_incomplete_uploads(time.time() + 60) == [key]
    assert store.discard_incomplete_uploads(time.time() + 60) == []


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 1 KiB: what a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_leaves_no_half_blob(tmp_path: Path, small_files: None) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(StoreFull) as refused:
        store.put(b"x" * 4096)
    assert one_line(refused.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert store.get(store.put(HELLO)) == HELLO


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = LocalStore(tmp_path / "file")
    for call in (lambda: store.put(HELLO), lambda: store.get(digest_of(HELLO))):
        with pytest.raises(StoreUnreachable, match="file") as refused:
            call()
        assert one_line(refused.value)


def test_a_refused_port_is_one_line_within_seconds(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    store, begun = open_store(s3_url), time.monotonic()
    for call in (lambda: store.put(HELLO), lambda: store.get(digest_of(HELLO)), lambda: list(store.iterate())):
        with pytest.raises(StoreUnreachable, match="s3://models") as refused:
            call()
        assert one_line(refused.value)
    assert time.monotonic() - begun < 15


def test_wrong_credentials_are_one_line_without_the_secret(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(StoreUnreachable) as refused:
        open_store(s3_url).put(HELLO)
    assert one_line(refused.value)
    assert "hunter2" not in str(refused.value)


def test_no_credentials_at_all_are_one_line(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreUnreachable, match="redentials") as refused:
        open_store(s3_url).put(HELLO)
    assert one_line(refused.value)


def test_a_container_that_does_not_exist_is_not_a_missing_blob(s3_url: str) -> None:
    with pytest.raises(StoreUnreachable, match="nowhere"):
        open_store("s3://nowhere/prefix").get(digest_of(HELLO))


@pytest.mark.parametrize(
    "url",
    ["", "s3://", "s3://?timeout=1", "s3://models?timeout=", "s3://models?timeout=0", "s3://models?retries=1",
     "ftp://host/x", "http://host", "a\0b"],
)  # fmt: skip
def test_a_store_of_an_unknown_kind_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue):
        open_store(url)


def test_a_store_is_a_path_a_file_url_or_a_container_with_a_prefix(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)) == LocalStore(tmp_path)
    assert open_store(f"file://{tmp_path}/a%20b") == LocalStore(tmp_path / "a b")
    assert open_store("s3://models/team/recsys/") == S3Store("models", "team/recsys")
    assert open_store("s3://models/team/recsys/?timeout=5") == S3Store("models", "team/recsys", timeout_s=5)


def one_line(error: StoreError) -> bool:
    return "\n" not in str(error) and len(str(error)) < 500
