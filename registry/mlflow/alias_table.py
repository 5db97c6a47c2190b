"""What MLflow's aliases show beside what the registry's say: somebody may move one on MLflow's pages.

Asked without importing MLflow, because `raie mlflow status` and a sync with nothing to publish ask it every time.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlencode

from sqlalchemy import Engine, select

from raie.registry.db.engine import reading
from raie.registry.db.shown_url import shown, userinfo_of
from raie.registry.db.tables import alias_moves, aliases, outbox_events
from raie.registry.mlflow.client import REQUEST_S, answers, sqlite_file
from raie.registry.mlflow.payload import legal_alias, legal_model_name
from raie.registry.outbox_records import ALIAS_DELETED, ALIAS_MOVED

__all__ = [
    "AliasGap",
    "ShownAlias",
    "gap_of",
    "is_last_move",
    "moved_by_hand",
    "pending_aliases",
    "pointed_to",
    "shown_aliases",
]

_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

Shows = Callable[[str, str], tuple[str | None, str | None]]
"""(model, alias), by their names in MLflow -> the version and its snapshot there; None for what it does not have."""


@dataclass(frozen=True)
class AliasGap:
    """An alias that MLflow shows elsewhere than the registry.

    snapshot: where the registry has it, None where it was deleted there.  found_version, found_snapshot: where MLflow
    has it, None where it has no such alias, or a version that is none of the registry's.  version: where the sync put
    it back to, None where it stands as found.  removed: whether the sync took a deleted one away.  error: why the sync
    could not, in one line.
    """

    model: str
    alias: str
    snapshot: str | None
    found_version: str | None
    found_snapshot: str | None
    version: str | None = None
    error: str | None = None
    removed: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether MLflow shows what the registry says, once more."""
        return self.removed or self.version is not None


@dataclass(frozen=True)
class ShownAlias:
    """An alias of the registry, and what MLflow shows of it.

    snapshot, found_version, found_snapshot: where the registry and MLflow have it, as of AliasGap.  pending: whether
    MLflow has yet to get its last move.
    """

    model: str
    alias: str
    snapshot: str | None
    found_version: str | None
    found_snapshot: str | None
    pending: bool

    @property
    def differs(self) -> bool:
        """Whether MLflow shows it elsewhere."""
        if self.snapshot is None:
            return self.found_version is not None
        return self.found_snapshot != self.snapshot


def shown_aliases(
    engine: Engine, uri: str, on_alias: Callable[[int, int], None] = lambda done, total: None
) -> tuple[ShownAlias, ...] | None:
    """Every alias of the registry, and where MLflow shows it; of those that were deleted the ones that it still shows.

    Args:
        engine: of the registry's database.
        uri: a checked tracking URI.
        on_alias: called before each alias is asked for, with how many were and how many there are.

    Returns: the aliases, in the order of their names; None where MLflow does not say.
    """
    with reading(engine) as connection:
        live = connection.execute(select(aliases)).all()
        moved = connection.execute(select(alias_moves.c.model, alias_moves.c.alias).distinct()).all()
    named: dict[tuple[str, str], str | None] = {(row.model, row.alias): None for row in moved}
    named |= {(row.model, row.name): row.snapshot for row in live}
    if not named:
        return ()
    shows = _shows(uri)
    there: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    try:
        for name in sorted(named):
            on_alias(len(there), len(named))
            there[name] = shows(legal_model_name(name[0]), legal_alias(name[1]))
    except (OSError, ValueError, sqlite3.Error):
        return None
    pending = pending_aliases(engine)
    shown_there = (ShownAlias(*name, named[name], *position, name in pending) for name, position in there.items())
    return tuple(alias for alias in shown_there if alias.snapshot is not None or alias.differs)


def gap_of(alias: ShownAlias) -> AliasGap:
    """The gap of an alias that differs."""
    return AliasGap(alias.model, alias.alias, alias.snapshot, alias.found_version, alias.found_snapshot)


