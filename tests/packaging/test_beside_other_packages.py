"""raie beside a user's own packages `cli`, `registry` and `migrations`: neither takes the other's imports."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from tests.docs.markdown import ROOT, blocks
from tests.docs.reader import ENGINE
from tests.packaging.conftest import Installed

NAMES = ("cli", "registry", "migrations", "raie_engine")
WALK = """
import sys, raie
from raie.cli import main
for line in ("init", "status", "verify", "db upgrade", "audit verify", "registry show", "mlflow status", "gc --dry-run"):
    assert main.run(line.split()) == 0, line
assert not {"cli", "registry", "migrations", "raie_engine"} & set(sys.modules)
"""
SERVED = """
import mlflow, pandas, sys
assert "raie" not in sys.modules
mlflow.set_tracking_uri("sqlite:///.raie/mlflow.db")
model = mlflow.pyfunc.load_model("models:/recsys@production")
print(model.predict(pandas.DataFrame({"items": [["t2-core-23", "t2-core-14"]]}), params={"k": 3})["items"].tolist())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project, whose packages have our folders' names and break whoever imports them."""
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"raise RuntimeError('{name} of the user')\n", encoding="utf-8"
        )
    return tmp_path


def run(project: Path, *command: str | Path) -> str:
    """What a command printed, run in the project with its folder in front of everything else."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAIE_")}
    environment = ours | {"PYTHONPATH": ".", "RAIE_ACTOR": "ada", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_packages_of_our_folders_names_are_not_ours(project: Path) -> None:
    run(project, sys.executable, "-c", WALK)


@pytest.mark.slow
def test_every_command_of_the_tour_works_beside_them_from_a_wheel_and_from_the_sources(
    project: Path, installed: Installed
) -> None:
    where = run(project, installed.python, "-c", "import raie; print(raie.__file__)")
    assert Path(where.strip()).resolve() != Path(__file__).parents[2] / "raie" / "__init__.py"
    tour = [line for block in blocks(ROOT / "README.md", "console") for line in block.lines]
    assert len(tour) > 10
    for line in tour:
        words = shlex.split(line)
        assert words[0] == "raie", line
        run(project, installed.raie, *words[1:], *(["--workers", "1"] if "apply" in words else []))
        if words[1:] == ["init"]:
            with (project / "raie.toml").open("a", encoding="utf-8") as file:
                file.write(ENGINE)
        if words[1:3] == ["data", "synth"]:
            write_csv(drifting_log(SyntheticConfig(users=300)), project / words[3])
    run(project, installed.raie, "mlflow", "sync")
    assert run(project, installed.python, "-c", SERVED).count("'") >= 6
