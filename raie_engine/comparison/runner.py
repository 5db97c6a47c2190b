"""Run a comparison: for every seed one setup, for every method one edit after the other, some side by side.

Whatever is finished lies in the work folder and is not done again. On a cluster, whose machines do not see that folder,
an edit of a method is a task: the state before it goes there, and the result and the state after it come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raie.engine.comparison.methods import Method
from raie.engine.comparison.protocol import ComparisonProtocol, task_data_of_edits
from raie.engine.comparison.step_results import StepFiles, StepResult, read_blobs, write_blobs
from raie.engine.config import BackboneConfig
from raie.engine.edit.named_blobs import Blobs, view_of, with_parts
from raie.engine.edit.setup import set_up
from raie.engine.evaluation.metrics import ranks_and_lists
from raie.engine.executor import LOCAL, Executor, Shared
from raie.engine.model import ModelView, Settings
from raie.engine.strategies import LearnedState, Strategy, TaskData
from raie.engine.training.epoch_estimate import EpochEstimate, estimated
from raie.engine.training.train_adapter import one_thread
from raie.engine.training.train_backbone import configured_backbone_file
from raie.engine.training.workers import side_by_side

__all__ = ["Progress", "run"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is finished, and how much there is."""


def run(
    protocol: ComparisonProtocol,
    settings: Settings,
    methods: Sequence[Method],
    seeds: Sequence[int],
    work: Path,
    *,
    workers: int,
    progress: Progress,
    backbone: tuple[bytes, bytes] | None = None,
    executor: Executor = LOCAL,
) -> None:
    """Bring every step result of the comparison into the work folder.

    Args:
        protocol: of the comparison.
        settings: the model's.
        methods: in any order.
        seeds: of the runs.
        work: the work folder.
        workers: methods side by side.
        progress: called after every step.
        backbone: (configuration, weights) of a trained one, instead of one per seed.
        executor: where setups and steps run; the results do not depend on it.

    Raises:
        EngineError: for what a setup or an edit refuses.
        WorkerLost: when the system ends a worker.
    """
    pairs = [(seed, method) for seed in seeds for method in methods]
    _set_up_all(protocol, settings, pairs, seeds, work, workers, progress, backbone, executor)
    backbone_file = configured_backbone_file(settings.engine.backbone)
    chains = [chain for seed in seeds for chain in _chains(protocol, methods, work, seed, backbone_file)]
    total = len(pairs) * (protocol.edits + 1)
    done = total - sum(len(chain.pending) for chain in chains)
    progress("steps", done, total)
    steps_done = _steps_of_tasks(executor, chains) if executor.remote else _finished_steps(chains, workers)
    with closing(steps_done) as finished:
        for chain, steps in finished:
            done += steps
            progress(f"steps, {chain}", done, total)


# --- Setup


@dataclass(frozen=True, eq=False)
class _SetUpTask:
    """path: where the setup's blobs are to lie. trained: the file of a setup whose backbone is used, or its bytes."""

    path: Path
    protocol: Shared[ComparisonProtocol]
    settings: Settings
    trained: Path | tuple[bytes, bytes] | None


def _base(work: Path, seed: int, method: Method | None = None) -> Path:
    folder = method.folder_name if method and method.options else ""
    return work / f"seed-{seed}" / f"setup-{folder}.blobs" if folder else work / f"seed-{seed}" / "setup.blobs"


def _set_up_all(
    protocol: ComparisonProtocol,
    settings: Settings,
    pairs: Sequence[tuple[int, Method]],
    seeds: Sequence[int],
    work: Path,
    workers: int,
    progress: Progress,
    backbone: tuple[bytes, bytes] | None,
    executor: Executor,
) -> None:
    """First each seed's own, which trains a backbone; then those with other options, which use it."""
    shared = executor.share(protocol)
    first = [_SetUpTask(_base(work, seed), shared, _seeded(settings, seed), backbone) for seed in seeds]
    second = [
        _SetUpTask(_base(work, seed, method), shared, _seeded(settings, seed, method), _base(work, seed))
        for seed, method in pairs
        if method.options
    ]
    for stage, tasks in (("backbones", first), ("regions", second)):
        pending = [task for task in tasks if not task.path.exists()]
        there = len(tasks) - len(pending)
        progress(stage, there, len(tasks))
        if not executor.remote and min(workers, len(pending)) <= 1:
            _set_up_in_turn(stage, pending, settings.engine.backbone, progress)
            progress(stage, len(tasks), len(tasks))
            continue
        finished = _set_up_tasks(executor, pending) if executor.remote else side_by_side(_set_up, pending, workers)
        with closing(finished):
            for done, _ in enumerate(finished, start=there + 1):
                progress(stage, done, len(tasks))


