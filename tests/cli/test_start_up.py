"""What a command costs before it does anything: none that only looks or points imports torch or mlflow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "mlflow", "boto3", "botocore", "transformers", "peft", "pandas", "pyarrow", "alembic", "numpy"}
REPORT = """
import json, sys
from cli import main
code = main.run(sys.argv[1:])
print(json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}), file=sys.stderr)
"""
COMMANDS = [
    ["--help"],
    ["edit", "--help"],
    ["log"],
    ["log", "--json"],
    ["edit", "list"],
    ["edit", "show", "3"],
    ["lineage"],
    ["regions", "list"],
    ["alias", "list"],
    ["promote", "head"],
    ["promote", "--region", "0", "--version", "1"],
    ["rollback", "5"],
    ["rollback", "--to", "edit:2"],
    ["mlflow", "status"],
    ["mlflow", "sync", "--help"],
    ["setup", "--help"],
    ["edit", "apply", "--help"],
    ["data", "describe", "--help"],
    ["demo", "--help"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_light_command_imports_no_heavy_library_and_ends_within_a_second(
    workspace: Workspace, command: list[str]
) -> None:
    arguments = [sys.executable, "-c", REPORT, "--workspace", str(workspace.folder), *command]
    took = []
    for _ in range(3):
        started = time.perf_counter()
        ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
        took.append(time.perf_counter() - started)
        report = json.loads(ran.stderr.splitlines()[-1])
        assert report["code"] == 0
        assert HEAVY & set(report["modules"]) == set()
        # Measured at 0.2 to 0.5 s. Another test may hold the processor, so only three slow runs in a row count.
        if took[-1] < 1:
            return
    pytest.fail(f"expected less than 1 s, found {took}")
