"""Breaks a copy of the code in one way after the other, and shows which test finds it: `make mutants`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutants import MUTANTS, ROOT, Mutant

# Where each folder lies in the copy: one package, so that a process that the tests start imports the broken code too.
_COPIED = {
    "raie": "raie",
    "registry": "raie/registry",
    "raie_engine": "raie/engine",
    "migrations": "raie/migrations",
    "cli": "raie/cli",
    "tests": "tests",
    "pyproject.toml": "pyproject.toml",
}
_LIMIT_S = 900
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::\S.*?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """What the tests said: passed, the first one that failed, or in a line why they could not run."""

    passed: bool
    killer: str = ""
    trouble: str = ""


def main() -> int:
    """0 where every mutant is killed by a test that passes without it, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    wanted = [mutant for mutant in MUTANTS if parser.parse_args().only in mutant.name]
    sound: dict[tuple[str, ...], Ran] = {}
    alive = 0
    print(f"{'mutant':62}{'seconds':>8}  killed by", flush=True)
    for mutant in wanted:
        begun = time.monotonic()
        verdict = _verdict(mutant, sound)
        alive += not verdict.killer
        shown = verdict.killer or verdict.trouble or "NOBODY"
        print(f"{mutant.name:62}{time.monotonic() - begun:8.0f}  {shown}", flush=True)
    print(f"{len(wanted) - alive} of {len(wanted)} mutants are killed")
    return 1 if alive or not wanted else 0


def _verdict(mutant: Mutant, sound: dict[tuple[str, ...], Ran]) -> Ran:
    """sound: what the tests say of the code as it is, once for each choice of tests."""
    if mutant.tests not in sound:
        sound[mutant.tests] = _run(mutant.tests)
    if not sound[mutant.tests].passed:
        return Ran(False, trouble=f"FAILS WITHOUT IT: {sound[mutant.tests].killer or sound[mutant.tests].trouble}")
    return _run(mutant.tests, mutant)


def _run(tests: tuple[str, ...], mutant: Mutant | None = None) -> Ran:
    with tempfile.TemporaryDirectory(prefix="raie-mutant-") as folder:
        for name, target in _COPIED.items():
            _copy(ROOT / name, Path(folder, target))
            if name != target:
                Path(folder, name).symlink_to(target)
        if mutant is not None:
            try:
                mutant.apply_to(Path(folder))
            except ValueError as error:
                return Ran(False, trouble=f"DOES NOT APPLY: {error}")
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
        environment = os.environ | {"PYTHONPATH": folder}
        try:
            ran = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return Ran(False, trouble=f"NO END within {_LIMIT_S} s")
    failed = _FAILED.search(ran.stdout)
    if ran.returncode == 1 and failed:
        return Ran(False, killer=failed[1])
    if ran.returncode == 0:
        return Ran(True)
    return Ran(False, trouble=f"pytest ended with {ran.returncode}: {ran.stdout[-300:]}")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
