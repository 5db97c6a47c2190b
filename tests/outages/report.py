"""The table that `make faults` prints: what went wrong, what the product said, how long it took, and what a retry did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic

from raie.cli.errors import exit_code

__all__ = ["Ended", "Report", "attempt"]

PATIENCE_S = 60.0
"""Nothing here may take nearly as long; a test that does fails instead of hanging."""


@dataclass(frozen=True)
class Ended:
    """How a piece of work ended: with a result or an error, after so many seconds."""

    result: object
    error: Exception | None
    seconds: float

    @property
    def words(self) -> str:
        """The error's class, or that there was none."""
        return "no error" if self.error is None else type(self.error).__name__

    @property
    def code(self) -> int:
        """The exit code that the command line gives it."""
        code = 0 if self.error is None else exit_code(self.error)
        assert code is not None, f"the command line takes this for a bug: {self.error!r}"
        return code


def attempt(work: Callable[[], object]) -> Ended:
    """Does the work in a thread, so that what hangs fails a test and does not stop them all."""
    began = monotonic()
    pool = ThreadPoolExecutor(1)
    try:
        result, error = pool.submit(work).result(PATIENCE_S), None
    except TimeoutError:
        raise AssertionError(f"it still went on after {PATIENCE_S:.0f} s") from None
    except Exception as raised:
        result, error = None, raised
    finally:
        pool.shutdown(wait=False)
    return Ended(result, error, monotonic() - began)


@dataclass
class Report:
    """Rows, in the order in which they came."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, where: str, fault: str, work: str, ended: Ended, resumed: str) -> None:
        """One fault; resumed: what became of the same work afterwards."""
        self.rows.append((where, fault, work, ended.words, str(ended.code), f"{ended.seconds:.1f}", resumed))

    def __str__(self) -> str:
        head = ("where", "fault", "work", "outcome", "exit", "seconds", "tried again")
        return "\n".join(_aligned([head, *self.rows]))


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
