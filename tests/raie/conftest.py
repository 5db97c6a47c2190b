"""The workspace of the command line's tests, used from Python, and one that the page on the Python API has made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import raie as api
from raie.workspace import Workspace
from tests.cli.conftest import _made, _somewhere_else, raie, registry, workspace
from tests.raie.doc_pages import DOCS, python_blocks, run

__all__ = ["_made", "_somewhere_else", "page", "raie", "registry", "shop", "workspace"]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder in which docs/api.md was run, block after block, and the names that it left."""
    folder = tmp_path_factory.mktemp("page")
    return folder, run(python_blocks(DOCS / "api.md"), folder)


@pytest.fixture
def shop(page: tuple[Path, dict[str, Any]], tmp_path: Path) -> Workspace:
    """A copy of the workspace that the page made, with its log beside it, in the current folder."""
    shutil.copytree(page[0], tmp_path, dirs_exist_ok=True)
    return api.open(tmp_path / "shop")
