"""Where MLflow shows the snapshots that were published: what the outbox recorded of each, without asking MLflow."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, Connection, cast, select, type_coerce

from raie.registry.db.tables import outbox_events
from raie.registry.outbox_records import SNAPSHOT_COMMITTED

__all__ = ["published_versions"]

_e = outbox_events.c


def published_versions(connection: Connection, model: str, target: str) -> dict[str, tuple[str, str, str]]:
    """The MLflow versions of a model's snapshots.

    Args:
        connection: to the registry's database.
        model: its name.
        target: the tracking URI without a password, as the outbox records it.

    Returns:
        Id of the snapshot -> version of the registered model, experiment and run; a snapshot that was not published to
        this target is absent.
    """
    payload, progress = _json(connection, _e.payload), _json(connection, _e.progress)
    steps = progress["steps"]
    query = select(
        payload["snapshot"]["id"].as_string().label("snapshot"),
        steps["version"].as_string().label("version"),
        steps["experiment"].as_string().label("experiment"),
        steps["edit"].as_string().label("run"),
    ).where(
        _e.model == model,
        _e.kind == SNAPSHOT_COMMITTED,
        _e.published_at.is_not(None),
        progress["target"].as_string() == target,
    )
    return {
        row.snapshot: (row.version, row.experiment, row.run)
        for row in connection.execute(query.order_by(_e.id))
        if None not in (row.version, row.experiment, row.run)
    }


def _json(connection: Connection, column: Column[Any]) -> Any:
    """A column of JSON texts, of which parts can be asked for: whole payloads would be most of a long history's bytes."""
    # SQLite would make a number of a text that it casts; PostgreSQL looks into no text that is not cast.
    return cast(column, JSON) if connection.dialect.name == "postgresql" else type_coerce(column, JSON)
