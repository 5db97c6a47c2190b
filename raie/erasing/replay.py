"""The head's history replayed without a user: what their rows reached is trained again, everything else is taken over.

Each step is made on the replayed content of the one before. A training whose inputs are what they were is not repeated,
because its result would be the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from raie.callbacks import Progress
from raie.command_blobs import CommandBlobs
from raie.edits.workflow import content_of, recalled_region
from raie.engine.bytes.json import parse_json
from raie.engine.data.interactions import Interactions, read_log
from raie.engine.edit.erasing import prepared_without, same_task, setup_without, user_rows
from raie.engine.edit.pipeline import PreparedEdit, finish_edit
from raie.engine.edit.training_tasks import region_tasks, shared_task
from raie.engine.errors import EngineError, InputError
from raie.engine.model import ADAPTER_ROLES, ModelView
from raie.engine.training.train_adapter import SHARED, TrainedRegion, TrainTask, train_regions
from raie.erasing.erased_ids import erased_ids
from raie.erasing.steps import Step
from raie.errors import RaieError
from raie.logs.log_reading import later_settings
from raie.registry import Content, Digest, Registry, digest_of
from raie.registry.edits.merge import rebase, revert
from raie.registry.errors import BlobMissing, IncompatibleRegions, SnapshotExpired
from raie.registry.roles import CATALOGUE
from raie.registry.states import EditKind

__all__ = ["MemoryBlobs", "Replay", "Replayed", "first_step"]


@dataclass(frozen=True)
class MemoryBlobs:
    """A registry's blobs, and new ones that are held in memory until something is committed."""

    registry: Registry
    new: dict[Digest, bytes] = field(default_factory=dict, repr=False)

    def get(self, digest: Digest) -> bytes:
        """The bytes; raises what `Registry.get` raises."""
        data = self.new.get(digest)
        return self.registry.get(digest) if data is None else data

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        """Hold bytes; their digests in the same order."""
        digests = [digest_of(blob) for blob in data]
        self.new.update(zip(digests, data, strict=True))
        return digests

    def put(self, data: bytes) -> Digest:
        """Hold bytes; their digest."""
        return self.put_all([data])[0]


@dataclass(frozen=True)
class Replayed:
    """What a replay made.

    Attributes:
        content: Of the head, without the users.
        steps: The whole history without them, oldest first.
        trained: By edit the regions that were trained again.
        blobs: What is new among the blobs of all this.
    """

    content: Content
    steps: tuple[Step, ...]
    trained: Mapping[int, tuple[int, ...]]
    blobs: MemoryBlobs


def first_step(steps: Sequence[Step], get: Callable[[Digest], bytes], users: Collection[str]) -> int | None:
    """The position of the first step whose catalogue holds one of the users; None where none does.

    Args:
        steps: Of a head's history, oldest first.
        get: Reads a blob of the head.
        users: External ids.
    """
    named = set[Digest]()
    for number, step in enumerate(steps):
        chunks = [chunk for chunk in step.content.shared[CATALOGUE] if chunk not in named]
        if any(user in users for chunk in chunks for user in _users(get, chunk)):
            return number
        named.update(chunks)
    return None


def _users(get: Callable[[Digest], bytes], chunk: Digest) -> Sequence[str]:
    users: Sequence[str] = parse_json(get(chunk), "a chunk of the catalogue")["users"]
    return users