def _set_up_tasks(executor: Executor, pending: Sequence[_SetUpTask]) -> Generator[None]:
    """Set up elsewhere; this process alone reads and writes files."""
    tasks = (_with_backbone(task) for task in pending)
    with closing(executor.as_ready(_set_up_blobs, tasks)) as results:
        for number, blobs in results:
            write_blobs(pending[number].path, blobs)
            yield


def _set_up_in_turn(
    stage: str, pending: Sequence[_SetUpTask], backbone: BackboneConfig, progress: Progress
) -> None:
    """One after the other, each with a bar of its own, which knows how long those before it trained."""
    earlier: list[int] = []
    for task in pending:
        estimate = EpochEstimate(backbone.epochs, backbone.patience, tuple(earlier))
        report = estimated(progress, f"{stage} of seed {task.settings.engine.seed}", estimate)
        last = _set_up_counted(task, report)
        earlier += [last] if last else []


def _set_up_counted(task: _SetUpTask, report: Callable[[int, float], None]) -> int:
    """Sets up, and returns the epochs that it trained; 0 where it trained no backbone."""
    last = 0

    def count(epoch: int, score: float) -> None:
        nonlocal last
        last = epoch
        report(epoch, score)

    _set_up(task, count)
    return last


def _seeded(settings: Settings, seed: int, method: Method | None = None) -> Settings:
    engine = replace(settings.engine, seed=seed)
    return replace(settings, engine=method.configured(engine) if method else engine)


def _set_up(task: _SetUpTask, progress: Callable[[int, float], None] | None = None) -> None:
    checkpoint = task.path.with_suffix(".checkpoint")
    write_blobs(task.path, _set_up_blobs(_with_backbone(task), checkpoint, progress))
    checkpoint.unlink(missing_ok=True)


def _with_backbone(task: _SetUpTask) -> _SetUpTask:
    """The task with the bytes of the backbone that it uses."""
    if not isinstance(task.trained, Path):
        return task
    return replace(task, trained=view_of(read_blobs(task.trained)).backbone_bytes)


def _set_up_blobs(
    task: _SetUpTask, checkpoint: Path | None = None, progress: Callable[[int, float], None] | None = None
) -> Blobs:
    assert not isinstance(task.trained, Path), "read where the file lies"
    protocol = task.protocol.value
    with one_thread():
        made = set_up(
            protocol.interactions,
            protocol.ends[0],
            task.settings,
            backbone=task.trained,
            checkpoint=checkpoint,
            progress=progress,
        )
    return with_parts({}, made.parts)


# --- Steps


@dataclass(frozen=True, eq=False)
class _Chain:
    """One method with one seed. task_data: from the setup on. pending: edits without a step result, ascending."""

    protocol: ComparisonProtocol
    method: Method
    seed: int
    files: StepFiles
    task_data: tuple[TaskData, ...]
    pending: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.method.name}, seed {self.seed}"

    def state_before(self, edit: int) -> Blobs:
        """What the method has learned before an edit."""
        return self.files.state(edit - 1) if edit else {}


def _chains(
    protocol: ComparisonProtocol, methods: Sequence[Method], work: Path, seed: int, backbone_file: Path | None
) -> Iterator[_Chain]:
    """The chains of one seed with pending edits; they share all task data but for what a setup's options change."""
    steps = list(task_data_of_edits(protocol, view_of(read_blobs(_base(work, seed)), backbone_file)))
    for method in methods:
        files = StepFiles.of(work, method, seed)
        pending = tuple(edit for edit in range(protocol.edits + 1) if not files.finished(edit))
        if pending:
            base = view_of(read_blobs(_base(work, seed, method)), backbone_file)
            yield _Chain(protocol, method, seed, files, _based(steps, base), pending)


