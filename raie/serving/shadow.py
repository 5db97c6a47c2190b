"""A second alias that answers some batches too: what it would have answered is compared, and never returned.

The comparison is kept in the registry as an evaluation of the candidate against what is served, which a policy can ask
for: `raie policy set production --metric "shadow:overlap@10>=0.5"`. Nothing that goes wrong here reaches a request.
"""

from __future__ import annotations

import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raie.engine.answers import Answer, Query, answers
from raie.serving.follower import Follower, NotLoaded

if TYPE_CHECKING:
    from raie.serving.metrics import Metrics

__all__ = ["BEST", "Comparison", "Mean", "Shadow", "overlap", "score_shift"]

_log = logging.getLogger(__name__)

BEST = 10
"""Items of each answer that are compared."""
_BATCHES = 16
"""That may wait for the shadow; it is left behind rather than that it holds up memory."""
_NORMAL = 1.96


def overlap(served: Answer, candidate: Answer) -> float | None:
    """The share of the best items of two answers that both have; None where neither has any.

    Args:
        served: What was returned.
        candidate: What the shadow would have returned.
    """
    mine, others = set(served.items[:BEST]), set(candidate.items[:BEST])
    longer = max(len(mine), len(others))
    return len(mine & others) / longer if longer else None


def score_shift(served: Answer, candidate: Answer) -> float | None:
    """The mean change of the scores of the best items that both have; None where they have none in common.

    Args:
        served: What was returned.
        candidate: What the shadow would have returned.
    """
    before = dict(zip(served.items[:BEST], served.scores, strict=False))
    after = dict(zip(candidate.items[:BEST], candidate.scores, strict=False))
    changes = [after[item] - score for item, score in before.items() if item in after]
    return sum(changes) / len(changes) if changes else None