def moved_by_hand(engine: Engine, alias: ShownAlias) -> bool:
    """Whether no sync can have brought an alias to where MLflow shows it.

    One that is only behind shows a snapshot that the alias had in the registry once, or nothing yet.
    """
    if not alias.differs or (alias.pending and alias.found_version is None):
        return False
    if not alias.pending:
        return True
    mine = (alias_moves.c.model == alias.model, alias_moves.c.alias == alias.alias)
    once = select(alias_moves.c.id).where(*mine, alias_moves.c.target == alias.found_snapshot).limit(1)
    with reading(engine) as connection:
        return connection.execute(once).first() is None


def pending_aliases(engine: Engine) -> set[tuple[str, str]]:
    """The (model, alias) whose last moves MLflow has not got yet."""
    pending = (outbox_events.c.kind.in_((ALIAS_MOVED, ALIAS_DELETED)), outbox_events.c.published_at.is_(None))
    with reading(engine) as connection:
        rows = connection.execute(select(outbox_events.c.model, outbox_events.c.payload).where(*pending)).all()
    return {(row.model, json.loads(row.payload)["alias"]) for row in rows}


def pointed_to(engine: Engine, model: str, alias: str) -> str | None:
    """The snapshot that an alias points to in the registry now."""
    mine = (aliases.c.model == model, aliases.c.name == alias)
    with reading(engine) as connection:
        return connection.execute(select(aliases.c.snapshot).where(*mine)).scalar()


def is_last_move(engine: Engine, model: str, alias: str, target: str, at: float) -> bool:
    """Whether no later move than the one at this time (epoch seconds) brought the alias to the snapshot."""
    mine = (alias_moves.c.model == model, alias_moves.c.alias == alias, alias_moves.c.target == target)
    last = select(alias_moves.c.at).where(*mine).order_by(alias_moves.c.id.desc()).limit(1)
    with reading(engine) as connection:
        return bool(connection.execute(last).scalar() in (None, at))


def _shows(uri: str) -> Shows:
    file = sqlite_file(uri)
    if file is None:
        return lambda model, alias: _in_server(uri, model, alias)
    # A file that is not made yet shows nothing.
    return (
        (lambda model, alias: _in_file(file, model, alias)) if answers(uri) else lambda model, alias: (None, None)
    )


def _in_file(file: Path, model: str, alias: str) -> tuple[str | None, str | None]:
    query = (
        "SELECT a.version, t.value FROM registered_model_aliases a LEFT JOIN model_version_tags t"
        " ON t.name = a.name AND t.version = a.version AND t.key = 'raie.snapshot' WHERE a.name = ? AND a.alias = ?"
    )
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        row = connection.execute(query, (model, alias)).fetchone()
    return (None, None) if row is None else (str(row[0]), row[1])


def _in_server(uri: str, model: str, alias: str) -> tuple[str | None, str | None]:
    asked = urlencode({"name": model, "alias": alias})
    address = f"{shown(uri)}/api/2.0/mlflow/registered-models/alias?{asked}"
    request = urllib.request.Request(address, headers=_authorization(uri))
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
            version = json.load(answer)["model_version"]
    except urllib.error.HTTPError as error:
        if error.code in (400, 404) and json.load(error).get("error_code") in _NOT_FOUND:
            return None, None
        raise
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("Expected a model version from MLflow, found something else") from error
    tags = {tag.get("key"): tag.get("value") for tag in version.get("tags", ())}
    return str(version.get("version")), tags.get("raie.snapshot")


def _authorization(uri: str) -> dict[str, str]:
    """What MLflow's own client would send: MLFLOW_TRACKING_USERNAME's, the URI's or MLFLOW_TRACKING_TOKEN's."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    token, userinfo = os.environ.get("MLFLOW_TRACKING_TOKEN"), userinfo_of(uri)
    if user and password:
        basic = f"{user}:{password}"
    elif token:
        return {"Authorization": f"Bearer {token}"}
    elif userinfo is not None:
        basic = unquote(userinfo)
    else:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(basic.encode()).decode()}"}
