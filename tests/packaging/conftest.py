"""raie installed as a user installs it: into environments of their own, from a wheel or from the sources."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("raie", "registry", "raie_engine", "migrations", "cli", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Installed:
    """A virtual environment with raie in it."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def raie(self) -> Path:
        return self.folder / "bin" / "raie"


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged: a build leaves files beside its sources, which a later build would package."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        options = {"ignore": shutil.ignore_patterns("__pycache__")} if (ROOT / name).is_dir() else {}
        copy(ROOT / name, folder / name, **options)  # type: ignore[operator]
    return folder


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of these sources."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(sources))
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="session", params=["wheel", "editable"])
def installed(
    request: pytest.FixtureRequest, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """An environment with raie from a wheel or from the sources, and the libraries of this one."""
    made = Installed(tmp_path_factory.mktemp(f"installed-{request.param}"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made.folder], check=True, timeout=120)
    home = Path(sysconfig.get_path("purelib", vars={"base": str(made.folder), "platbase": str(made.folder)}))
    # Folders that a .pth names are searched, and the .pth files in them are not read: this raie is not found there.
    libraries = [path for path in sys.path if path.endswith("site-packages")] or site.getsitepackages()
    (home / "libraries.pth").write_text("".join(f"{path}\n" for path in libraries), encoding="utf-8")
    what = ["--editable", str(sources)] if request.param == "editable" else [str(request.getfixturevalue("wheel"))]
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    pip("--python", str(made.python), "install", *options, *what)
    return made


def pip(*arguments: str) -> None:
    """Run pip; fail with what it said."""
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
