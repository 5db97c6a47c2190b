"""The wheel, the source distribution, and the base of the wheel in a fresh environment; sizes are printed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from raie.cli.errors import ATTENTION, OK
from raie.migrations import upgrade
from raie.workspace_file import draft, find
from tests.cli import history
from tests.packaging.conftest import ROOT, Installed

PACKAGING = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def packages() -> dict[str, str]:
    """Every folder with Python in it that is to be installed -> the name under which it is."""
    seen = {}
    for name, top in PACKAGING["package-dir"].items():
        for file in (ROOT / top).rglob("*.py"):
            parts = file.parent.relative_to(ROOT / top).parts
            seen[file.parent.relative_to(ROOT).as_posix()] = ".".join((name, *parts))
    return seen


def test_every_folder_of_modules_is_packaged() -> None:
    assert sorted(packages().values()) == sorted(PACKAGING["packages"])


def content(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel, without the list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_that_of_the_source_distribution_is_the_same(
    sources: Path, wheel: Path, tmp_path: Path
) -> None:
    names = set(content(wheel))
    for folder, name in packages().items():
        modules = {f"{name.replace('.', '/')}/{file.name}" for file in (ROOT / folder).glob("*.py")}
        assert modules <= names
    assert {"raie/py.typed", "raie/migrations/script.py.mako"} <= names
    assert {name.partition("/")[0] for name in names} == {
        "raie",
        next(n for n in names if "dist-info" in n).split("/")[0],
    }
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, sources]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert len(list(tmp_path.glob("*.tar.gz"))) == 1
    (rebuilt,) = tmp_path.glob("*.whl")
    assert content(rebuilt) == content(wheel)


@pytest.mark.slow
def test_the_base_of_the_wheel_works_on_a_workspace_made_elsewhere_without_torch(
    wheel: Path, tmp_path: Path
) -> None:
    fresh = Installed(tmp_path / "fresh")
    subprocess.run([sys.executable, "-m", "venv", fresh.folder], check=True, timeout=120)
    install = [fresh.python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    before = megabytes(fresh.folder)
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    print(f"\nraie without extras: {megabytes(fresh.folder) - before:.0f} MB")
    for module in ("torch", "numpy", "mlflow", "boto3", "psycopg"):
        assert subprocess.run([fresh.python, "-c", f"import {module}"], capture_output=True).returncode == 1
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "raie.toml").write_text(draft(None, None, None), encoding="utf-8")
    upgrade(find(folder).database)
    history.make(find(folder).registry())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAIE_")}
    environment.pop("PYTHONPATH", None)
    for line in ("log", "promote head", "rollback 5", "verify", "status", "rollback --to edit:2 --yes", "verify"):
        done = subprocess.run(
            [fresh.raie, *line.split()], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
        # Aliases of this history serve edits that were taken back, which the status says.
        assert done.returncode == (ATTENTION if line == "status" else OK), (line, done.stderr)


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20
