"""Windows encoded on an executor: a part of them in each task, with the same bits as all of them in one process.

Legend: n windows, d hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raie.engine.backbones import Backbone, load_backbone
from raie.engine.data.windows import Windows
from raie.engine.executor import Executor, Shared, in_order
from raie.engine.router import encode_windows

__all__ = ["ENCODED", "encode_on", "parts_of"]

ENCODED = 16_384
"""Windows of a task. They pass 256 at a time, so the parts of a task pass as they do in one process."""


@dataclass(frozen=True)
class _EncodeTask:
    """backbone: configuration, weights and the file of a backbone of the user's own."""

    backbone: Shared[tuple[bytes, bytes, Path | None]]
    windows: Windows


def encode_on(
    executor: Executor,
    backbone: Backbone,
    stored: tuple[bytes, bytes],
    windows: Windows,
    backbone_file: Path | None = None,
    *,
    size: int = ENCODED,
) -> np.ndarray:
    """Encodings of the contexts of windows, as `encode_windows` has them; of few of them in this process.

    Args:
        executor: where tasks run.
        backbone: the frozen backbone.
        stored: its configuration and weights, without appended item rows, which no encoding reads.
        windows: n of them.
        backbone_file: the Python file of a backbone of the user's own.
        size: windows of a task, a multiple of 256.

    Returns:
        float32 [n, d].
    """
    if not executor.remote or len(windows) <= size:
        return encode_windows(backbone, windows)
    shared = executor.share((*stored, backbone_file))
    tasks = (_EncodeTask(shared, part) for part in parts_of(windows.without_past(), size))
    return np.concatenate(list(in_order(executor, _encoded, tasks)))


def parts_of(windows: Windows, size: int) -> Iterator[Windows]:
    """The windows, so many at a time.

    Args:
        windows: n of them.
        size: windows of a part.

    Yields:
        The parts in order.
    """
    return (windows.take(slice(start, start + size)) for start in range(0, len(windows), size))


def _encoded(task: _EncodeTask) -> np.ndarray:
    config, weights, backbone_file = task.backbone.value
    return encode_windows(load_backbone(config, weights, backbone_file), task.windows)
