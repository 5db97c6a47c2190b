"""An alias in MLflow: set to where the registry has it now, or gone, with a note of who moved or deleted it and why.

Never to where an event of the past moved it: events may be published late, in a heap, or a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raie.registry.db.shown_url import shown
from raie.registry.errors import NotFound
from raie.registry.mlflow import payload as record
from raie.registry.mlflow.alias_table import is_last_move, pointed_to
from raie.registry.mlflow.payload import Payload
from raie.registry.mlflow.upserts import ModelUpserts, folder_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["publish_alias", "publish_deletion", "remove_alias", "set_alias"]


def publish_alias(upserts: ModelUpserts, engine: Engine, payload: Payload) -> None:
    """Sets the alias where this move is the one that holds, and notes who made it on the version."""
    target, alias, step = payload["to"], payload["alias"], upserts.progress.step
    if pointed_to(engine, upserts.model, alias) == target:
        step("alias", lambda: set_alias(upserts, engine, alias))
    version = upserts.version_of(target)
    is_last = is_last_move(engine, upserts.model, alias, target, payload["at"])
    if version is not None and is_last and pointed_to(engine, upserts.model, alias) == target:
        step("why", lambda: _note_move(upserts, payload, version["version"], version["run"]))


def set_alias(upserts: ModelUpserts, engine: Engine, alias: str) -> str:
    """The version that the alias is set to: where the registry has it, also once it is set."""
    target = pointed_to(engine, upserts.model, alias)
    while True:
        known = upserts.version_of(target) if target else None
        if target is None or known is None:
            raise NotFound(
                f"Expected snapshot {(target or 'none')[:12]} in MLflow at {shown(upserts.uri)}, found none; where its "
                "edit failed too, that comes first; else run `raie mlflow sync --again`"
            )
        version = str(known["version"])
        upserts.client.set_registered_model_alias(upserts.name, record.legal_alias(alias), version)
        # It may have moved meanwhile, and another relay may have set it already.
        before, target = target, pointed_to(engine, upserts.model, alias)
        # The event of a deletion, which comes later, takes it away.
        if target in (before, None):
            return version


def publish_deletion(upserts: ModelUpserts, engine: Engine, payload: Payload) -> None:
    """Takes the alias away, unless somebody has made it again, and notes who did it on the version it pointed to."""
    alias, step = payload["alias"], upserts.progress.step
    if pointed_to(engine, upserts.model, alias) is not None:
        return
    step("alias", lambda: remove_alias(upserts, engine, alias))
    version = upserts.version_of(payload["from"])
    if version is not None:
        noted = {**payload, "reason": f"deleted: {payload['reason']}"}
        step("why", lambda: _note_move(upserts, noted, version["version"], version["run"]))


def remove_alias(upserts: ModelUpserts, engine: Engine, alias: str) -> bool:
    """Takes away an alias that the registry has not; whether it is gone, and was not made again meanwhile."""
    if upserts.client.search_registered_models(f"name = '{upserts.name}'", max_results=1):
        upserts.client.delete_registered_model_alias(upserts.name, record.legal_alias(alias))
    # Another relay may have set it already.
    if pointed_to(engine, upserts.model, alias) is None:
        return True
    set_alias(upserts, engine, alias)
    return False


def _note_move(upserts: ModelUpserts, payload: Payload, version: str, run: str) -> None:
    alias = record.legal_alias(payload["alias"])
    file, whole = f"{alias}.txt", record.alias_note(payload)
    note = record.alias_note(payload, file)
    if note != whole:
        with folder_of({file: whole}) as folder:
            upserts.client.log_artifacts(run, folder)
    tag = record.alias_tag(alias)
    upserts.client.set_model_version_tag(upserts.name, version, tag, note)
    # The note belongs to where the alias is now.
    noted = upserts.client.search_model_versions(f"name = '{upserts.name}' and tags.`{tag}` LIKE '%'")
    for stale in noted:
        if str(stale.version) != version:
            upserts.client.delete_model_version_tag(upserts.name, stale.version, tag)