def _based(steps: Sequence[TaskData], base: ModelView) -> tuple[TaskData, ...]:
    """The task data of another setup of the same log."""
    based: list[TaskData] = []
    for step in steps:
        based.append(replace(step, base=base, previous=based[-1] if based else None))
    return tuple(based)


def _finished_steps(chains: Sequence[_Chain], workers: int) -> Generator[tuple[str, int]]:
    """Finish all steps; yields what was finished and how many steps that were."""
    if workers > 1 and len(chains) > 1:
        yield from side_by_side(_finish, chains, workers)
        return
    for chain in chains:
        for edit in chain.pending:
            _finish(replace(chain, pending=(edit,)))
            yield f"{chain.name}, edit {edit}", 1


def _finish(chain: _Chain) -> tuple[str, int]:
    """Run the pending edits of a chain, each from the state after the one before it."""
    for edit in chain.pending:
        before = chain.state_before(edit)
        chain.files.write(edit, *_step(chain.protocol, chain.method, chain.task_data[edit], before))
    return chain.name, len(chain.pending)


def _step(
    protocol: ComparisonProtocol, method: Method, task_data: TaskData, before: Blobs
) -> tuple[StepResult, Blobs]:
    """One edit of a method, and the state after it."""
    strategy, started = method.implementation, time.process_time()
    with one_thread():
        learned = strategy.learn(before, task_data) if task_data.number else strategy.begin({}, task_data)
        seconds = time.process_time() - started
        return _step_result(protocol, strategy, task_data, learned, seconds), learned.state


def _step_result(
    protocol: ComparisonProtocol, strategy: Strategy, task_data: TaskData, learned: LearnedState, seconds: float
) -> StepResult:
    rows = protocol.scored_rows(task_data.number)
    windows = protocol.windows.take(rows).without_items_above(task_data.items)
    target_ranks, lists = ranks_and_lists(strategy.score(learned.state, task_data), windows)
    recommended = np.unique(lists[protocol.slice[rows] == task_data.number + 1])
    regions = np.zeros(0, np.int32)
    if strategy.regions:
        regions = strategy.regions(learned.state, task_data, windows).astype(np.int32)
    return StepResult(
        target_ranks.astype(np.int32),
        regions,
        recommended[recommended > 0],
        task_data.items,
        learned.touched,
        learned.samples_seen,
        learned.parameters,
        seconds,
    )


# --- Steps as tasks


@dataclass(frozen=True, eq=False)
class _StepTask:
    """One edit of a method. task_data: of every edit, from the setup on. before: the state before the edit."""

    protocol: Shared[ComparisonProtocol]
    method: Method
    task_data: Shared[tuple[TaskData, ...]]
    edit: int
    before: Blobs


def _steps_of_tasks(executor: Executor, chains: Sequence[_Chain]) -> Generator[tuple[str, int]]:
    """Finish all steps, of every chain the same edit side by side; this process alone writes files."""
    if not chains:
        return
    protocol = executor.share(chains[0].protocol)
    shared = _shared_task_data(executor, chains)
    for edit in range(chains[0].protocol.edits + 1):
        due = [(chain, data) for chain, data in zip(chains, shared, strict=True) if edit in chain.pending]
        tasks = (_StepTask(protocol, chain.method, data, edit, chain.state_before(edit)) for chain, data in due)
        with closing(executor.as_ready(_step_in_worker, tasks)) as results:
            for number, (result, state) in results:
                chain = due[number][0]
                chain.files.write(edit, result, state)
                yield f"{chain.name}, edit {edit}", 1


def _shared_task_data(executor: Executor, chains: Sequence[_Chain]) -> list[Shared[tuple[TaskData, ...]]]:
    """The task data of each chain; chains of one seed and one setup share theirs."""
    setups = [(chain.seed, chain.method.folder_name if chain.method.options else "") for chain in chains]
    data = {setup: chain.task_data for setup, chain in zip(setups, chains, strict=True)}
    shared = {setup: executor.share(task_data) for setup, task_data in data.items()}
    return [shared[setup] for setup in setups]


def _step_in_worker(task: _StepTask) -> tuple[StepResult, Blobs]:
    return _step(task.protocol.value, task.method, task.task_data.value[task.edit], task.before)
