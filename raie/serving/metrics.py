"""What Prometheus reads of a server: how long, how much, for whom, and how old the snapshot is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from raie.engine.answers import Answer
from raie.serving.follower import Follower

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The metrics of one server.

    Args:
        follower: Of the alias that is served.
        queued: Gives the number of histories that wait.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, follower: Follower, queued: Callable[[], int]) -> None:
        self._follower = follower
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "raie_request_seconds",
            "Seconds from the first byte of a request to its answer.",
            ["code"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self.batch_rows = Histogram(
            "raie_batch_rows", "Histories that were scored together.", registry=self._registry, buckets=_ROWS
        )
        self.batch_seconds = Histogram(
            "raie_batch_seconds", "Seconds to score a batch.", registry=self._registry, buckets=_SECONDS
        )
        self._answers = self._counter(
            "raie_answers", "Histories answered, by region; none for a cold one.", "region"
        )
        self._cold = self._counter("raie_cold_histories", "Histories of which the snapshot knows no item.")
        self._unknown = self._counter("raie_unknown_items", "Items of histories that the snapshot does not know.")
        self.log_rows_lost = self._counter("raie_log_rows_lost", "Rows that the log of requests could not keep.")
        self._of_the_snapshot(queued)
        self._of_the_shadow()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(value)

    def _of_the_snapshot(self, queued: Callable[[], int]) -> None:
        follower = self._follower
        self._gauge("raie_queued_histories", "Histories that wait to be scored.", queued)
        self._gauge("raie_snapshot_swaps", "How often another snapshot took over.", lambda: follower.state.swaps)
        self._gauge("raie_snapshot_age_seconds", "Seconds since the served snapshot was committed.", self._age)
        self._gauge("raie_snapshot_load_seconds", "Seconds of the last load.", lambda: follower.state.load_s)
        self._gauge("raie_behind_seconds", "Seconds since polls or loads fail; 0 where they do not.", self._behind)
        self._snapshot = Gauge(
            "raie_snapshot_info", "The served snapshot.", ["alias", "snapshot"], registry=self._registry
        )
        self._error = Gauge(
            "raie_last_error_info",
            "The kind of what fails now, if anything does.",
            ["kind"],
            registry=self._registry,
        )

    def _of_the_shadow(self) -> None:
        self.shadow_rows = self._counter("raie_shadow_histories", "Histories that the shadow answered too.")
        self.shadow_dropped = self._counter("raie_shadow_dropped", "Batches that the shadow was too slow for.")
        self.shadow_errors = self._counter("raie_shadow_errors", "Batches that the shadow failed on.", "kind")
        self.shadow_overlap = Histogram(
            "raie_shadow_overlap",
            "Share of the ten best items that the shadow has too.",
            registry=self._registry,
            buckets=_SHARES,
        )
        self.shadow_shift = Histogram(
            "raie_shadow_score_shift",
            "Mean change of the scores of the items that both have.",
            registry=self._registry,
            buckets=(-10, -3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3, 10),
        )
        self.shadow_seconds = Histogram(
            "raie_shadow_batch_seconds",
            "Seconds of the shadow for a batch.",
            registry=self._registry,
            buckets=_SECONDS,
        )

    def _age(self) -> float:
        loaded = self._follower.loaded
        return 0.0 if loaded is None else max(0.0, time.time() - loaded.created_at)

    def _behind(self) -> float:
        since = self._follower.state.behind_since
        return 0.0 if since is None else max(0.0, time.time() - since)

    def answered(self, answers: Sequence[Answer], seconds: float) -> None:
        """Count one batch.

        Args:
            answers: Of its histories.
            seconds: That scoring took.
        """
        self.batch_rows.observe(len(answers))
        self.batch_seconds.observe(seconds)
        for answer in answers:
            self._answers.labels("none" if answer.region is None else str(answer.region)).inc()
        self._cold.inc(sum(answer.cold for answer in answers))
        self._unknown.inc(sum(answer.ignored for answer in answers))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        loaded, state = self._follower.loaded, self._follower.state
        self._snapshot.clear()
        self._error.clear()
        if loaded is not None:
            self._snapshot.labels(self._follower.source.alias, loaded.id).set(1)
        if state.kind is not None:
            self._error.labels(state.kind).set(1)
        return generate_latest(self._registry)
