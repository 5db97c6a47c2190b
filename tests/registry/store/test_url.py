"""The address of a store is one, or it is refused; and credentials in it are never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from raie.registry import InvalidValue, open_store
from raie.registry.store.url import S3Address, parse_store

SECRET = "hunter2/very+secret"


@pytest.mark.parametrize(
    "url",
    ["s3:/models/x", "s3:models/x", "S3://models/x", "s3:///models/x", "s3a://models/x", "s3:",
     "s3://a b/x", "s3://é/x", "s3://\n/x", "gs://models/x",
     "https://s3.example.org/models", "file:/srv/blobs", "file:srv", "FILE:///srv", "file://srv/blobs", "sftp:/srv"],
)  # fmt: skip
def test_an_address_that_is_nearly_one_is_no_folder(url: str) -> None:
    """`s3:/models/x` made a folder of the name `s3:` beside raie.toml."""
    for parse in (parse_store, open_store):
        with pytest.raises(InvalidValue, match=r"^Expected (a store as a folder|s3://NAME)"):
            parse(url)


@pytest.mark.parametrize(
    "url",
    [f"s3://AKIAEXAMPLE:{SECRET}@models/x", "s3://hunter2@models", f"s3://AKIA:{SECRET}", f"S3://a:{SECRET}@b",
     f"s3:AKIA:{SECRET}@models/x", f"s3://models/x?aws_secret_access_key={SECRET}", f"s3://models?{SECRET}",
     f"s3://models/x?timeout=5&password={SECRET}", f"https://ada:{SECRET}@s3.example.org/models",
     f"file://ada:{SECRET}@host/srv", f"s3//AKIA:{SECRET}@models/x"],
)  # fmt: skip
def test_credentials_in_an_address_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_store(url)
    for part in (SECRET, "hunter2", "very+secret", "AKIA"):
        assert part not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_an_address_is_read_as_before(tmp_path: Path) -> None:
    assert parse_store("blobs") == Path("blobs")
    assert parse_store("./s3:/x") == Path("./s3:/x")
    assert parse_store("2026-01-01T10:00/blobs") == Path("2026-01-01T10:00/blobs")
    assert parse_store("team:blobs") == Path("team:blobs")
    assert parse_store("file:///srv/a%20b") == Path("/srv/a b")
    assert parse_store("file://localhost/srv") == Path("/srv")
    assert parse_store("s3://models") == S3Address("models", "", None)
    assert parse_store("s3://models/a:b@c/d/?timeout=2.5") == S3Address("models", "a:b@c/d", 2.5)
