"""Objects of one bucket by their keys, as S3 and its imitations answer for them. The only file that imports boto3.

botocore repeats a request that failed, and waits for each read from a socket. What it leaves to us is done here: bytes
that broke off or changed on their way are transferred again, a whole request has a deadline, so a server whose answer
trickles is given up too, and a server that lacks a part of S3 that can be done without is asked in another way.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

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

from raie.registry.deadline import Deadline
from raie.registry.errors import BlobCorrupt, StoreError, StoreFull, StoreUnreachable, StoreUnsupported
from raie.registry.store.s3_listing import NotAList, OlderListOnly, listed, relative_key, require_list

__all__ = ["TIMEOUT_S", "BytesSink", "NoSuchObject", "NotStorage", "S3Objects", "Sink"]

_log = logging.getLogger(__name__)

T = TypeVar("T")
Result = TypeVar("Result", covariant=True)

TIMEOUT_S = 60.0
SLOWEST = 64 * 1024
"""Bytes per second: a blob may take as much longer as it would at this rate."""
_CONNECT_S = 3.0
_ATTEMPTS = 3
_MEBIBYTE = 2**20

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_FULL = {"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}
_DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"}
_BROKEN = (ResponseStreamingError, IncompleteReadError, ReadTimeoutError, BlobCorrupt)
_UNREADABLE = (ResponseParserError, LookupError, ValueError)
_NOT_OFFERED = {400, 405, 501}
"""The status of a request, or of a header of it, that a server does not know."""
_PASSING = {429, 503}


class Sink(Protocol[Result]):
    """What takes an object's bytes."""

    def take(self, piece: bytes) -> None:
        """Takes the next bytes."""

    def result(self) -> Result:
        """What all of them come to; may raise BlobCorrupt."""


class BytesSink:
    """Bytes that are kept as they come."""

    def __init__(self) -> None:
        self._pieces = list[bytes]()

    def take(self, piece: bytes) -> None:
        """Takes the next bytes."""
        self._pieces.append(piece)

    def result(self) -> bytes:
        """All of them."""
        return b"".join(self._pieces)


class NoSuchObject(Exception):
    """The server answered that there is no object of this key."""


class NotStorage(ValueError):
    """An answer of something that is not S3, or not S3 alone."""