@dataclass(frozen=True)
class Replay:
    """A replay of a model's history without a user.

    Attributes:
        model: Its name.
        user: The external id.
        key: Of the hashes of those who were erased before, whose rows a log may still hold.
        log: The log of all steps; None takes the log that each edit names.
        backbone_file: The Python file of a backbone of the user's own.
        workers: Processes that train side by side; the result does not depend on it.
    """

    registry: Registry
    model: str
    user: str
    key: bytes
    log: Path | None
    backbone_file: Path | None
    workers: int
    progress: Progress
    blobs: MemoryBlobs
    _logs: dict[tuple[Path, str], Interactions] = field(default_factory=dict, repr=False)

    def run(self, steps: Sequence[Step], first: int) -> Replayed:
        """Replay the steps from the first that holds a user.

        Args:
            steps: The whole history, oldest first.
            first: The position of that step.

        Raises:
            RaieError: A step cannot be trained again, because what it was made from is not known or has expired.
            EngineError: A log is not the one that an edit was made from.
        """
        head = self._view(steps[-1].content)
        contents = {step.snapshot: step.content for step in steps}
        made, trained = dict(contents), dict[int, tuple[int, ...]]()
        replayed = list(steps[:first])
        for position, step in enumerate(steps[first:], start=1):
            self.progress("replaying the history without the user", position - 1, len(steps) - first)
            content, plan, regions = self._step(step, contents, made, steps, head)
            made[step.snapshot] = content
            replayed.append(replace(step, content=content, plan=plan, kept=True))
            if regions:
                trained[step.number] = regions
        self.progress("replaying the history without the user", len(steps) - first, len(steps) - first)
        return Replayed(made[steps[-1].snapshot], tuple(replayed), trained, self.blobs)

    def _step(
        self,
        step: Step,
        contents: Mapping[str, Content],
        made: Mapping[str, Content],
        steps: Sequence[Step],
        head: ModelView,
    ) -> tuple[Content, Digest | None, tuple[int, ...]]:
        """The content of a step without the users, its plan, and the regions that were trained again."""
        parent = made.get(str(step.parent))
        match step.kind:
            case EditKind.SETUP:
                return self._setup(step), None, ()
            case EditKind.EDIT:
                return self._edit(step, contents, made, steps, head)
            case EditKind.ROLLBACK if parent is not None:
                return _rolled_back(step, parent, made, steps), None, ()
            case EditKind.IMPORT if parent is not None:
                return _imported(step, parent), None, ()
            case EditKind.ERASE if parent is not None:
                return parent, None, ()
        raise RaieError(f"expected steps that can be made again, found edit {step.number}, a {step.kind}: {_ANEW}")

    def _setup(self, step: Step) -> Content:
        _require_kept(step)
        view = self._view(step.content)
        mixed = bool(view.settings.engine.mixture.names)
        without = setup_without(view, self._interactions(step, view) if mixed else None, {self.user})
        content = content_of(self.blobs, without.parts, step.content)
        chunk = self.blobs.put(without.catalogue)
        shared = {**content.shared, CATALOGUE: (chunk, *content.shared[CATALOGUE][1:])}
        return Content(content.backbone, content.space, shared, content.regions)

    def _edit(
        self,
        step: Step,
        contents: Mapping[str, Content],
        made: Mapping[str, Content],
        steps: Sequence[Step],
        head: ModelView,
    ) -> tuple[Content, Digest | None, tuple[int, ...]]:
        base, parent = str(step.base), str(step.parent)
        before = next(earlier for earlier in steps if earlier.snapshot == base)
        _require_kept(before)
        old, new = self._view(contents[base]), self._view(made[base])
        prepared = self._prepared(step)
        needed = prepared.counts is not None or bool(len(prepared.item_rows))
        changed = prepared_without(
            new,
            prepared,
            self._interactions(step, head) if needed else None,
            {self.user},
            rows=user_rows(head.catalogue, {self.user}),
            next_region_id=_next_region(prepared, new, steps, step),
        )
        trained, again = self._trained(step.number, old, new, prepared, changed)
        finished = finish_edit(new, changed, list(trained.values()))
        content = content_of(self.blobs, finished.parts, made[base])
        if base != parent:
            content = rebase(content, made[base], made[parent])
        return content, self.blobs.put(changed.to_bytes()), again

    def _trained(
        self, number: int, old: ModelView, new: ModelView, before: PreparedEdit, after: PreparedEdit
    ) -> tuple[dict[int, TrainedRegion], tuple[int, ...]]:
        """Every training of an edit, by region; and which of them were done again."""
        if not after.plan.touched:
            return {}, ()
        known: dict[int, TrainedRegion] = {}
        done: dict[int, TrainedRegion] = {}
        if new.settings.engine.edit.shared_epochs > 0:
            earlier = [shared_task(old, before)] if before.plan.touched else []
            known = self._recalled(number, earlier, [shared_task(new, after)])
            done = known or self._train([shared_task(new, after)])
        shared = done[SHARED].blobs if SHARED in done else None
        tasks = region_tasks(new, after, shared)
        # With another shared adapter every region that continues from it is another training too.
        same = bool(before.plan.touched) and known.keys() == done.keys()
        known = self._recalled(number, region_tasks(old, before, shared) if same else [], tasks)
        again = tuple(task.region for task in tasks if task.region not in known)
        return {**done, **known, **self._train([task for task in tasks if task.region in again])}, again

    def _train(self, tasks: Sequence[TrainTask]) -> dict[int, TrainedRegion]:
        return {result.region: result for result in train_regions(tasks, self.workers)} if tasks else {}

    def _recalled(
        self, number: int, earlier: Sequence[TrainTask], tasks: Sequence[TrainTask]
    ) -> dict[int, TrainedRegion]:
        """The recorded results of those trainings that are what they were."""
        recorded = self.registry.checkpoints(self.model, number)
        before = {task.region: task for task in earlier}
        known = {}
        for task in tasks:
            value = recorded.get(f"region {task.region}")
            if value is None or task.region not in before or not same_task(before[task.region], task):
                continue
            try:
                known[task.region] = recalled_region(CommandBlobs(self.registry), value)
            except (BlobMissing, SnapshotExpired):
                continue  # collected, so it is trained again, to the same bytes
        return known

    def _prepared(self, step: Step) -> PreparedEdit:
        if step.plan is None:
            raise RaieError(f"expected the plan of edit {step.number}, found none: {_ANEW}")
        try:
            return PreparedEdit.from_bytes(self.blobs.get(step.plan))
        except (BlobMissing, SnapshotExpired) as error:
            raise RaieError(
                f"expected the plan of edit {step.number}, found that it went with its expired snapshot: {_ANEW}"
            ) from error

    def _interactions(self, step: Step, view: ModelView) -> Interactions:
        """The log of a step, read with a catalogue that knows everybody."""
        path, reading = self.log or Path(str(step.parameters.get("log"))), step.parameters.get("reading")
        key = (path, repr(reading))
        if key not in self._logs:
            settings = later_settings(view, reading)
            try:
                interactions = read_log(path, catalogue=view.catalogue, **vars(settings))
                strange = interactions.catalogue.users[len(view.catalogue.users) :]
                gone = erased_ids(self.registry, self.model, strange, self.key)
                if gone:
                    interactions = read_log(path, catalogue=view.catalogue, without_users=gone, **vars(settings))
                self._logs[key] = interactions
            except (EngineError, OSError) as error:
                raise InputError(
                    f"expected the log that edit {step.number} was made from: {error}; give it with --log"
                ) from error
        return self._logs[key]

    def _view(self, content: Content) -> ModelView:
        return ModelView(content, self.blobs.get, self.backbone_file)


