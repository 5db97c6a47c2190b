"""One snapshot of a workspace, ready to recommend and to be measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.callbacks import Progress, ignore_progress
from raie.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

    from raie.batch.run import BatchResult
    from raie.engine.model import ModelView
    from raie.evaluate import Measured
    from raie.logs.log_reading import When
    from raie.registry import Snapshot
    from raie.snapshots.recommend import Recommendation
    from raie.snapshots.region_drift import Drift
    from raie.workspace import Workspace

__all__ = ["SnapshotView"]


@dataclass(frozen=True, repr=False)
class SnapshotView:
    """A snapshot that a reference named when it was looked up; it stays the same when an alias moves.

    The model is loaded, and each blob verified, when it is first asked to recommend.

    Attributes:
        workspace: Where the model lives.
        ref: What it was looked up by.
        snapshot: Its record.
    """

    workspace: Workspace
    ref: str
    snapshot: Snapshot

    def __repr__(self) -> str:
        return (
            f"SnapshotView({self.ref!r}, id={self.id[:12]!r}, edit={self.edit}, regions={len(self.regions)}, "
            f"model={self.snapshot.model!r})"
        )

    @property
    def id(self) -> str:
        """The snapshot's id."""
        return self.snapshot.id

    @property
    def edit(self) -> int:
        """The number of the edit that made it."""
        return self.snapshot.edit

    @property
    def regions(self) -> tuple[int, ...]:
        """The ids of its preference regions."""
        return tuple(self.snapshot.content.regions)

    @cached_property
    def _view(self) -> ModelView:
        from raie.edits.workflow import open_view

        return open_view(self.workspace.registry(), self.snapshot, self.workspace.backbone_file)

    def recommend(
        self,
        histories: DataFrame | Mapping[str, Sequence[str]] | str | Path,
        k: int = 10,
        *,
        users: Sequence[str] | None = None,
        exclude_seen: bool | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> DataFrame:
        """The k best next items of each user, as rows of user, rank (from 1), item, score, region and, if known, title.

        Args:
            histories: A log's path, a DataFrame with columns of users, items and, where there are some, times, or a
                mapping of users to item ids, the oldest first.
            k: Items per user.
            users: The users wanted; None for all.
            exclude_seen: True leaves out what a user had before, False makes no difference of it, None does what the
                region has learned of repeats.
            reading: For a log: options that differ from the setup's.

        Raises:
            InputError: A user without a row, or without an item that the snapshot knows where it has no mixture, or
                columns that are not there.
            RegistryError: A blob is missing or damaged.
        """
        from raie.snapshots.recommend import frame_of

        return frame_of(
            self.recommendations(histories, k, users=users, exclude_seen=exclude_seen, reading=reading)
        )

    def recommendations(
        self,
        histories: DataFrame | Mapping[str, Sequence[str]] | str | Path,
        k: int = 10,
        *,
        users: Sequence[str] | None = None,
        exclude_seen: bool | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> tuple[Recommendation, ...]:
        """The same as values, one per user, with the context that each goes by; arguments as of `recommend`."""
        from raie.logs import histories as sources
        from raie.snapshots.recommend import recommend

        contexts = sources.histories(self._view, histories, users, reading)
        return recommend(self._view, contexts, k, exclude_seen=exclude_seen)

    def recommend_after(
        self, items: Sequence[str], k: int = 10, *, exclude_seen: bool | None = None
    ) -> Recommendation:
        """The k best items after one history of item ids, the oldest first; every item must be known.

        Raises:
            UnknownItem: No log has held one of the items.
        """
        from raie.logs import histories as sources
        from raie.snapshots.recommend import recommend

        (answer,) = recommend(self._view, sources.from_items(self._view, items), k, exclude_seen=exclude_seen)
        return answer

    def recommend_batch(
        self,
        output: str | Path,
        k: int = 10,
        *,
        histories: str | Path | None = None,
        all_users: str | Path | None = None,
        exclude_seen: bool | None = None,
        user_column: str | None = None,
        reading: Mapping[str, Any] | None = None,
        replace: bool = False,
        executor: str | None = None,
        progress: Progress = ignore_progress,
    ) -> BatchResult:
        """Write the k best items of many users to a file, with no more than some thousand of them in memory.

        The file has a row per user and rank: user, rank (from 1), item, score, region (missing for a cold user), ignored
        (items of the history that the snapshot does not know), cold, and title if the snapshot knows titles. A batch that
        was stopped goes on where it was when the same one is asked for again.

        Args:
            output: A file named .parquet, .csv or .jsonl.
            k: Items per user.
            histories: A .parquet, .csv or .jsonl file with a row per user: `user_id` or `user`, `items` with the oldest
                first, and `times` in epoch seconds if it has them.
            all_users: A log instead, whose users are all answered.
            exclude_seen: As of `recommend`.
            user_column: Of histories: the column of users, if it has another name.
            reading: For a log: options that differ from the setup's.
            replace: Whether a file of the output's name may be written over.
            executor: "local", or "ray" for a cluster; None for the workspace's own.
            progress: Called with the stage, how far it is, and how far it goes.

        Raises:
            UsageError: Neither or both of histories and a log.
            InputError: The file cannot be read, or a row of it; nothing is written.
            RaieError: The output's name is taken.
        """
        from raie.batch.histories_file import HistoriesFile
        from raie.batch.run import BatchSource, recommend_batch
        from raie.batch.users_of_log import UsersOfLog
        from raie.executors.choice import opened

        if (histories is None) == (all_users is None):
            raise UsageError("give either histories or all_users")
        if histories is not None:
            source: BatchSource = HistoriesFile(Path(histories), user_column)
            options: dict[str, Any] = {"user_column": user_column}
        else:
            source, options = (
                UsersOfLog(Path(str(all_users)), dict(reading or {})),
                {"reading": dict(reading or {})},
            )
        with opened(executor or self.workspace.executor, os.cpu_count() or 1) as runner:
            return recommend_batch(
                self._view,
                self.snapshot,
                source,
                Path(output),
                k,
                exclude_seen=exclude_seen,
                options=options,
                replace=replace,
                progress=progress,
                executor=runner,
            )

    def evaluate(
        self,
        log: str | Path,
        *,
        against: str | None = None,
        until: When | None = None,
        strategies: bool = False,
        reading: Mapping[str, Any] | None = None,
    ) -> Measured:
        """Measure this snapshot on a log; arguments as of `Workspace.evaluate`."""
        return self.workspace.evaluate(
            log, ref=self.id, against=against, until=until, strategies=strategies, reading=reading
        )

    def drift(
        self, log: str | Path, *, until: When | None = None, reading: Mapping[str, Any] | None = None
    ) -> Drift:
        """Which of its regions predict the new rows of a log worse; arguments as of `Workspace.drift`."""
        return self.workspace.drift(log, ref=self.id, until=until, reading=reading)