@dataclass(frozen=True)
class S3Objects:
    """The objects of a bucket.

    where: the store as errors name it.  part_size: bytes above which an object is uploaded in parts.  timeout_s: how
    long one request is waited for, its repetitions included.  clients: by process, to be shared by all of a store.
    Every method may raise StoreUnreachable.
    """

    name: str
    where: str
    part_size: int = 64 * _MEBIBYTE
    timeout_s: float = TIMEOUT_S
    clients: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def send(self, key: str, data: bytes) -> None:
        """Writes an object; raises StoreFull."""
        client, deadline = self._client, Deadline(self.timeout_s + len(data) / SLOWEST)
        with self._translated():
            _repeated(lambda: deadline.run(lambda: self._upload(client, key, data)))

    def read(self, key: str, start: Callable[[], Sink[T]]) -> T:
        """The result of a sink, once it has taken an object's bytes.

        start: a new sink; called again where bytes broke off, and where a result is BlobCorrupt.
        Raises NoSuchObject, and BlobCorrupt in the end.
        """
        client, deadline = self._client, Deadline(self.timeout_s)

        def attempt() -> T:
            sink = start()
            self._transfer(client, key, deadline, sink.take)
            return sink.result()

        with self._translated():
            try:
                return _repeated(attempt)
            except ClientError as error:
                self._absent(key, error)
                raise

    def has(self, key: str) -> bool:
        """Whether there is an object of this key; its bytes are not read."""
        with self._translated():
            try:
                answer = self._ask("head_object", Key=key)
                _require_storage(answer)
                return True
            except ClientError as error:
                if _status(error) in (*_NOT_OFFERED, 403):
                    # Not every server answers HEAD, and one that hides what is missing says it is forbidden.
                    return any(relative_key(entry["Key"], key) == "" for entry in self.listed(key))
                try:
                    self._absent(key, error)
                except NoSuchObject:
                    return False
                raise

    def remove(self, key: str) -> None:
        """Removes an object; one that is not there is no error, whatever the server thinks of it."""
        with self._translated():
            try:
                self._ask("delete_object", Key=key)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise

    def may_not_remove(self, key: str) -> bool:
        """Whether the server forbids to remove an object, which need not be there."""
        with self._translated():
            try:
                self._ask("delete_object", Key=key)
            except ClientError as error:
                if _code(error) not in _ABSENT and _status(error) != 403:
                    raise
                return _status(error) == 403
            return False

    def listed(self, prefix: str, page_size: int | None = None, after: str = "") -> Iterator[Mapping[str, Any]]:
        """Every object whose key begins so: its Key, Size and LastModified.

        page_size: for a server to be tried.  after: a key; only those that sort after it are asked for.
        """
        size = {} if page_size is None else {"MaxKeys": page_size}
        start, marker = ({"StartAfter": after}, {"Marker": after}) if after else ({}, {})

        def newer(**token: str) -> Mapping[str, Any]:
            try:
                return self._ask("list_objects_v2", Prefix=prefix, **size, **start, **token)
            except ClientError as error:
                if _status(error) in _NOT_OFFERED and not token:
                    raise OlderListOnly from error
                raise

        def older(**end: str) -> Mapping[str, Any]:
            return self._ask("list_objects", Prefix=prefix, **size, **(marker | end))

        with self._translated():
            yield from listed(newer, older)

    def abort_uploads(self, prefix: str, older_than: float, dry_run: bool) -> list[str]:
        """Aborts uploads in parts that were begun before a time and never finished; returns their keys.

        Raises StoreUnsupported where the server cannot list or abort them, or does not let us.
        """
        keys = []
        with self._translated():
            try:
                for upload in self._uploads(prefix):
                    if upload["Initiated"].timestamp() < older_than:
                        keys.append(upload["Key"])
                        if not dry_run:
                            self._abort(upload["Key"], upload["UploadId"])
            except (ClientError, NotAList) as error:
                if isinstance(error, ClientError) and _status(error) in _PASSING:
                    raise
                raise StoreUnsupported(
                    f"Expected the store {self.where} to list and abort uploads that were interrupted, found: "
                    f"{_detail(error)}; let a lifecycle rule of the bucket abort incomplete uploads"
                ) from error
        return keys

    def _uploads(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Every upload in parts that was begun, each page with a deadline of its own."""
        paginator = self._client.get_paginator("list_multipart_uploads")
        pages = iter(paginator.paginate(Bucket=self.name, Prefix=prefix))
        try:
            while (page := Deadline(self.timeout_s).run(lambda: next(pages, None))) is not None:
                require_list(page)
                yield from page.get("Uploads", ())
        except self._client.exceptions.NoSuchUpload:
            # Some servers answer so where there is no upload at all.
            return

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._ask("abort_multipart_upload", Key=key, UploadId=upload)
        except ClientError as error:
            # Another gc may have aborted it first.
            if _code(error) != "NoSuchUpload" and _code(error) not in _ABSENT:
                raise

    def _upload(self, client: Any, key: str, data: bytes) -> None:
        if len(data) > self.part_size:
            parts = TransferConfig(multipart_threshold=self.part_size, multipart_chunksize=self.part_size)
            try:
                client.upload_fileobj(io.BytesIO(data), self.name, key, Config=parts)
                return
            except (ClientError, Boto3Error, LookupError) as error:
                if not _parts_not_offered(error):
                    raise
        # Servers that ignore a wrong SHA256 or CRC32 header still enforce this one.
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        try:
            client.put_object(Bucket=self.name, Key=key, Body=data, ContentMD5=md5)
        except ClientError as error:
            if _code(error) in _DAMAGED or _status(error) not in _NOT_OFFERED:
                raise
            # Some know no MD5. Whoever puts a blob reads it back, so a flipped bit is still seen.
            client.put_object(Bucket=self.name, Key=key, Body=data)

    def _transfer(self, client: Any, key: str, deadline: Deadline, take: Callable[[bytes], object]) -> None:
        answer = deadline.run(lambda: client.get_object(Bucket=self.name, Key=key))
        length = answer.get("ContentLength")
        deadline.extend((length or 0) / SLOWEST)

        def read() -> None:
            # Closed by the thread that reads: from another one a close waits for the read to end.
            with closing(answer["Body"]) as body:
                _require_storage(answer)
                while piece := body.read(_MEBIBYTE if length else SLOWEST):
                    if length is None:
                        # Sent in chunks, so nobody knows how much is to come: it may take on as long as it comes.
                        deadline.extend(len(piece) / SLOWEST)
                    take(piece)

        deadline.run(read)

    def _absent(self, key: str, error: ClientError) -> None:
        """Raises NoSuchObject for a 404, once the bucket has shown that it is one: a web server answers 404 too."""
        code = _code(error)
        if code in _ABSENT:
            if code != "NoSuchKey":
                require_list(self._ask("list_objects", Prefix=key, MaxKeys=1))
            raise NoSuchObject from error

    def _ask(self, request: str, **parameters: Any) -> Mapping[str, Any]:
        ask = getattr(self._client, request)
        answer: Mapping[str, Any] = Deadline(self.timeout_s).run(lambda: ask(Bucket=self.name, **parameters))
        return answer

    @property
    def _client(self) -> Any:
        """One client per process: a connection that two processes share after a fork mixes their answers."""
        client = self.clients.get(os.getpid())
        if client is None:
            client = _new_client(self.where, self.timeout_s)
            self.clients[os.getpid()] = client
        return client

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise _refusal(self.where, error) from error
        except (BotoCoreError, Boto3Error, TimeoutError) as error:
            raise _unreachable(self.where, _detail(error)) from error
        except _UNREADABLE as error:
            raise _unreachable(self.where, f"an answer that cannot be read ({_detail(error)})") from error


def _repeated(transfer: Callable[[], T]) -> T:
    """What transfer() gives, done again where bytes broke off or changed on their way."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return transfer()
        except _BROKEN as error:
            why = type(error).__name__
        except ClientError as error:
            if _code(error) not in _DAMAGED:
                raise
            why = _code(error)
        _log.warning("S3 transfer failed (%s) and is repeated; attempt %d of %d", why, attempt, _ATTEMPTS)
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
        raise _unreachable(where, _detail(error)) from error


def _require_storage(answer: Mapping[str, Any]) -> None:
    """Raises NotStorage for a web page, and for bytes that a proxy has packed: neither is what was put."""
    kind, coding = str(answer.get("ContentType", "")), str(answer.get("ContentEncoding", ""))
    if kind.lower().startswith(("text/html", "application/xhtml")):
        raise NotStorage("a web page, where an object should be")
    if coding.lower() not in ("", "identity", "aws-chunked"):
        raise NotStorage(f"bytes that something on the way packed: Content-Encoding {ascii(coding)[:20]}")


def _parts_not_offered(error: Exception) -> bool:
    """Whether a server cannot take an object in parts: it refuses, or does not name the parts that it took."""
    cause = error if isinstance(error, ClientError) else error.__cause__ or error.__context__
    if isinstance(cause, ClientError):
        return _status(cause) in (405, 501)
    return isinstance(error, LookupError)


def _code(error: ClientError) -> str:
    """The code that S3 gives; the status where something else answered, such as a web server."""
    return str(error.response.get("Error", {}).get("Code") or _status(error))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _detail(error: object) -> str:
    """An error on one line, without the credentials that the address of a server may hold."""
    return re.sub(r"//[^/\s\"']*@", "//", " ".join(str(error).split()))


def _refusal(where: str, error: ClientError) -> StoreError:
    code, detail = _code(error), _detail(error)
    if code == str(_status(error)):
        detail += f" (status {code} without a word of S3: it may be another kind of server)"
    if code in _FULL:
        return StoreFull(f"Expected space in the store {where}, found: {detail}; free some and try again")
    passing = _status(error) >= 500 or code in _DAMAGED
    advice = "try again later" if passing else "check its name, credentials and permissions"
    return StoreUnreachable(f"Expected the store {where} to answer, found: {detail}; {advice}")


def _unreachable(where: str, detail: str) -> StoreUnreachable:
    return StoreUnreachable(
        f"Expected the store {where} to answer, found: {detail}; check its address, the network and credentials"
    )
