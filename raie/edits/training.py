"""Set a workspace's model up and edit it: what a log and a person's options become."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from raie.actor import actor
from raie.callbacks import OnNote, Progress, ignore_notes, ignore_progress
from raie.chain_head import publishes_chain_head
from raie.edits.adapter_import import resume_import
from raie.edits.edit_result import EditResult, result_of
from raie.edits.workflow import PlannedEdit, apply_edit, plan_edit, resume_edit, run_setup
from raie.engine.config import from_mapping
from raie.engine.data.readers.settings import LogSettings
from raie.engine.edit.gain import GAIN, Accept
from raie.engine.model import Settings
from raie.errors import UsageError
from raie.executors.choice import opened
from raie.logs.log_reading import When, log_settings, when_text
from raie.registry.states import EditKind

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["apply", "plan", "resume", "set_up"]


@publishes_chain_head
def set_up(
    workspace: Workspace,
    log: str | Path,
    *,
    until: When | None = None,
    reason: str = "",
    engine: Mapping[str, Any] | None = None,
    reading: LogSettings | Mapping[str, Any] | None = None,
    executor: str | None = None,
    progress: Progress = ignore_progress,
    on_note: OnNote = ignore_notes,
    without_users: Collection[str] = (),
) -> EditResult:
    """Train the backbone, fit the regions and commit the first snapshot.

    Args:
        workspace: Where the model lives.
        log: The interactions.
        until: Use the log up to here; None for all of it.
        reason: Why; it stays in the history.
        engine: Options of the engine that differ from raie.toml's, as {"regions": {"regions": 4}}.
        reading: How the log is read, as for `log_settings`; later logs are read the same way.
        executor: "local", or "ray" for a cluster; None for the workspace's own.
        progress: Called as the training goes on.
        on_note: Called with each line on how the log was read, before the training.
        without_users: Ids of users whose rows of the log are left out, as if it had never held them.

    Returns:
        The first snapshot, with what the setup found.

    Raises:
        EngineError: The log or an option cannot be used.
        RegistryError: The model has a snapshot already, or the database or the store refuses.
    """
    workspace.require_code()
    settings = Settings(from_mapping(_merged(workspace.engine, engine or {})), log_settings(reading))
    registry = workspace.registry()
    with opened(executor or workspace.executor, os.cpu_count() or 1) as runner:
        snapshot = run_setup(
            registry,
            workspace.model,
            Path(log),
            when_text(until),
            settings,
            actor=actor(),
            reason=reason,
            work=workspace.work,
            progress=progress,
            on_note=on_note,
            executor=runner,
            without_users=without_users,
        )
    return result_of(registry, snapshot)


def _merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A table with some of its values changed, tables inside it key by key."""
    merged = dict(table)
    for name, value in changes.items():
        before = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged


def plan(
    workspace: Workspace,
    log: str | Path,
    *,
    until: When | None = None,
    seed: int | None = None,
    only_drifted: bool = False,
    accept_new_ids: bool = False,
    reading: Mapping[str, Any] | None = None,
    executor: str | None = None,
) -> PlannedEdit:
    """What an edit of the head on this log would do; nothing changes.

    Args:
        workspace: Where the model lives.
        log: The interactions; the rows after the head's watermark are taken.
        until: Use the log up to here; None for all of it.
        seed: Another seed than the setup's.
        only_drifted: Leave regions alone that predict the new windows as well as they did.
        accept_new_ids: Take ids that look like known ones in another spelling for new ones.
        reading: Options of reading the log that differ from the setup's.
        executor: "local", or "ray" for a cluster; None for the workspace's own.

    Raises:
        EngineError: The log cannot be used; NothingToEdit where it has no new window.
        RegistryError: The database or the store refuses.
        UsageError: There is no snapshot to edit.
    """
    with opened(executor or workspace.executor, os.cpu_count() or 1) as runner:
        return plan_edit(
            workspace.registry(),
            workspace.model,
            Path(log),
            when_text(until),
            seed,
            only_drifted=only_drifted,
            backbone_file=workspace.backbone_file,
            reading=reading,
            accept_new_ids=accept_new_ids,
            executor=runner,
        )


@publishes_chain_head
def apply(
    workspace: Workspace,
    planned: PlannedEdit,
    *,
    reason: str = "",
    workers: int = 1,
    executor: str | None = None,
    accept: Accept = GAIN,
    progress: Progress = ignore_progress,
) -> EditResult | None:
    """Train what a plan touches and commit the next snapshot.

    Args:
        workspace: Where the model lives.
        planned: What `plan` returned.
        reason: Why; it stays in the history.
        workers: Processes that train side by side; the result does not depend on it.
        executor: "local", or "ray" for a cluster; None for the workspace's own.
        accept: "gain" commits an edit only where NDCG@10 rises beyond chance on windows that it was not trained on,
            new ones or those that the setup held out, and falls by less on the others; "anyway" commits every edit.
        progress: Called as the training goes on.

    Returns:
        The new snapshot, with what the edit changed for whom; None where the plan is idle, and nothing was changed.

    Raises:
        GainedNothing: The edit gains nothing beyond chance, and is closed; the head is as before.
        CommitConflict: The head moved, and the edit cannot be replayed on it.
        EngineError: The training failed; `resume` goes on from what was finished.
        RegistryError: The database or the store refuses.
    """
    if planned.idle:
        return None
    registry = workspace.registry()
    with opened(executor or workspace.executor, workers) as runner:
        _, snapshot = apply_edit(
            registry,
            workspace.model,
            planned,
            actor=actor(),
            reason=reason,
            work=workspace.work,
            workers=workers,
            progress=progress,
            executor=runner,
            accept=_rule(accept),
        )
    return result_of(registry, snapshot)


def _rule(accept: str) -> Accept:
    rules: tuple[Accept, ...] = get_args(Accept)
    for rule in rules:
        if rule == accept:
            return rule
    raise UsageError(f"expected accept to be {' or '.join(rules)}, found {accept!r}")


@publishes_chain_head
def resume(
    workspace: Workspace,
    number: int,
    *,
    force: bool = False,
    workers: int = 1,
    executor: str | None = None,
    progress: Progress = ignore_progress,
) -> EditResult:
    """Finish an edit or a setup that was interrupted; the result is that of one which was not.

    Args:
        workspace: Where the model lives.
        number: The edit.
        force: Take it from a process that may still work on it.
        workers: Processes that train side by side.
        executor: "local", or "ray" for a cluster; None for the workspace's own.
        progress: Called as the training goes on.

    Raises:
        LeaseLost: Another process works on it.
        EditStateError: It is closed.
        UsageError: The log is no longer the one that the setup began with.
    """
    registry = workspace.registry()
    if registry.edit(workspace.model, number).kind == EditKind.IMPORT:
        return resume_import(workspace, number, force=force)
    with opened(executor or workspace.executor, workers) as runner:
        snapshot = resume_edit(
            registry,
            workspace.model,
            number,
            actor=actor(),
            force=force,
            work=workspace.work,
            workers=workers,
            progress=progress,
            backbone_file=workspace.backbone_file,
            executor=runner,
        )
    return result_of(registry, snapshot)
