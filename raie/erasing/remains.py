"""What is left of a user, and where: blobs, rows, MLflow's records and logs of requests. Nothing changes.

Every object of the store is read and looked at for what is in it, so that what no snapshot names any more is found too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raie.callbacks import Progress, ignore_progress
from raie.engine.data.user_traces import Traces, traces_of
from raie.engine.edit.erasing import is_placeholder
from raie.erasing.erased_ids import erasures_of
from raie.erasing.keyed_hash import keyed_hash
from raie.erasing.mentions import Mention
from raie.registry import Registry, Snapshot, lineage
from raie.registry.maintenance.stored_texts import stored_texts
from raie.registry.mlflow.shown_texts import shown_texts
from raie.registry.roles import CATALOGUE

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["LeftBlob", "LeftSnapshot", "LeftText", "Remains", "remains_of"]


@dataclass(frozen=True)
class LeftSnapshot:
    """A kept snapshot whose catalogue holds the user, and everything in which was made from the user's rows since.

    Attributes:
        aliases: What points at it, the head among them.
    """

    snapshot: str
    edit: int
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class LeftBlob:
    """A blob that holds the user's id or windows.

    Attributes:
        what: "id" or "windows".
        windows: How many are the user's.
        kept_by: The snapshots and plans that keep it; none for one that the next gc may delete.
    """

    digest: str
    what: str
    windows: int
    kept_by: tuple[str, ...]


@dataclass(frozen=True)
class LeftText:
    """A row, a record or a file that names the user, and how many times."""

    where: str
    count: int


@dataclass(frozen=True)
class Remains:
    """What is left of a user.

    Attributes:
        erased_by: The erasures of this user; empty where the key is not given, or another one.
        snapshots, blobs, rows, mlflow, requests: Where the user is left.
        frozen: Whether the frozen backbone was trained on rows of the user, or, without the key, of any who was erased
            since; no erasure changes it.
    """

    model: str
    erased_by: tuple[int, ...]
    snapshots: tuple[LeftSnapshot, ...]
    blobs: tuple[LeftBlob, ...]
    rows: tuple[LeftText, ...]
    mlflow: tuple[LeftText, ...]
    requests: tuple[LeftText, ...]
    frozen: bool

    @property
    def anything(self) -> bool:
        """Whether something is left; what the frozen backbone saw does not count."""
        return bool(self.snapshots or self.blobs or self.rows or self.mlflow or self.requests)


def remains_of(
    workspace: Workspace,
    user: str,
    *,
    key: bytes | None = None,
    requests: Sequence[Path] = (),
    progress: Progress = ignore_progress,
) -> Remains:
    """What is left of a user.

    Args:
        workspace: Where the model lives; blobs and rows of the other models of its registry are looked at too.
        user: The external id.
        key: Of the hashes of erased users; None where it is not known which edit erased the user.
        requests: Logs of requests, files or folders.
        progress: Called as blobs are read.

    Raises:
        RegistryError: The database, the store or MLflow does not answer.
        UsageError: There is no log of requests of a name.
    """
    registry, mention = workspace.registry(), Mention(user)
    snapshots = {model: list(_kept(registry, model)) for model in registry.models()}
    rows = {model: _rows(registry, kept, user) for model, kept in snapshots.items()}
    erasures = erasures_of(registry, workspace.model) if workspace.model in snapshots else []
    named = None if key is None else keyed_hash(key, workspace.model, user)
    return Remains(
        model=workspace.model,
        erased_by=tuple(edit.number for edit in erasures if edit.parameters.get("user") == named),
        snapshots=tuple(_left_snapshots(registry, workspace.model, snapshots.get(workspace.model, []), user)),
        blobs=tuple(_left_blobs(registry, snapshots, rows, user, progress)),
        rows=_counted(where for where, text in stored_texts(registry.engine) if mention.in_text(text)),
        mlflow=_counted(where for where, text in shown_texts(workspace.tracking_uri) if mention.in_text(text)),
        requests=tuple(_left_requests(requests, user)),
        frozen=any(
            edit.report.get("backbone_saw_user")
            for edit in erasures
            if named in (None, edit.parameters.get("user"))
        ),
    )


def _kept(registry: Registry, model: str) -> Iterator[Snapshot]:
    return (entry.snapshot for entry in lineage.walk(registry, model) if entry.snapshot.expired is None)


def _rows(registry: Registry, snapshots: Iterable[Snapshot], user: str) -> frozenset[int]:
    """The rows of the user, and of all who were erased: no window of theirs may be left."""
    return frozenset(
        row
        for chunk in {digest for snapshot in snapshots for digest in snapshot.content.shared.get(CATALOGUE, ())}
        for row, text in traces_of(registry.get(chunk)).users.items()
        if text == user or is_placeholder(text, row)
    )


def _left_snapshots(
    registry: Registry, model: str, snapshots: Iterable[Snapshot], user: str
) -> Iterator[LeftSnapshot]:
    holding = {
        chunk
        for chunk in {digest for snapshot in snapshots for digest in snapshot.content.shared.get(CATALOGUE, ())}
        if user in traces_of(registry.get(chunk)).users.values()
    }
    head = registry.head(model) if snapshots else None
    aliases = registry.aliases(model) if snapshots else []
    for snapshot in snapshots:
        if holding.intersection(snapshot.content.shared.get(CATALOGUE, ())):
            at = ["head"] if head is not None and head.id == snapshot.id else []
            at += [alias.name for alias in aliases if alias.snapshot == snapshot.id]
            yield LeftSnapshot(snapshot.id, snapshot.edit, tuple(at))


def _left_blobs(
    registry: Registry,
    snapshots: Mapping[str, Sequence[Snapshot]],
    rows: Mapping[str, frozenset[int]],
    user: str,
    progress: Progress,
) -> Iterator[LeftBlob]:
    keepers = _keepers(registry, snapshots)
    everybody = frozenset[int]().union(*rows.values())
    stored = sorted(blob.digest for blob in registry.store.iterate())
    for number, digest in enumerate(stored):
        progress("reading blobs", number, len(stored))
        kept_by = keepers.get(digest, {})
        mine = frozenset[int]().union(*(rows[model] for model in kept_by.values())) if kept_by else everybody
        traces = traces_of(registry.store.get(digest))
        windows = sum(count for row, count in traces.windows.items() if row in mine)
        if user in traces.users.values() or windows:
            yield LeftBlob(digest, _what(traces, user), windows, tuple(kept_by))
    progress("reading blobs", len(stored), len(stored))


def _what(traces: Traces, user: str) -> str:
    return "id" if user in traces.users.values() else "windows"


def _keepers(registry: Registry, snapshots: Mapping[str, Sequence[Snapshot]]) -> dict[str, dict[str, str]]:
    """Digest -> the kept snapshots and plans that name it, each with its model."""
    keepers: dict[str, dict[str, str]] = {}
    for model, kept in snapshots.items():
        for snapshot in kept:
            for digest in snapshot.content.blobs():
                keepers.setdefault(digest, {})[f"snapshot {snapshot.id[:12]} of edit {snapshot.edit}"] = model
        results = {snapshot.id for snapshot in kept}
        for edit in registry.edits(model):
            if edit.plan_digest is not None and (edit.result in results or edit.is_open):
                keepers.setdefault(edit.plan_digest, {})[f"the plan of edit {edit.number}"] = model
    return keepers


def _counted(texts: Iterable[str]) -> tuple[LeftText, ...]:
    counts: dict[str, int] = {}
    for where in texts:
        counts[where] = counts.get(where, 0) + 1
    return tuple(LeftText(where, count) for where, count in counts.items())


def _left_requests(paths: Sequence[Path], user: str) -> Iterator[LeftText]:
    if not paths:
        return
    from raie.serving.request_log import rows_of_user

    for path in paths:
        for file, count in rows_of_user(path, user):
            yield LeftText(str(file), count)
