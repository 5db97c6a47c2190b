"""Blobs in S3 or a server that speaks it. The only file that imports boto3.

botocore repeats a request that failed, and waits for each read from a socket. What it leaves to us is done here: bytes
that broke off or changed on their way are transferred again, and a whole request has a deadline, so a server whose
answer trickles is given up too.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError

from registry.deadline import Deadline
from registry.errors import BlobCorrupt, BlobMissing, StoreError, StoreFull, StoreUnreachable
from registry.store import StoredBlob, blob_key, digest_in, missing, record_folder, record_name, verified
from registry.values import Digest, digest_of

__all__ = ["S3Store"]

T = TypeVar("T")

TIMEOUT_S = 60.0
SLOWEST = 64 * 1024
"""Bytes per second: a blob may take as much longer as it would at this rate."""
_CONNECT_S = 3.0
_ATTEMPTS = 3

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_FULL = {"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}
_DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"}
_BROKEN = (ResponseStreamingError, IncompleteReadError, ReadTimeoutError, BlobCorrupt)
_UNREADABLE = (ResponseParserError, LookupError, ValueError)
_MEBIBYTE = 2**20
_NO_DIGEST = Digest("")
"""Of a record: one that is missing is no error of the store."""


@dataclass(frozen=True)
class S3Store:
    """Objects under `prefix/sha256/ab/abcdef...` of one S3 container.

    part_size: bytes above which an object is uploaded in parts.  timeout_s: how long one request is waited for, its
    repetitions included; a blob's bytes may take longer, by a second for each 64 KiB.
    """

    name: str
    prefix: str = ""
    part_size: int = 64 * _MEBIBYTE
    timeout_s: float = TIMEOUT_S
    scope: str = ""
    _clients: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def within(self, scope: str) -> S3Store:
        """The part of the store below a prefix; the whole for an empty one."""
        top = self.prefix.removesuffix(self.scope).rstrip("/")
        return replace(self, prefix="/".join(part for part in (top, scope) if part), scope=scope)

    def require_place(self) -> None:
        """Nothing: a container that is not there is told by every request."""

    def put(self, data: bytes) -> Digest:
        """Stores the bytes and returns their digest; raises StoreFull and StoreUnreachable."""
        digest = digest_of(data)
        with self._translated(digest):
            self._send(self._key(digest), data)
        return digest

    def get(self, digest: Digest) -> bytes:
        """The bytes, which have this digest; raises BlobMissing, BlobCorrupt and StoreUnreachable."""
        key, client, deadline = self._key(digest), self._client, Deadline(self.timeout_s)
        with self._translated(digest):
            return _repeated(lambda: verified(digest, self._download(client, key, deadline), self._where))

    def exists(self, digest: Digest) -> bool:
        """Whether an object has this digest's key."""
        try:
            self._ask(digest, self._client.head_object)
        except BlobMissing:
            return False
        return True

    def delete(self, digest: Digest) -> None:
        """Removes the object; one that is not there is no error."""
        self._ask(digest, self._client.delete_object)

    def iterate(self) -> Iterator[StoredBlob]:
        """Every object with a blob's key."""
        start = len(self._prefixed(""))
        with self._translated(None):
            for found in self._listed("list_objects_v2", "Contents", "sha256/"):
                digest = digest_in(found["Key"][start:])
                if digest is not None:
                    yield StoredBlob(digest, found["Size"], found["LastModified"].timestamp())

    def discard_leftovers(self, older_than: float, dry_run: bool = False) -> list[str]:
        """Aborts multipart uploads that were begun before a time and never finished; returns their keys."""
        keys = []
        # Some servers answer so where there is no upload at all; and another gc may have aborted it first.
        with self._translated(None), suppress(self._client.exceptions.NoSuchUpload):
            for found in self._listed("list_multipart_uploads", "Uploads", "sha256/"):
                if found["Initiated"].timestamp() < older_than:
                    keys.append(found["Key"])
                    if not dry_run:
                        self._abort(found["Key"], found["UploadId"])
        return keys

    def put_record(self, name: str, data: bytes) -> None:
        """Writes a small object beside the blobs."""
        with self._translated(None):
            self._send(self._prefixed(record_name(name)), data)

    def get_record(self, name: str) -> bytes | None:
        """The bytes of a record; None where there is none."""
        key, client, deadline = self._prefixed(record_name(name)), self._client, Deadline(self.timeout_s)
        try:
            with self._translated(_NO_DIGEST):
                return _repeated(lambda: self._download(client, key, deadline))
        except BlobMissing:
            return None

    def records(self, folder: str, after: str = "") -> Iterator[str]:
        """The names of the records in a folder that sort after one."""
        start = {"StartAfter": self._prefixed(after)} if after else {}
        with self._translated(None):
            for found in self._listed("list_objects_v2", "Contents", f"{record_folder(folder)}/", **start):
                # Not every server knows StartAfter.
                if (name := found["Key"][len(self._prefixed("")) :]) > after:
                    yield name

    def record_folders(self) -> Iterator[str]:
        """The names of the folders of records."""
        with self._translated(None):
            for found in self._listed("list_objects_v2", "CommonPrefixes", "audit/", Delimiter="/"):
                yield found["Prefix"].rstrip("/").rpartition("/")[2]

    def _send(self, key: str, data: bytes) -> None:
        client, deadline = self._client, Deadline(self.timeout_s + len(data) / SLOWEST)
        _repeated(lambda: deadline.run(lambda: self._upload(client, key, data)))

    def _upload(self, client: Any, key: str, data: bytes) -> None:
        if len(data) > self.part_size:
            parts = TransferConfig(multipart_threshold=self.part_size, multipart_chunksize=self.part_size)
            client.upload_fileobj(io.BytesIO(data), self.name, key, Config=parts)
        else:
            # Servers that ignore a wrong SHA256 or CRC32 header still enforce this one.
            md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
            client.put_object(Bucket=self.name, Key=key, Body=data, ContentMD5=md5)

    def _download(self, client: Any, key: str, deadline: Deadline) -> bytes:
        answer = deadline.run(lambda: client.get_object(Bucket=self.name, Key=key))
        deadline.extend(answer["ContentLength"] / SLOWEST)

        def read() -> bytes:
            # Closed by the thread that reads: from another one a close waits for the read to end.
            with closing(answer["Body"]) as body:
                data: bytes = body.read()
                return data

        return deadline.run(read)

    def _listed(self, listing: str, part: str, folder: str, **more: str) -> Iterator[dict[str, Any]]:
        """What a listing of a folder finds, each of its pages with a deadline of its own."""
        paginator = self._client.get_paginator(listing)
        pages = iter(paginator.paginate(Bucket=self.name, Prefix=self._prefixed(folder), **more))
        while (page := Deadline(self.timeout_s).run(lambda: next(pages, None))) is not None:
            yield from page.get(part, [])

    def _abort(self, key: str, upload: str) -> None:
        named = {"Bucket": self.name, "Key": key, "UploadId": upload}
        Deadline(self.timeout_s).run(partial(self._client.abort_multipart_upload, **named))

    def _ask(self, digest: Digest, request: Callable[..., object]) -> None:
        with self._translated(digest):
            Deadline(self.timeout_s).run(partial(request, Bucket=self.name, Key=self._key(digest)))

    @property
    def _client(self) -> Any:
        """One client per process: a connection that two processes share after a fork mixes their answers."""
        client = self._clients.get(os.getpid())
        if client is None:
            client = _new_client(self._where, self.timeout_s)
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
            code = _code(error)
            if code in _ABSENT and digest is not None:
                raise missing(digest, self._where) from error
            raise _refusal(self._where, code, error) from error
        except (BotoCoreError, Boto3Error, TimeoutError) as error:
            raise _unreachable(self._where, error) from error
        except _UNREADABLE as error:
            raise _unreachable(self._where, f"an answer that cannot be read ({error})") from error


