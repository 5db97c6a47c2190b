"""Which executor runs a command, and what is said where it cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raie.errors import MissingExtra, UsageError
from raie.workspace_file import find
from tests.cli import trained
from tests.cli.conftest import Raie, Ran
from tests.cli.executors.ray_here import NOT_INSTALLED, ray_environment
from tests.cli.trained import FIRST, LOG, refused

APPLY = ("edit", "apply", LOG, "--until", FIRST, "--executor", "ray")
PATIENCE_S = 120.0


def test_without_the_extra_one_line_says_how_to_install_it(
    ready: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    before = trained.state(ready)
    refused(raie(*APPLY), 1, ["expected ray", "pip install 'raie[ray]'"])
    assert trained.state(ready) == before


def test_the_option_comes_before_the_environment_and_that_before_the_file(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find(ready).executor == "local"
    text = (ready / "raie.toml").read_text(encoding="utf-8")
    (ready / "raie.toml").write_text(f'executor = "ray"\n{text}', encoding="utf-8")
    assert find(ready).executor == "ray"
    monkeypatch.setenv("RAIE_EXECUTOR", "cloud")
    with pytest.raises(UsageError, match="local, ray, found 'cloud': choose one with --executor"):
        find(ready).edit(LOG, until=FIRST)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra):
        find(ready).edit(LOG, until=FIRST, executor="ray")


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_one_line_and_begins_no_edit(ready: Path) -> None:
    pytest.importorskip("ray", reason=NOT_INSTALLED)
    before = trained.state(ready)
    with ray_environment():
        ran = subprocess.run(
            [sys.executable, "-m", "raie.cli.main", "--workspace", str(ready), *APPLY],
            cwd=ready,
            env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    refused(Ran(ran.returncode, ran.stdout, ran.stderr), 6, ["expected a Ray cluster at RAY_ADDRESS 127.0.0.1:1"])
    assert trained.state(ready) == before
