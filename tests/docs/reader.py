"""Somebody who types what the pages say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from raie.cli import main
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.workspace import FILE_NAME
from tests.docs.markdown import ROOT, Block, relative

__all__ = ["ENGINE", "Reader"]

# Small enough for a minute, large enough for edits of different regions.
LOG = SyntheticConfig(users=250)
ENGINE = """
[engine.backbone]
dim = 32
layers = 1
heads = 1
epochs = 6
learning_rate = 0.005

[engine.regions]
regions = 5

[engine.edit]
shared_epochs = 1
epochs = 1
max_validation = 100
"""


class Reader:
    """Types what the pages say, in a fresh folder, where servers of our own stand in for the reader's."""

    def __init__(self, patch: pytest.MonkeyPatch, stand_ins: dict[str, str]) -> None:
        self.patch = patch
        self.stand_ins = stand_ins

    def follow(self, block: Block) -> None:
        """Run the lines of one block; what it exports ends with it."""
        before = dict(os.environ)
        for line in block.lines:
            for said, meant in self.stand_ins.items():
                line = line.replace(said, meant)
            code = self.run(shlex.split(line))
            assert code == 0, f"{relative(block.page)}: `{line}` ended in {code}"
        for name in set(os.environ) - set(before):
            self.patch.delenv(name)

    def run(self, words: list[str]) -> int:
        """Run one command line; its exit code."""
        match words:
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                if value != "...":
                    self.patch.setenv(name, value)
                return 0
            case ["make", target, *_]:
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (
                    f"no target {target}"
                )
                return 0
            case ["mlflow", *rest]:
                return _known_to_mlflow(rest)
            case ["raie", *rest]:
                return self.raie(rest)
        raise AssertionError(f"this test does not know how to check {shlex.join(words)!r}")

    def raie(self, words: list[str]) -> int:
        """Run a raie command: in this process, with a small log, a small model and one worker."""
        if "mlflow" in words:
            # A process of its own: mlflow's import is heavy and warns.
            command = [sys.executable, "-m", "raie.cli.main", *words]
            return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120).returncode
        code = main.run([*words, "--workers", "1"] if "apply" in words else words)
        if "init" in words:
            spot = Path(words[1] if words[0] == "--workspace" else ".") / FILE_NAME
            spot.write_text(spot.read_text(encoding="utf-8") + ENGINE, encoding="utf-8")
        if words[:2] == ["data", "synth"]:
            write_csv(drifting_log(LOG), Path(words[2]))
        return code


def _known_to_mlflow(words: list[str]) -> int:
    """Check a command of MLflow's own against its help; a server would run for ever."""
    path = words[: next(spot for spot, term in enumerate(words) if term.startswith("--"))]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", *path, "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    unknown = [term for term in words if term.startswith("--") and term not in ran.stdout]
    assert unknown == [], f"mlflow {' '.join(path)} does not know {unknown}"
    return ran.returncode
