"""What the site does differently from the pages as a repository shows them: MkDocs calls these while it builds."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["on_page_markdown"]

_FILE_OF_THE_REPOSITORY = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+(?:registry|raie|raie_engine|cli|tests|migrations)/[^)]+\)"
)
_MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into their text, and the database's Mermaid into drawings.

    Args:
        markdown: The text of a page.
        page: The page, as MkDocs knows it.

    Returns:
        The text that becomes the page of the site, which has no such file and loads no script.
    """
    if page.file.src_uri == "database.md":
        drawings = iter(_database_picture().drawings())
        markdown = _MERMAID.sub(lambda _: next(drawings), markdown)
    return _FILE_OF_THE_REPOSITORY.sub(r"\1", markdown)


def _database_picture() -> ModuleType:
    """The module beside this one: MkDocs runs hooks by their path, from any folder."""
    path = Path(__file__).with_name("database_picture.py")
    spec = importlib.util.spec_from_file_location("database_picture", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules["database_picture"] = module
    spec.loader.exec_module(module)
    return module
