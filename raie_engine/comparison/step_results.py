"""What a comparison has finished, in a folder: one file per method, seed and edit, so that it can be stopped.

A file is whole or is not there. The state after an edit is kept until the next edit has one.
Legend: m windows that evaluate after one edit, r recommended items.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from raie.engine.bytes.arrays import pack, unpack
from raie.engine.bytes.stored_names import from_stored, to_stored
from raie.engine.comparison.methods import Method
from raie.engine.edit.named_blobs import Blobs
from raie.engine.errors import DamagedArtifact

__all__ = ["STEP_VERSION", "StepFiles", "StepResult", "read_blobs", "write_blobs"]

STEP_VERSION = 2
"""Of what a step result holds: results of another version lie in another work folder, and are computed again."""


_ARRAYS = ("ranks", "regions", "recommended")


@dataclass(frozen=True, eq=False)
class StepResult:
    """One method after one edit.

    ranks: int32 [m], of the targets of the protocol's evaluation windows after this edit. regions: int32 [m], of the same
    windows; empty where the strategy has none. recommended: int32 [r], ascending, the items that stand in any list for a
    window of the next slice. items: how many items had come by then. touched: regions that the edit changed.
    samples_seen, parameters: training samples seen, and trainable parameters. seconds: of one processor core, for
    learning alone.
    """

    ranks: np.ndarray
    regions: np.ndarray
    recommended: np.ndarray
    items: int
    touched: tuple[int, ...]
    samples_seen: int
    parameters: int
    seconds: float

    @property
    def catalogue_coverage(self) -> float:
        """Share of the items that had come which stand in any list."""
        return len(self.recommended) / max(1, self.items)

    def to_bytes(self) -> bytes:
        """Lossless bytes."""
        facts: dict[str, Any] = {"version": STEP_VERSION, "items": self.items}
        facts |= {"touched": list(self.touched), "samples_seen": self.samples_seen}
        facts |= {"parameters": self.parameters, "seconds": self.seconds}
        header = {"kind": "cell", **to_stored("step result", facts)}
        return pack(header, {name: getattr(self, name) for name in _ARRAYS})

    @staticmethod
    def from_bytes(data: bytes) -> StepResult:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value, or one of another version.
        """
        header, arrays = unpack(data, "cell", dict.fromkeys(_ARRAYS, np.int32))
        header = from_stored("step result", header)
        try:
            return StepResult(
                ranks=arrays["ranks"],
                regions=arrays["regions"],
                recommended=arrays["recommended"],
                items=int(header["items"]),
                touched=tuple(header["touched"]),
                samples_seen=int(header["samples_seen"]),
                parameters=int(header["parameters"]),
                seconds=float(header["seconds"]),
            )
        except (KeyError, TypeError) as error:
            raise DamagedArtifact(
                f"expected a step result of a comparison, found another header ({error})"
            ) from error


@dataclass(frozen=True)
class StepFiles:
    """The files of one method's step results with one seed."""

    folder: Path

    @staticmethod
    def of(work: Path, method: Method, seed: int) -> StepFiles:
        """The files of a method with this seed in a work folder.

        Args:
            work: the work folder.
            method: of the comparison.
            seed: of the run.

        Returns:
            Their place.
        """
        return StepFiles(work / f"seed-{seed}" / method.folder_name)

    def finished(self, edit: int) -> bool:
        """Whether this edit has its result.

        Args:
            edit: number of the edit, 0 is the setup.

        Returns:
            Whether it is there.
        """
        return self._result_path(edit).exists()

    def read(self, edit: int) -> StepResult:
        """The result of this edit.

        Args:
            edit: number of the edit, 0 is the setup.

        Returns:
            The result.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        return StepResult.from_bytes(self._result_path(edit).read_bytes())

    def state(self, edit: int) -> Blobs:
        """The state after this edit.

        Args:
            edit: number of the edit, 0 is the setup.

        Returns:
            The state.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        return read_blobs(self._state_path(edit))

    def write(self, edit: int, result: StepResult, state: Blobs) -> None:
        """Record an edit; the state before the one before it is not needed any more.

        Args:
            edit: number of the edit, 0 is the setup.
            result: of the edit.
            state: after it.
        """
        write_blobs(self._state_path(edit), state)
        _write(self._result_path(edit), result.to_bytes())  # last: it says that the edit is finished
        self._state_path(edit - 1).unlink(missing_ok=True)

    def _result_path(self, edit: int) -> Path:
        return self.folder / f"edit-{edit}.cell"

    def _state_path(self, edit: int) -> Path:
        return self.folder / f"edit-{edit}.state"


def write_blobs(path: Path, blobs: Blobs) -> None:
    """All blobs in one file, whole or not at all.

    Args:
        path: the file.
        blobs: bytes by name.
    """
    _write(path, save({name: np.frombuffer(data, np.uint8) for name, data in blobs.items()}))


def read_blobs(path: Path) -> Blobs:
    """The inverse of `write_blobs`.

    Args:
        path: the file.

    Returns:
        Bytes by name.

    Raises:
        DamagedArtifact: for bytes that hold no such value.
    """
    try:
        return {name: array.tobytes() for name, array in load(path.read_bytes()).items()}
    except SafetensorError as error:
        raise DamagedArtifact(
            f"expected the blobs of a comparison in {path}, found bytes that do not parse: {error}; run with --fresh"
        ) from error


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
