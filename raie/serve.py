"""What MLflow serves: the registry that the environment names says which snapshot that is.

With an alias (RAIE_ALIAS, or "alias" in MLflow's model_config) the model follows the registry's alias. Without one it is
the snapshot of the MLflow version, if a policy of the model admitted that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.errors import UsageError
from raie.registry import Registry
from raie.serving.follower import POLL_S, Follower
from raie.serving.sources import AliasSource, pinned
from raie.workspace_file import ENVIRONMENT, backbone_file, find

if TYPE_CHECKING:
    from raie.engine.serving import Source

__all__ = ["open_described"]

_ALIAS, _INTERVAL = "RAIE_ALIAS", "RAIE_ALIAS_INTERVAL"


def open_described(described: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Source:
    """Where the snapshot of a described model comes from: RAIE_DATABASE_URL and RAIE_STORE, or the workspace here.

    Args:
        described: Its model, id and digest, as it was published.
        options: "alias" to follow one; None for RAIE_ALIAS, and without that for the described snapshot.

    Raises:
        WorkspaceError: There is no registry, or one whose snapshot differs from the description.
        Untrusted: The alias was moved by hand, no policy admitted the snapshot, or a signature is missing.
        UsageError: The interval is none.
        RegistryError, EngineError: The snapshot cannot be loaded.
    """
    alias = (options or {}).get("alias") or os.environ.get(_ALIAS)
    registry, file = _registry()
    if not alias:
        return pinned(registry, described["model"], described["id"], described["digest"], file)
    follower = Follower(
        AliasSource(lambda: registry, described["model"], str(alias), file), interval_s=_interval()
    )
    follower.load_first()
    follower.start()
    return follower


def _registry() -> tuple[Registry, Path | None]:
    """The registry that the environment or the nearest raie.toml names, and the file of a backbone."""
    database, store = (os.environ.get(ENVIRONMENT[key]) for key in ("database", "store"))
    if database and store:
        return Registry.open(database, store), backbone_file(Path.cwd())
    workspace = find()
    return workspace.registry(), workspace.backbone_file


def _interval() -> float:
    text = os.environ.get(_INTERVAL, str(POLL_S))
    try:
        interval_s = float(text)
    except ValueError:
        interval_s = 0.0
    if not 0.1 <= interval_s <= 86_400:
        raise UsageError(f"expected seconds from 0.1 to 86400 in {_INTERVAL}, found {text!r:.40}")
    return interval_s
