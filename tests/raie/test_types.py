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
# Other people's libraries are left out: they take most of the time, and none stands in what a script calls.
CONFIG = """
[mypy]
strict = True
follow_imports = silent

[mypy-alembic.*,boto3.*,botocore.*,cryptography.*,matplotlib.*,mlflow.*,numpy.*,pandas.*,peft.*,psycopg.*,pyarrow.*,\
safetensors.*,sqlalchemy.*,torch.*,transformers.*]
follow_imports = skip
ignore_missing_imports = True
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
    (tmp_path / "mypy.ini").write_text(CONFIG)
    (tmp_path / "nightly.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text("import raie\n\n" + "".join(f"{line}\n" for line in WRONG))
    command = [sys.executable, "-m", "mypy", "nightly.py", "wrong.py"]
    environment = {**os.environ, "MYPYPATH": str(tmp_path / "installed")}
    checked = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    mistakes = checked.stdout.splitlines()[:-1]
    assert [line.partition(":")[0] for line in mistakes] == ["wrong.py"] * len(WRONG), checked.stdout
    assert [line.rpartition("[")[2].rstrip("]") for line in mistakes] == list(WRONG.values())
