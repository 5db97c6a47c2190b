"""A log's bytes: plain or compressed, recognised by their first bytes, whatever the file's name says.

What a small file may unpack to has a limit, so that it cannot fill the memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from raie.engine.errors import InputError

__all__ = ["FREE_BYTES", "Source", "kind_of", "unpacked_name"]

FREE_BYTES = 1 << 28
"""What any file may unpack to, however small it is."""
_MOST_TIMES = 200  # text that unpacks to more than this many times its size is no log

_CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_SUFFIXES = (".gz", ".zst", ".bz2")
_BOM = b"\xef\xbb\xbf"
# What people rename to .csv: the first bytes, what they are, and the way out.
_STRANGERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
}


def kind_of(path: Path) -> str:
    """The ending that says how a file is read, in small letters; that of its compression left out.

    Args:
        path: the file.

    Returns:
        The ending, such as ".csv".
    """
    return Path(unpacked_name(path)).suffix.lower()


def unpacked_name(path: Path) -> str:
    """The name without the ending of a compression.

    Args:
        path: the file.

    Returns:
        The name.
    """
    return path.stem if path.suffix.lower() in _SUFFIXES else path.name


@dataclass(frozen=True)
class Source:
    """A file that may be compressed."""

    path: Path

    @cached_property
    def _head(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(4)

    @cached_property
    def codec(self) -> str | None:
        """The codec that the first bytes name; None for a plain file."""
        return next((name for magic, name in _CODECS.items() if self._head.startswith(magic)), None)

    def require_text(self) -> None:
        """Checks the first bytes.

        Raises:
            InputError: for a file whose first bytes are those of something else than UTF-8 text.
        """
        for magic, words in _STRANGERS.items():
            if self._head.startswith(magic):
                raise InputError(f"{self.path}: expected text in UTF-8, found {words}")

    @contextmanager
    def open(self) -> Iterator[Any]:
        """The unpacked bytes as an arrow file, without a byte order mark."""
        if self.codec is None:
            with pa.OSFile(str(self.path)) as file:
                if file.read(len(_BOM)) != _BOM:
                    file.seek(0)
                yield file
            return
        with self._unpacked() as stream:
            yield pa.PythonFile(stream, mode="r")

    def lines(self) -> Iterator[str]:
        """The lines of text, without a byte order mark.

        Yields:
            Lines.

        Raises:
            UnicodeError: where it is no UTF-8.
        """
        opened = self.path.open("rb") if self.codec is None else io.BufferedReader(self._unpacked())
        with io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as text:
            yield from text

    def _unpacked(self) -> _Unpacked:
        return _Unpacked(self.path, str(self.codec))


class _Unpacked(io.RawIOBase):
    """A compressed file's bytes, up to a limit; the byte order mark is passed over."""

    def __init__(self, path: Path, codec: str) -> None:
        self._path, self._codec = path, codec
        self._stream = pa.input_stream(str(path), compression=codec)
        self._left = FREE_BYTES + _MOST_TIMES * path.stat().st_size
        first = self._stream.read(len(_BOM))
        self._ahead = b"" if first == _BOM else first

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data, self._ahead = self._ahead[: len(target)], self._ahead[len(target) :]
        data += self._stream.read(len(target) - len(data))
        self._left -= len(data)
        if self._left < 0:
            size = self._path.stat().st_size
            raise InputError(
                f"{self._path}: expected a log, found {size:,} bytes of {self._codec} that unpack to more than "
                f"{FREE_BYTES + _MOST_TIMES * size:,}; write it anew, from the data that it was made of"
            )
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
