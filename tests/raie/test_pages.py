"""What docs/api.md and the notebook show runs, in the order in which they show it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from raie.workspace import Workspace
from tests.raie.doc_pages import DOCS, cells, python_blocks, run


def test_the_page_on_the_api_runs_block_after_block(page: tuple[Path, dict[str, Any]]) -> None:
    folder, names = page
    assert (folder / "shop" / "raie.toml").is_file()
    kinds = [edit.kind for edit in names["shop"].edits()]
    assert kinds == ["rollback", "edit", "rollback", "edit", "edit", "setup"]


def test_the_script_sets_up_edits_promotes_and_rolls_back_in_fifteen_lines() -> None:
    script = python_blocks(DOCS / "api.md")[0]
    lines = [line for line in script.splitlines() if line.strip()]
    assert len(lines) <= 15
    assert [call for call in ("setup(", "edit(", "promote(", "rollback(") if call not in script] == []


def test_the_page_shows_every_call_of_a_workspace() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    internal = {"registry", "require_code", "sync"}
    calls = {name for name, value in vars(Workspace).items() if callable(value) and not name.startswith("_")}
    assert [name for name in sorted(calls - internal) if not re.search(rf"\b{name}\(", text)] == []


@pytest.mark.slow
def test_the_notebook_runs_cell_after_cell(tmp_path: Path) -> None:
    names = run(cells(DOCS / "quickstart.ipynb"), tmp_path)
    assert [edit.kind for edit in names["shop"].edits()] == ["rollback", "edit", "edit", "setup"]


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads((DOCS / "quickstart.ipynb").read_text(encoding="utf-8"))
    code = [block for block in notebook["cells"] if block["cell_type"] == "code"]
    assert [block["id"] for block in code if block["outputs"] or block["execution_count"]] == []
