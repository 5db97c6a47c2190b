"""What a command costs before it does anything: none that only looks or points imports torch or mlflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raie.cli.errors import ATTENTION, OK
from raie.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "cryptography",
    "torch",
    "mlflow",
    "boto3",
    "botocore",
    "transformers",
    "peft",
    "pandas",
    "pyarrow",
    "alembic",
    "numpy",
    "jinja2",
    "fastapi",
    "pydantic",
    "uvicorn",
    "rich.console",  # bars, and tables that a terminal is too narrow for
    "sqlalchemy.dialects.postgresql",  # of a workspace whose database is SQLite
}
RENDERED = (
    ["edit", "list"],
    ["edit", "show", "3"],
    ["show"],
    ["diff", "production", "head"],
    ["regions", "list"],
    ["alias", "list"],
    ["keys", "list"],
)
"""Commands that print a table, and measure its cells with rich; keys list has no key."""
REPORT = """
import json, sys, time
from raie.cli import main
code = main.run(sys.argv[1:])
parts = {"rich.console", "sqlalchemy.dialects.postgresql"}
modules = sorted({name.partition(".")[0] for name in sys.modules} | parts & set(sys.modules))
print(json.dumps({"code": code, "modules": modules, "seconds": time.process_time()}), file=sys.stderr)
"""
COMMANDS = [
    ["--help"],
    ["edit", "--help"],
    ["log"],
    ["log", "--json"],
    ["edit", "list"],
    ["edit", "show", "3"],
    ["show"],
    ["diff", "production", "head"],
    ["lineage"],
    ["regions", "list"],
    ["alias", "list"],
    ["promote", "head"],
    ["promote", "--region", "0", "--version", "1"],
    ["promote", "head", "--dry-run"],
    ["policy", "set", "production", "--retention", "-0.1"],
    ["policy", "show"],
    ["approve", "head", "--reason", "seen"],
    ["keys", "list"],
    ["status"],
    ["audit", "verify"],
    ["rollback", "5"],
    ["rollback", "--to", "edit:2"],
    ["mlflow", "status"],
    ["mlflow", "sync", "--help"],
    ["setup", "--help"],
    ["edit", "apply", "--help"],
    ["data", "describe", "--help"],
    ["serve", "--help"],
    ["demo", "--help"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_light_command_imports_no_heavy_library_and_costs_less_than_a_second(
    workspace: Workspace, command: list[str]
) -> None:
    arguments = [sys.executable, "-c", REPORT, "--workspace", str(workspace.folder), *command]
    ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    report = json.loads(ran.stderr.splitlines()[-1])
    # An alias of this history serves an edit that was taken back, which the status says.
    assert report["code"] == (ATTENTION if command == ["status"] else OK)
    assert HEAVY & set(report["modules"]) == set()
    assert command in RENDERED or "rich" not in report["modules"]
    # The processor's time, so that a test that runs beside this one does not count. Measured: 0.1 to 0.4 s.
    assert report["seconds"] < 1
