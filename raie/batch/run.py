"""A batch from its input to its output: read, answer, keep each part, join.

Memory holds one block of users at a time, on a cluster a few for each of its processors, whatever their number. What is
stopped half-way goes on from its last part and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet

from raie.batch.answers import Answers
from raie.batch.block import BLOCK_USERS, Block
from raie.batch.output import require_output, write_output
from raie.batch.work_folder import WorkFolder, work_folder
from raie.callbacks import Progress, ignore_progress
from raie.engine.data.readers.paths import log_files
from raie.engine.errors import InputError
from raie.engine.executor import LOCAL, Executor, Shared
from raie.engine.model import ModelView
from raie.registry import Snapshot

__all__ = ["BatchResult", "BatchSource", "recommend_batch"]

_FORMAT = "1"
_COUNTS = b"counts"
_CHUNK = 1 << 22


class BatchSource(Protocol):
    """Where a batch's histories come from."""

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    def require(self, view: ModelView) -> None:
        """Refuse what is plainly none."""
        ...

    def blocks(self, view: ModelView, folder: Path) -> Iterator[tuple[Block, int, int]]:
        """The histories, and how far the source is read; the same every time for the same bytes."""
        ...


@dataclass(frozen=True)
class Counts:
    """Of the users of a part, or of all. ignored: items of histories that the snapshot does not know."""

    users: int = 0
    rows: int = 0
    cold: int = 0
    ignored: int = 0

    def __add__(self, more: Counts) -> Counts:
        return Counts(*(getattr(self, field.name) + getattr(more, field.name) for field in fields(Counts)))


@dataclass(frozen=True)
class BatchResult:
    """What a batch has written.

    Attributes:
        output: The file.
        snapshot: The id of the snapshot that answered.
        users: How many were answered.
        rows: How many rows the file has.
        cold: Users of whom the snapshot knows no item; they get what is popular.
        ignored: Items of histories that the snapshot does not know.
        resumed: Users whose answers were there from a batch that had been stopped.
    """

    output: Path
    snapshot: str
    users: int
    rows: int
    cold: int
    ignored: int
    resumed: int


def recommend_batch(
    view: ModelView,
    snapshot: Snapshot,
    source: BatchSource,
    output: Path,
    k: int,
    *,
    exclude_seen: bool | None = None,
    options: Mapping[str, Any] | None = None,
    replace: bool = False,
    progress: Progress = ignore_progress,
    executor: Executor = LOCAL,
) -> BatchResult:
    """Write the k best items of every history of a source.

    Args:
        view: The snapshot.
        snapshot: Its record.
        source: The histories.
        output: A file named .parquet, .csv or .jsonl.
        k: Items per user.
        exclude_seen: As of `best_items`.
        options: Further ones, of how the source is read.
        replace: Whether a file of the output's name may be written over.
        progress: Called after every part.
        executor: Where blocks are answered; the file does not depend on it.

    Raises:
        InputError: The source cannot be used; nothing is written.
        RaieError: The output must not be written, or another process writes it.
    """
    if k < 1:
        raise InputError(f"expected k of 1 or more, found {k}")
    require_output(output, replace=replace)
    source.require(view)
    before, input_digest = _stamp(source.path), _input_digest(source.path, progress)
    chosen = {"top": k, "exclude_seen": exclude_seen, **(options or {})}
    facts = _facts(snapshot, input_digest, chosen)
    digest = hashlib.sha256(json.dumps([facts, BLOCK_USERS, version("raie")], sort_keys=True).encode())
    answers = Answers(view, k, exclude_seen)
    with work_folder(output, digest.hexdigest()) as folder:
        try:
            parts, resumed = _answered(source, answers, folder, progress, executor)
            if _stamp(source.path) != before:
                raise InputError(
                    f"{source.path}: expected a file that stays as it is, found it changed meanwhile; start again"
                )
        except InputError:
            folder.delete()  # no part of it can be of use: another input has another folder
            raise
        counts = sum((_counts(part) for part in parts), Counts())
        said = {**facts, **{name: str(value) for name, value in vars(counts).items()}}
        write_output(
            output,
            parts,
            answers.schema,
            said,
            work=folder.path,
            replace=replace,
            on_part=lambda number: progress("writing", number, len(parts)),
        )
    return BatchResult(output, snapshot.id, **vars(counts), resumed=resumed)


def _answered(
    source: BatchSource, answers: Answers, folder: WorkFolder, progress: Progress, executor: Executor
) -> tuple[list[Path], int]:
    """The parts in their order, and how many users' answers were there already."""
    parts, resumed, asked = folder.parts(), 0, list[tuple[int, int, int]]()
    shared = executor.share(answers.to_travel() if executor.remote else answers)

    def unanswered() -> Iterator[_BlockTask]:
        nonlocal resumed
        for number, (block, done, total) in enumerate(source.blocks(answers.view, folder.path)):
            if number in parts:
                resumed += len(block)
                progress("recommending", done, max(done, total))
            else:
                asked.append((number, done, total))
                yield _BlockTask(shared, block)

    with closing(executor.as_ready(_answer, unanswered())) as results:
        for task, table in results:
            number, done, total = asked[task]
            parts[number] = folder.write(number, table)
            progress("recommending", done, max(done, total))
    return [parts[number] for number in sorted(parts)], resumed


@dataclass(frozen=True)
class _BlockTask:
    answers: Shared[Answers]
    block: Block


def _answer(task: _BlockTask) -> pa.Table:
    return _counted(task.answers.value.of(task.block), task.block)


def _counted(table: pa.Table, block: Block) -> pa.Table:
    """A part with its counts: users without a row are in no column."""
    counts = Counts(len(block), len(table), int(block.cold.sum()), int(block.ignored.sum()))
    return table.replace_schema_metadata({_COUNTS: json.dumps(vars(counts)).encode()})


def _counts(part: Path) -> Counts:
    return Counts(**json.loads(pa.parquet.read_schema(part).metadata[_COUNTS]))


def _facts(snapshot: Snapshot, input_digest: str, options: Mapping[str, Any]) -> dict[str, str]:
    return {
        "format": _FORMAT,
        "model": snapshot.model,
        "snapshot": snapshot.id,
        "edit": str(snapshot.edit),
        "input": input_digest,
        "options": json.dumps(options, sort_keys=True),
    }


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(part for part in path.rglob("*") if part.is_file())
    return [path] if path.exists() else [file.path for file in log_files(path)]


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    """What a change of the source changes, as far as the system knows."""
    try:
        return [(str(part), part.stat().st_size, part.stat().st_mtime_ns) for part in _files(path)]
    except OSError as error:
        raise InputError(
            f"{path}: expected a file that can be read, found: {error.strerror}; check the path"
        ) from error


def _input_digest(path: Path, progress: Progress) -> str:
    """sha256 of the bytes; of several files also of their names."""
    files = _files(path)
    total, done, digest = sum(file.stat().st_size for file in files), 0, hashlib.sha256()
    for file in files:
        if file != path:
            name = file.relative_to(path) if path.is_dir() else file
            digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                progress("reading the input", done, total)
    return digest.hexdigest()
