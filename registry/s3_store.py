"""Blobs in S3 or a server that speaks it. The only file that imports boto3."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from registry.errors import BlobMissing, StoreError, StoreFull, StoreUnreachable
from registry.store import StoredBlob, blob_key, digest_in, missing, record_folder, record_name, verified
from registry.values import Digest, digest_of

__all__ = ["S3Store"]

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_FULL = {"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class S3Store:
    """Objects under `prefix/sha256/ab/abcdef...` of one S3 container.

    part_size: bytes above which an object is uploaded in parts.
    """

    name: str
    prefix: str = ""
    part_size: int = 64 * _MEBIBYTE
    _clients: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def put(self, data: bytes) -> Digest:
        """Stores the bytes and returns their digest; raises StoreFull and StoreUnreachable."""
        digest = digest_of(data)
        key = self._key(digest)
        with self._translated(digest):
            if len(data) > self.part_size:
                parts = TransferConfig(multipart_threshold=self.part_size, multipart_chunksize=self.part_size)
                self._client.upload_fileobj(io.BytesIO(data), self.name, key, Config=parts)
            else:
                self._put_object(key, data)
        return digest

    def _put_object(self, key: str, data: bytes) -> None:
        # Servers that ignore a wrong SHA256 or CRC32 header still enforce this one.
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        self._client.put_object(Bucket=self.name, Key=key, Body=data, ContentMD5=md5)

    def get(self, digest: Digest) -> bytes:
        """The bytes, which have this digest; raises BlobMissing, BlobCorrupt and StoreUnreachable."""
        with (
            self._translated(digest),
            self._client.get_object(Bucket=self.name, Key=self._key(digest))["Body"] as body,
        ):
            data = body.read()
        return verified(digest, data, self._where)

    def exists(self, digest: Digest) -> bool:
        """Whether an object has this digest's key."""
        try:
            with self._translated(digest):
                self._client.head_object(Bucket=self.name, Key=self._key(digest))
        except BlobMissing:
            return False
        return True

    def delete(self, digest: Digest) -> None:
        """Removes the object; one that is not there is no error."""
        with self._translated(digest):
            self._client.delete_object(Bucket=self.name, Key=self._key(digest))

    def iterate(self) -> Iterator[StoredBlob]:
        """Every object with a blob's key."""
        start = len(self._prefixed(""))
        for found in self._objects("sha256/"):
            digest = digest_in(found["Key"][start:])
            if digest is not None:
                yield StoredBlob(digest, found["Size"], found["LastModified"].timestamp())

    def discard_leftovers(self, older_than: float, dry_run: bool = False) -> list[str]:
        """Aborts multipart uploads that were begun before a time and never finished; returns their keys."""
        keys = []
        pages = self._client.get_paginator("list_multipart_uploads")
        # Some servers answer so where there is no upload at all; and another gc may have aborted it first.
        with self._translated(None), suppress(self._client.exceptions.NoSuchUpload):
            for page in pages.paginate(Bucket=self.name, Prefix=self._prefixed("sha256/")):
                for found in page.get("Uploads", []):
                    if found["Initiated"].timestamp() < older_than:
                        keys.append(found["Key"])
                        if not dry_run:
                            self._client.abort_multipart_upload(
                                Bucket=self.name, Key=found["Key"], UploadId=found["UploadId"]
                            )
        return keys

    def put_record(self, name: str, data: bytes) -> None:
        """Writes a small object beside the blobs."""
        with self._translated(None):
            self._put_object(self._prefixed(record_name(name)), data)

    def records(self, folder: str) -> Iterator[str]:
        """The names of the records in a folder."""
        yield from (
            found["Key"][len(self._prefixed("")) :] for found in self._objects(f"{record_folder(folder)}/")
        )

    def _objects(self, folder: str) -> Iterator[Any]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._translated(None):
            for page in pages.paginate(Bucket=self.name, Prefix=self._prefixed(folder)):
                yield from page.get("Contents", [])

    @property
    def _client(self) -> Any:
        """One client per process: a connection that two processes share after a fork mixes their answers."""
        client = self._clients.get(os.getpid())
        if client is None:
            client = _new_client(self._where)
            self._clients[os.getpid()] = client
        return client

    @property
    def _where(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def _key(self, digest: Digest) -> str:
        return self._prefixed(blob_key(digest))

    def _prefixed(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _translated(self, digest: Digest | None) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _ABSENT and digest is not None:
                raise missing(digest, self._where) from error
            raise _refusal(self._where, code, error) from error
        except (BotoCoreError, Boto3Error) as error:
            raise _unreachable(self._where, error) from error


def _new_client(where: str) -> Any:
    """A client with bounded waits: botocore's own are a minute each, and five tries."""
    settings = Config(
        connect_timeout=3,
        read_timeout=20,
        retries={"total_max_attempts": 3, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client("s3", config=settings)
    except (BotoCoreError, ValueError) as error:
        raise _unreachable(where, error) from error


def _refusal(where: str, code: str, error: Exception) -> StoreError:
    detail = " ".join(str(error).split())
    if code in _FULL:
        return StoreFull(f"Expected space in the store {where}, found: {detail}; free some and try again")
    return StoreUnreachable(
        f"Expected the store {where} to answer, found: {detail}; check its name, credentials and permissions"
    )


def _unreachable(where: str, error: Exception) -> StoreUnreachable:
    detail = " ".join(str(error).split())
    return StoreUnreachable(
        f"Expected the store {where} to answer, found: {detail}; check its address, the network and credentials"
    )
