"""A strict project of a user's own type-checks against the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from __future__ import annotations

import raie


def nightly(log: str) -> str | None:
    workspace = raie.open("shop")
    result = workspace.edit(log, until="2024-05-30", reason="nightly", workers=2)
    if result is None:
        return None
    workspace.promote(f"edit:{result.number}", reason="better")
    for entry in workspace.history(limit=3).entries:
        print(entry.id, entry.edit)
    rollback = workspace.rollback(result.number, reason="bad data")
    frame = workspace["production"].recommend({"ada": ["a", "b"]}, k=5)
    print(len(frame), rollback.changed, raie.__version__)
    return result.id
"""
WRONG = {
    'raie.open("shop").edit(7)': "arg-type",
    'raie.open("shop").rollback("2")': "arg-type",
    'raie.open("shop").edit("log.csv").id': "union-attr",
    "raie.opened()": "attr-defined",
}


@pytest.mark.slow
def test_a_strict_project_type_checks_and_its_mistakes_are_found(tmp_path: Path) -> None:
    # The package as it is installed, without the finder of an editable install, which mypy does not follow.
    package = tmp_path / "installed" / "raie"
    package.mkdir(parents=True)
    for path in (ROOT / "raie").iterdir():
        (package / path.name).symlink_to(path)
    for name, folder in (
        ("registry", "registry"),
        ("engine", "raie_engine"),
        ("migrations", "migrations"),
        ("cli", "cli"),
    ):
        (package / name).symlink_to(ROOT / folder)
    (tmp_path / "nightly.py").write_text(SCRIPT)
    wrong = "".join(f"{line}\n" for line in WRONG)
    (tmp_path / "wrong.py").write_text(f"import raie\n\n{wrong}")
    right = _mypy(tmp_path, "nightly.py")
    assert right.returncode == 0, right.stdout
    mistaken = _mypy(tmp_path, "wrong.py")
    assert [line.rpartition("[")[2].rstrip("]") for line in mistaken.stdout.splitlines()[:-1]] == list(
        WRONG.values()
    )


def _mypy(folder: Path, file: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", file]
    environment = {**os.environ, "MYPYPATH": str(folder / "installed")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
