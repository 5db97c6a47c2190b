"""The file of a snapshot: a tar of `snapshot.json`, `records.json` and then each blob under `blobs/`, by its sha256.

Nothing is taken from a member but its bytes: a name that is not the one expected at its place, a link or a device is
refused, so no path is ever followed. Blobs pass one at a time; neither side holds the file in memory.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO

from raie.registry.canonical import canonical_json, parse_json
from raie.registry.errors import ArchiveDamaged, InvalidValue
from raie.registry.transfer.recomputed import History, recompute
from raie.registry.transfer.records import Records, require
from raie.registry.values import Digest, check_digest, check_name, digest_of

__all__ = ["Archive", "Header", "blobs_of", "check", "write"]

FORMAT = 1
HEADER, RECORDS, BLOBS = "snapshot.json", "records.json", "blobs/"
_HEADER_BYTES = 65536
_RECORDS_BYTES = 2**30
_PIECE = 2**20


@dataclass(frozen=True)
class Header:
    """What the file is of.

    registry: where it was made.  chain_head: the end of the audit there, as `number:hash`.  records: the sha256 of the
    rows.
    """

    model: str
    snapshot: str
    registry: str
    chain_head: str
    records: str


@dataclass(frozen=True)
class Archive:
    """A file that was read to its end, and is whole; sha256, bytes: of the file."""

    path: Path
    sha256: str
    bytes: int
    header: Header
    history: History


def write(stream: BinaryIO, header: Header, records: bytes, blobs: Iterable[bytes]) -> None:
    """Writes a file to a stream: equal arguments make equal bytes."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, HEADER, canonical_json({"format": FORMAT, **asdict(header)}))
        _add(tar, RECORDS, records)
        for data in blobs:
            _add(tar, f"{BLOBS}{digest_of(data)}", data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def check(path: Path, on_blob: Callable[[int, int], None] = lambda done, total: None) -> Archive:
    """Reads a file to its end, each blob against its digest; raises ArchiveDamaged, and OSError.

    on_blob: called with how many blobs were read, and how many there are.
    """
    with path.open("rb") as stream, _damage(path):
        hashed = _Hashed(stream)
        with tarfile.open(fileobj=hashed, mode="r|") as tar:  # type: ignore[call-overload]
            members = _members(tar)
            header = _header(_small(tar, next(members, None), HEADER, _HEADER_BYTES))
            data = _small(tar, next(members, None), RECORDS, _RECORDS_BYTES)
            require(digest_of(data) == header.records, "rows that were changed")
            history = recompute(header.model, header.snapshot, Records.from_bytes(data))
            for done, digest in enumerate(history.blobs):
                on_blob(done, len(history.blobs))
                _check_blob(tar, next(members, None), digest)
            require(next(members, None) is None, "more files than the snapshot has")
        hashed.read_to_end()
        return Archive(path, hashed.sha256.hexdigest(), hashed.size, header, history)


def blobs_of(archive: Archive, wanted: frozenset[Digest]) -> Iterator[bytes]:
    """The bytes of some blobs of a file that was checked, in its order; each is checked once more."""
    with archive.path.open("rb") as stream, _damage(archive.path), tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in _members(tar):
            digest = member.name.removeprefix(BLOBS)
            if digest in wanted:
                data = _opened(tar, member).read()
                require(digest_of(data) == digest, f"other bytes than a moment ago as blob {digest[:12]}")
                yield data


class _Hashed:
    """A stream that hashes what is read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.sha256, self.size = stream, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.sha256.update(data)
        self.size += len(data)
        return data

    def read_to_end(self) -> None:
        """Behind the last file a tar has zeros and nothing else."""
        while data := self.read(_PIECE):
            require(not data.strip(b"\0"), "more bytes behind its end")
        require(self.size % tarfile.RECORDSIZE == 0, "that its end is cut off")


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Whatever is wrong with the bytes as one line that names the file."""
    try:
        yield
    except (tarfile.TarError, InvalidValue, EOFError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveDamaged(
            f"Expected a whole file of `raie snapshot export` in {path}, found {reason:.200}; export or copy it again"
        ) from error


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        plain = member.type == tarfile.REGTYPE and not member.issparse() and not member.linkname
        require(plain, f"{ascii(member.name)[:80]}, which is no ordinary file")
        yield member
        # What a stream has passed it never reads again: a long file must not gather its list in memory.
        tar.members = []  # type: ignore[attr-defined]


def _small(tar: tarfile.TarFile, member: tarfile.TarInfo | None, name: str, most: int) -> bytes:
    member = _named(member, name)
    require(member.size <= most, f"{name} of {member.size} bytes")
    return _opened(tar, member).read()


def _named(member: tarfile.TarInfo | None, name: str) -> tarfile.TarInfo:
    if member is None:
        raise InvalidValue(f"that it ends before {name}")
    require(member.name == name, f"{ascii(member.name)[:80]} in the place of {name}")
    return member


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(member)
    assert opened is not None, "an ordinary file can be read"
    return opened


def _check_blob(tar: tarfile.TarFile, member: tarfile.TarInfo | None, digest: Digest) -> None:
    opened, sha256 = _opened(tar, _named(member, f"{BLOBS}{digest}")), hashlib.sha256()
    while piece := opened.read(_PIECE):
        sha256.update(piece)
    require(sha256.hexdigest() == digest, f"other bytes than those of blob {digest[:12]}")


def _header(data: bytes) -> Header:
    fields = parse_json(data)
    require(isinstance(fields, dict) and "format" in fields, f"another {HEADER}")
    require(fields.pop("format") == FORMAT, f"a format that this raie does not know in {HEADER}; upgrade raie")
    try:
        header = Header(**fields)
    except TypeError:
        raise InvalidValue(f"another {HEADER}") from None
    check_digest(header.snapshot)
    check_digest(header.records)
    for text in (header.model, header.registry, header.chain_head):
        check_name(text, "text in the header")
    return header