@dataclass
class Mean:
    """A mean that grows, with its 95 % interval."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        self.total += value
        self.squares += value * value

    def to_json(self) -> dict[str, float | None]:
        """Mean, low and high; no interval of fewer than two values."""
        mean = self.total / self.count
        if self.count < 2:
            return {"mean": mean, "low": None, "high": None}
        variance = max(0.0, (self.squares - self.count * mean * mean) / (self.count - 1))
        half = _NORMAL * math.sqrt(variance / self.count)
        return {"mean": mean, "low": mean - half, "high": mean + half}


@dataclass
class Comparison:
    """What was compared of one snapshot with one that was served.

    Attributes:
        served: The id of the served snapshot.
        candidate: The id of the shadow's.
        rows: Histories that both answered.
        served_s, candidate_s: Seconds that each took for them.
        overlap: Of the ten best items.
        shift: Of the scores of the items that both have.
        recorded: Rows that the registry has an evaluation of.
    """

    served: str
    candidate: str
    rows: int = 0
    served_s: float = 0.0
    candidate_s: float = 0.0
    overlap: Mean = field(default_factory=Mean)
    shift: Mean = field(default_factory=Mean)
    recorded: int = 0

    def add(
        self, shares: Sequence[float], shifts: Sequence[float], rows: int, seconds: float, candidate_s: float
    ) -> None:
        """Count one batch of so many rows; shares, shifts: of the rows that have one."""
        self.rows += rows
        self.served_s += seconds
        self.candidate_s += candidate_s
        for share in shares:
            self.overlap.add(share)
        for shift in shifts:
            self.shift.add(shift)

    def report(self) -> dict[str, Any]:
        """The impact report: its one part is "shadow"; speed is above 1 where the candidate answers faster."""
        changes = {f"overlap@{BEST}": self.overlap, "score shift": self.shift}
        measured = {name: mean.to_json() for name, mean in changes.items() if mean.count}
        if self.candidate_s > 0:
            measured["speed"] = {"mean": self.served_s / self.candidate_s, "low": None, "high": None}
        part = {
            "windows": self.rows,
            "before": {"seconds per history": self.served_s / max(1, self.rows)},
            "after": {"seconds per history": self.candidate_s / max(1, self.rows)},
            "changes": measured,
        }
        return {"version": 2, "shadow": part}


class Shadow:
    """Answers a share of the batches with the snapshot of a second alias.

    Args:
        follower: Of that alias.
        share: Of the batches, above 0 and at most 1.
        record: Keeps a comparison in the registry; raises what the registry raises.
        every_s: Seconds between two records.
    """

    metrics: Metrics

    def __init__(
        self, follower: Follower, *, share: float, record: Callable[[Comparison], None], every_s: float
    ) -> None:
        self.follower = follower
        self.share = share
        self._record, self._every_s = record, every_s
        self._batches: queue.Queue[tuple[Sequence[Query], Sequence[Answer], float] | None] = queue.Queue(_BATCHES)
        self._comparisons: dict[tuple[str, str], Comparison] = {}
        self._recorded_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="raie-shadow", daemon=True)
        self._unrecorded: str | None = None

    def start(self) -> None:
        """Begin to compare, in a thread of its own."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Compare what waits, record what was compared, and end, within this many seconds."""
        try:
            self._batches.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def offer(self, queries: Sequence[Query], made: Sequence[Answer], seconds: float) -> None:
        """Take a share of the batches; never waits.

        Args:
            queries: Of a batch.
            made: What is returned.
            seconds: That it took.
        """
        if self.follower.loaded is None or random.random() >= self.share:
            return
        try:
            self._batches.put_nowait((queries, made, seconds))
        except queue.Full:
            self.metrics.shadow_dropped.inc()

    def facts(self) -> dict[str, Any]:
        """What it has compared, and since when records fail."""
        rows = sum(comparison.rows for comparison in list(self._comparisons.values()))
        return {"share": self.share, "compared": rows, "unrecorded": self._unrecorded}

    def _work(self) -> None:
        while True:
            left = self._recorded_at + self._every_s - time.monotonic()
            try:
                batch = self._batches.get(timeout=max(0.05, left))
            except queue.Empty:
                self._record_all()
                continue
            if batch is None:
                self._record_all()
                return
            self._guarded(lambda batch=batch: self._compare(*batch))  # type: ignore[misc]
            if time.monotonic() - self._recorded_at >= self._every_s:
                self._record_all()

    def _guarded(self, work: Callable[[], None]) -> str | None:
        """The kind of what a backbone or the registry raised; None where all went well."""
        try:
            work()
        except Exception as error:  # a shadow that fails must not end the thread
            kind = type(error).__name__
            self.metrics.shadow_errors.labels(kind).inc()
            _log.warning("shadow %r: %s: %s", self.follower.source.alias, kind, " ".join(str(error).split()))
            return kind
        return None

    def _compare(self, queries: Sequence[Query], made: Sequence[Answer], seconds: float) -> None:
        loaded = self.follower.loaded
        if loaded is None:
            raise NotLoaded("expected a snapshot of the shadow, found none")
        begun = time.perf_counter()
        by_candidate = answers(loaded, queries)
        candidate_s = time.perf_counter() - begun
        pairs, key = list(zip(made, by_candidate, strict=True)), (made[0].snapshot, loaded.id)
        shares = [share for pair in pairs if (share := overlap(*pair)) is not None]
        shifts = [shift for pair in pairs if (shift := score_shift(*pair)) is not None]
        comparison = self._comparisons.setdefault(key, Comparison(*key))
        comparison.add(shares, shifts, len(pairs), seconds, candidate_s)
        self.metrics.shadow_rows.inc(len(pairs))
        self.metrics.shadow_seconds.observe(candidate_s)
        for share in shares:
            self.metrics.shadow_overlap.observe(share)
        for shift in shifts:
            self.metrics.shadow_shift.observe(shift)

    def _record_all(self) -> None:
        """Record every comparison that has grown; what the registry does not take now is recorded the next time."""
        self._recorded_at = time.monotonic()
        for comparison in list(self._comparisons.values()):
            rows = comparison.rows
            if comparison.served == comparison.candidate or rows == comparison.recorded:
                continue
            self._unrecorded = self._guarded(lambda comparison=comparison: self._record(comparison))  # type: ignore[misc]
            if self._unrecorded is None:
                comparison.recorded = rows
