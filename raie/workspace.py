"""The workspace: where one model's history lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.errors import WorkspaceError
from raie.settings import Setting

if TYPE_CHECKING:
    from raie.registry import Registry

__all__ = ["FILE_NAME", "Workspace"]

FILE_NAME = "raie.toml"


@dataclass(frozen=True)
class Workspace:
    """Where one model's history lives.

    folder: absolute, holds raie.toml.  database: an SQLAlchemy URL, never printed because the environment's may
    carry a password.  store: a folder, file:// or s3:// URL.  engine: the [engine] table, not yet checked.
    backbone_file: the Python file of a user's backbone, if there is one.  runs_code: whether Python that raie.toml
    names may run.  settings: dotted name -> what was chosen and by whom; raie.workspace_file.all_settings adds the
    engine and the actor.
    """

    folder: Path
    model: str
    database: str = field(repr=False)
    store: str = field(repr=False)
    tracking_uri: str = field(repr=False)
    engine: Mapping[str, Any] = field(default_factory=dict)
    backbone_file: Path | None = None
    runs_code: bool = True
    settings: Mapping[str, Setting] = field(default_factory=dict, repr=False)

    def require_code(self) -> None:
        """Refuse to run what another user's raie.toml names.

        Raises:
            WorkspaceError: The raie.toml belongs to another user and names the Python file of a backbone.
        """
        backbone = self.engine.get("backbone")
        named = isinstance(backbone, Mapping) and backbone.get("kind") == "file"
        if named and not self.runs_code:
            raise WorkspaceError(
                f"expected the Python of a backbone in a workspace of your own, found that {self.folder / FILE_NAME} "
                "belongs to another user: read the file that backbone.path names, and copy the workspace to run it"
            )

    @property
    def work(self) -> Path:
        """The folder for what an edit computes before it is committed; it may be deleted when no edit runs."""
        return self.folder / ".raie" / "work"

    def registry(self) -> Registry:
        """Open the registry of this workspace.

        Raises: RegistryError when the database or the store cannot be reached, or is of another revision.
        """
        from raie.registry import Registry

        return Registry.open(self.database, self.store)
