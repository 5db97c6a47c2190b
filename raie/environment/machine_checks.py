"""What raie needs of the machine: Python, packages, torch, room on the disks. Nothing is changed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from raie.extras import EXTRAS

__all__ = [
    "LEAST_PYTHON",
    "Check",
    "State",
    "disk_checks",
    "extra_checks",
    "package_checks",
    "python_check",
    "requirements",
    "torch_check",
]

LEAST_PYTHON = (3, 11)
_GIB = 1 << 30
_TIGHT = 2 * _GIB
_FULL = _GIB // 5
"""An edit of a small model writes a few hundred MiB."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?:>=([0-9.]+))?(?:; extra == [\"']([a-z0-9]+)[\"'])?")


class State(StrEnum):
    """What became of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: What is checked, in a word or two: never changes.
        text: What was found, in a line without secrets.
        advice: What to do; "" where nothing has to be done.
    """

    name: str
    state: State
    text: str
    advice: str = ""


def python_check() -> Check:
    """Whether this Python is new enough."""
    version, needed = platform.python_version(), ".".join(map(str, LEAST_PYTHON))
    shown = (
        f"Python {version}, raie {importlib.metadata.version('raie')}, {platform.system()} {platform.machine()}"
    )
    if sys.version_info >= LEAST_PYTHON:
        return Check("python", State.OK, shown)
    return Check("python", State.FAIL, shown, f"install Python {needed} or newer")


def requirements() -> Iterator[tuple[str, str, str]]:
    """Package, least version and extra of everything that raie says it needs; "" for no version, or no extra.

    Raises: ValueError for a requirement of another form, which this could not compare.
    """
    for line in importlib.metadata.requires("raie") or ():
        match = _REQUIREMENT.fullmatch(line.replace(" ;", ";"))
        if match is None:
            raise ValueError(f"expected a requirement such as numpy>=2.0, found {line!r}")
        yield match[1], match[2] or "", match[3] or ""


def package_checks() -> list[Check]:
    """Whether every package that is installed is new enough, and every one of the base is there."""
    wrong = []
    # What only the developers of raie need is not asked.
    for package, least, extra in (r for r in requirements() if not r[2] or r[2] in EXTRAS):
        version = _installed(package)
        if version is None and not extra:
            wrong.append(Check("packages", State.FAIL, f"{package} is not installed", "`pip install raie` again"))
        if version is not None and least and _numbers(version) < _numbers(least):
            mended = f"`pip install --upgrade '{package}>={least}'`"
            wrong.append(Check("packages", State.FAIL, f"{package} {version} is older than {least}", mended))
    # An extra may ask for a package that another one asks for too.
    unique = list(dict.fromkeys(wrong))
    return unique or [Check("packages", State.OK, "every installed package is new enough")]


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"[0-9.]*", version)[0].split(".") if part)  # type: ignore[index]


def extra_checks(needed: Mapping[str, str]) -> list[Check]:
    """Which extras are installed, and whether those are that a workspace needs.

    Args:
        needed: Extra -> what needs it.
    """
    from importlib.util import find_spec

    there = [extra for extra, modules in EXTRAS.items() if all(find_spec(module) for module in modules)]
    absent = [extra for extra in EXTRAS if extra not in there]
    lacking = [
        Check(
            "extras", State.FAIL, f"{extra} is not installed, and {why} needs it", f"`pip install 'raie[{extra}]'`"
        )
        for extra, why in needed.items()
        if extra in absent
    ]
    text = f"installed: {', '.join(there) or 'none'}" + (f"; not: {', '.join(absent)}" if absent else "")
    return lacking or [Check("extras", State.OK, text)]


def torch_check() -> Check:
    """Whether torch can be imported, on which device it trains, and with how many threads."""
    if _installed("torch") is None:
        return Check("torch", State.SKIPPED, "not installed; it comes with the extra engine")
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", State.FAIL, f"cannot be imported: {error}", "`pip install --force-reinstall torch`")
    # Not every system says on which of its cores a process may run.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    text = f"torch {torch.__version__}, {threads} thread{'s' * (threads != 1)} on {cores} cores, {device}"
    if threads > cores:
        return Check("torch", State.WARN, text, f"OMP_NUM_THREADS={cores}: more threads than cores train slower")
    return Check("torch", State.OK, text)


def disk_checks(folders: Mapping[str, Path]) -> list[Check]:
    """Whether there is room where raie writes; one check for each file system.

    Args:
        folders: What lies there -> a folder, which need not exist yet.
    """
    checks: dict[int, Check] = {}
    for what, folder in {**folders, "temporary files": Path(tempfile.gettempdir())}.items():
        there = next(part for part in (folder, *folder.parents) if part.exists())
        device = there.stat().st_dev
        if device not in checks:
            checks[device] = _disk(what, there)
    return list(_worst_first(checks.values()))


def _disk(what: str, folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free for {what} at {folder}"
    if free < _TIGHT:
        return Check(
            "disk",
            State.FAIL if free < _FULL else State.WARN,
            text,
            "make room; `raie gc` deletes what nothing needs",
        )
    return Check("disk", State.OK, text)


def _worst_first(checks: Iterable[Check]) -> list[Check]:
    order = (State.FAIL, State.WARN, State.OK, State.SKIPPED)
    return sorted(checks, key=lambda check: order.index(check.state))
