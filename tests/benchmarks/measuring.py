"""Milliseconds of one call, many times: how they are spread, and how they are printed."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Spread", "columns", "spread"]


@dataclass(frozen=True)
class Spread:
    """Milliseconds, ascending."""

    milliseconds: tuple[float, ...]

    @property
    def p50(self) -> float:
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    def quantile(self, share: float) -> float:
        """The least of the measured values that is not below this share of them."""
        return self.milliseconds[min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)]

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p99:.1f}"


def spread(calls: Iterable[Callable[[], object]], warm_up: int) -> Spread:
    """How long each call takes; what makes the next call, and the first few of them, do not count."""
    seconds = []
    for number, call in enumerate(calls):
        gc.collect(0)
        begun = time.perf_counter()
        call()
        ended = time.perf_counter()
        if number >= warm_up:
            seconds.append(1000 * (ended - begun))
    return Spread(tuple(sorted(seconds)))


def columns(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *([str(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
