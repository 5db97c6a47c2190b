"""The pages that show the Python API, run as a reader would: block after block, in one namespace and an empty folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["DOCS", "cells", "python_blocks", "run"]

DOCS = Path(__file__).resolve().parents[2] / "docs"


def python_blocks(page: Path) -> list[str]:
    """The Python blocks of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def cells(notebook: Path) -> list[str]:
    """The code cells of a notebook, in order."""
    parsed = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(block["source"]) for block in parsed["cells"] if block["cell_type"] == "code"]


def run(blocks: Iterable[str], folder: Path) -> dict[str, Any]:
    """Run blocks in a folder; the names that they leave."""
    namespace: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RAIE_ACTOR", "ada")
        for name in ("DATABASE_URL", "STORE", "MODEL", "WORKSPACE"):
            patch.delenv(f"RAIE_{name}", raising=False)
        for number, block in enumerate(blocks, start=1):
            exec(compile(block, f"block {number}", "exec"), namespace)
    return namespace
