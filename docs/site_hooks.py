"""What the site does differently from the pages as a repository shows them: MkDocs calls these while it builds."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_markdown"]

_FILE_OF_THE_REPOSITORY = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:registry|raie|raie_engine|cli|tests|migrations)/[^)]+\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn a link to a file of the repository into its text: the site has no such file."""
    return _FILE_OF_THE_REPOSITORY.sub(r"\1", markdown)