def _repeated(transfer: Callable[[], T]) -> T:
    """What transfer() gives, done again where bytes broke off or changed on their way."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return transfer()
        except _BROKEN:
            continue
        except ClientError as error:
            if _code(error) not in _DAMAGED:
                raise
    return transfer()


def _new_client(where: str, timeout_s: float) -> Any:
    """A client with bounded waits: botocore's own are a minute each, and five tries."""
    settings = Config(
        # All attempts together end before the deadline, so that botocore says what happened.
        connect_timeout=min(_CONNECT_S, 0.9 * timeout_s / _ATTEMPTS),
        read_timeout=0.9 * timeout_s / _ATTEMPTS,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        # Credentials are looked for now, which may ask another server, or a program that does not answer.
        return Deadline(TIMEOUT_S).run(lambda: boto3.session.Session().client("s3", config=settings))
    except (BotoCoreError, TimeoutError, ValueError) as error:
        raise _unreachable(where, error) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(where: str, code: str, error: ClientError) -> StoreError:
    detail = " ".join(str(error).split())
    if code in _FULL:
        return StoreFull(f"Expected space in the store {where}, found: {detail}; free some and try again")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    passing = status >= 500 or code in _DAMAGED
    advice = "try again later" if passing else "check its name, credentials and permissions"
    return StoreUnreachable(f"Expected the store {where} to answer, found: {detail}; {advice}")


def _unreachable(where: str, error: object) -> StoreUnreachable:
    detail = " ".join(str(error).split())
    return StoreUnreachable(
        f"Expected the store {where} to answer, found: {detail}; check its address, the network and credentials"
    )
