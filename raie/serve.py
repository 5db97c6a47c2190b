"""What MLflow serves: the snapshot that a model version names, opened from the registry the environment names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raie.engine.model import ModelView
from raie.errors import WorkspaceError
from raie.registry import Registry, trust
from raie.workspace_file import ENVIRONMENT, backbone_file, find

__all__ = ["open_described"]


def open_described(described: Mapping[str, Any]) -> ModelView:
    """The snapshot of this id, from the registry of RAIE_DATABASE_URL and RAIE_STORE or of the workspace here.

    Raises: WorkspaceError where there is no registry, or one whose snapshot differs from the description; Untrusted for
    a snapshot without a trusted signature where an alias of the model requires one; RegistryError.
    """
    database, store = (os.environ.get(ENVIRONMENT[key]) for key in ("database", "store"))
    if database and store:
        registry, file = Registry.open(database, store), backbone_file(Path.cwd())
    else:
        workspace = find()
        registry, file = workspace.registry(), workspace.backbone_file
    snapshot = trust.servable(registry, described["model"], described["id"])
    if snapshot.content.digest != described["digest"]:
        raise WorkspaceError(
            f"expected snapshot {snapshot.id[:12]} with content {described['digest'][:12]}, found "
            f"{snapshot.content.digest[:12]} in the registry: this MLflow model was changed after it was published"
        )
    return ModelView(snapshot.content, registry.get, file)
