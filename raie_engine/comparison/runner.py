"""Run a comparison: for every seed one set-up, for every contestant one edit after the other, some side by side.

Whatever is finished lies in the work folder and is not done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raie.engine.comparison.methods import Contestant
from raie.engine.comparison.protocol import Course, lessons
from raie.engine.comparison.step_results import Cell, CellPlace, read_blobs, write_blobs
from raie.engine.edit.named_blobs import view_of, with_parts
from raie.engine.edit.setup import set_up
from raie.engine.evaluation.metrics import ranks
from raie.engine.model import Settings
from raie.engine.strategies import Learnt, Lesson
from raie.engine.training.train_adapter import one_thread
from raie.engine.training.train_backbone import own_file
from raie.engine.training.workers import side_by_side

__all__ = ["Progress", "run"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is finished, and how much there is."""


def run(
    course: Course,
    settings: Settings,
    contestants: Sequence[Contestant],
    seeds: Sequence[int],
    work: Path,
    *,
    workers: int,
    progress: Progress,
    backbone: tuple[bytes, bytes] | None = None,
) -> None:
    """Bring every cell of the comparison into the work folder. backbone: a trained one, instead of one per seed.

    Raises: EngineError for what a set-up or an edit refuses; WorkerLost.
    """
    pairs = [(seed, contestant) for seed in seeds for contestant in contestants]
    _set_up_all(course, settings, pairs, seeds, work, workers, progress, backbone)
    own = own_file(settings.engine.backbone)
    chains = [chain for seed in seeds for chain in _chains(course, contestants, work, seed, own)]
    total = len(pairs) * (course.edits + 1)
    done = total - sum(len(chain.waiting) for chain in chains)
    progress("cells", done, total)
    with closing(_cells(chains, workers)) as finished:
        for chain, cells in finished:
            done += cells
            progress(f"cells, {chain}", done, total)


# --- Set-up


@dataclass(frozen=True, eq=False)
class _SetUpTask:
    """path: where the set-up's blobs are to lie. trained: the file of a set-up whose backbone is used, or its bytes."""

    path: Path
    course: Course
    settings: Settings
    trained: Path | tuple[bytes, bytes] | None


def _base(work: Path, seed: int, contestant: Contestant | None = None) -> Path:
    place = contestant.place if contestant and contestant.options else ""
    return work / f"seed-{seed}" / f"setup-{place}.blobs" if place else work / f"seed-{seed}" / "setup.blobs"


def _set_up_all(
    course: Course,
    settings: Settings,
    pairs: Sequence[tuple[int, Contestant]],
    seeds: Sequence[int],
    work: Path,
    workers: int,
    progress: Progress,
    backbone: tuple[bytes, bytes] | None,
) -> None:
    """First each seed's own, which trains a backbone; then those with other options, which use it."""
    first = [_SetUpTask(_base(work, seed), course, _seeded(settings, seed), backbone) for seed in seeds]
    second = [
        _SetUpTask(_base(work, seed, one), course, _seeded(settings, seed, one), _base(work, seed))
        for seed, one in pairs
        if one.options
    ]
    epochs = settings.engine.backbone.epochs
    for stage, tasks in (("backbones", first), ("regions", second)):
        waiting = [task for task in tasks if not task.path.exists()]
        progress(stage, len(tasks) - len(waiting), len(tasks))
        if workers > 1 and len(waiting) > 1:
            with closing(side_by_side(_set_up, waiting, workers)) as results:
                for done, _ in enumerate(results, start=len(tasks) - len(waiting) + 1):
                    progress(stage, done, len(tasks))
            continue
        for task in waiting:
            _set_up(task, _each_epoch(progress, f"{stage} of seed {task.settings.engine.seed}", epochs))
        progress(stage, len(tasks), len(tasks))


def _each_epoch(progress: Progress, stage: str, epochs: int) -> Callable[[int, float], None]:
    return lambda epoch, score: progress(f"{stage}, validation NDCG@10 {score:.4f}", epoch, epochs)


def _seeded(settings: Settings, seed: int, contestant: Contestant | None = None) -> Settings:
    engine = replace(settings.engine, seed=seed)
    return replace(settings, engine=contestant.configured(engine) if contestant else engine)


def _set_up(task: _SetUpTask, progress: Callable[[int, float], None] | None = None) -> None:
    trained = task.trained
    if isinstance(trained, Path):
        trained = view_of(read_blobs(trained)).backbone_bytes
    checkpoint = task.path.with_suffix(".checkpoint")
    with one_thread():
        made = set_up(
            task.course.interactions,
            task.course.ends[0],
            task.settings,
            backbone=trained,
            checkpoint=checkpoint,
            progress=progress,
        )
    write_blobs(task.path, with_parts({}, made.parts))
    checkpoint.unlink(missing_ok=True)


# --- Cells


@dataclass(frozen=True, eq=False)
class _Chain:
    """One contestant with one seed. lessons: from the set-up on. waiting: edits without a cell, ascending."""

    course: Course
    contestant: Contestant
    seed: int
    place: CellPlace
    lessons: tuple[Lesson, ...]
    waiting: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.contestant.name}, seed {self.seed}"


def _chains(
    course: Course, contestants: Sequence[Contestant], work: Path, seed: int, own: Path | None
) -> Iterator[_Chain]:
    """The chains of one seed in which something waits; they share all lessons but for what a set-up's options change."""
    taught = list(lessons(course, view_of(read_blobs(_base(work, seed)), own)))
    for one in contestants:
        place = CellPlace.of(work, one, seed)
        waiting = tuple(edit for edit in range(course.edits + 1) if not place.finished(edit))
        if waiting:
            base = view_of(read_blobs(_base(work, seed, one)), own)
            yield _Chain(course, one, seed, place, tuple(replace(each, base=base) for each in taught), waiting)


def _cells(chains: Sequence[_Chain], workers: int) -> Generator[tuple[str, int]]:
    """Finish all cells; yields what was finished and how many cells that were."""
    if workers > 1 and len(chains) > 1:
        yield from side_by_side(_finish, chains, workers)
        return
    for chain in chains:
        for edit in chain.waiting:
            _finish(replace(chain, waiting=(edit,)))
            yield f"{chain.name}, edit {edit}", 1


def _finish(chain: _Chain) -> tuple[str, int]:
    """Play the waiting edits of a chain, each from the state that the one before it left."""
    strategy = chain.contestant.plays
    with one_thread():
        for edit in chain.waiting:
            lesson, started = chain.lessons[edit], time.process_time()
            learnt = strategy.learn(chain.place.state(edit - 1), lesson) if edit else strategy.begin({}, lesson)
            seconds = time.process_time() - started
            chain.place.write(edit, _judged(chain, lesson, learnt, seconds), learnt.state)
    return chain.name, len(chain.waiting)


def _judged(chain: _Chain, lesson: Lesson, learnt: Learnt, seconds: float) -> Cell:
    strategy, course = chain.contestant.plays, chain.course
    windows = course.windows.take(course.judges(lesson.number)).without_items_above(lesson.items)
    found, regions = ranks(strategy.score(learnt.state, lesson), windows), np.zeros(0, np.int32)
    if strategy.regions:
        regions = strategy.regions(learnt.state, lesson, windows).astype(np.int32)
    return Cell(found.astype(np.int32), regions, learnt.touched, learnt.passes, learnt.parameters, seconds)