_ANEW = "set the model up anew in another workspace (raie init, raie setup LOG --without-user ID)"


def _require_kept(step: Step) -> None:
    if not step.kept:
        raise RaieError(
            f"expected the blobs of snapshot {step.snapshot[:12]} of edit {step.number}, from which the user's edits are "
            f"made again, found that it expired: {_ANEW}"
        )


def _next_region(prepared: PreparedEdit, new: ModelView, steps: Sequence[Step], step: Step) -> int:
    """The id of the first region that an edit may add: the one it had, unless the replay has given that away."""
    taken, known = int(new.region_map.ids.max()), prepared.plan.added
    if known and known[0] > taken:
        return int(known[0])
    return max(taken, *(max(earlier.content.regions) for earlier in steps), *(known or (0,))) + 1


def _rolled_back(step: Step, head: Content, made: Mapping[str, Content], steps: Sequence[Step]) -> Content:
    """The content of a rollback, from the replayed contents of the snapshots that it names."""
    if "to" in step.parameters:
        return made[step.parameters["to"]]
    by_number = {made_by.number: made_by for made_by in steps}
    content = head
    try:
        for number in sorted(step.parameters["edits"], reverse=True):
            undone = by_number[number]
            content = revert(made[str(undone.parent)], made[undone.snapshot], content)
    except (IncompatibleRegions, KeyError) as error:
        raise RaieError(
            f"expected a rollback that can be made again, found that edit {step.number} cannot: {error}; {_ANEW}"
        ) from error
    return content


def _imported(step: Step, parent: Content) -> Content:
    """The content of an import: its adapter over what the region has without the users."""
    region = int(step.parameters["region"])
    entry = step.content.regions[region]
    adapter = {role: entry[role] for role in ADAPTER_ROLES if role in entry}
    kept = {role: digest for role, digest in parent.regions[region].items() if role not in ADAPTER_ROLES}
    return Content(parent.backbone, parent.space, parent.shared, {**parent.regions, region: {**kept, **adapter}})
