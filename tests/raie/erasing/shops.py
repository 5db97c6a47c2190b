"""A small shop with a user more, who is erased, and the same shop that never saw that user."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raie.engine.data.readers.timestamps import parse_time
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.new_workspace import create
from raie.workspace import Workspace

__all__ = ["CUTS", "EARLY_USER", "KEY", "LOG", "MODEL", "REASON", "USER", "WITHOUT", "make", "write_logs"]

USER, EARLY_USER = "visitor-4711", "u00001"
KEY, REASON, MODEL = b"a key of 16 byte", "request 17", "shop"
LOG, WITHOUT = "log.csv", "without.csv"
CONFIG = SyntheticConfig(users=60, core_items=12, fringe_items=6, new_items=4, unseen_items=2)
CUTS = ("2024-04-30T00:00:00Z", "2024-05-30T00:00:00Z", "2024-06-29T00:00:00Z")
"""Up to when the setup and each edit read the log."""
# Nothing is sampled: of fewer windows another sample would be taken.
ENGINE = {
    "backbone": {"dim": 8, "layers": 1, "heads": 1, "epochs": 1},
    "regions": {"regions": 3},
    "gate": {"min_windows": 12},
    "edit": {"shared_epochs": 1, "epochs": 1, "max_validation": 0},
}


def write_logs(folder: Path) -> None:
    """The log, and the log without the user, who comes in the last slice and after everybody else."""
    log = drifting_log(CONFIG)
    assert tuple(log.truth.cuts.values())[:3] == CUTS
    write_csv(log, folder / WITHOUT)
    head, *rows = csv.reader((folder / WITHOUT).read_text(encoding="utf-8").splitlines())
    rows = [row for row in rows if _is_kept(row)]
    mine = _visits(rows, *CUTS[1:])
    for name, kept in ((WITHOUT, rows), (LOG, sorted(rows + mine, key=lambda row: int(row[2])))):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *kept])


def _is_kept(row: Sequence[str]) -> bool:
    """The last slice holds one topic alone, so that its edit leaves a region untouched."""
    return int(row[2]) <= _seconds(CUTS[1]) or row[1].startswith("t3-")


def _seconds(time: str) -> int:
    seconds = parse_time(time)
    assert seconds is not None
    return seconds


def _visits(rows: Sequence[Sequence[str]], after: str, until: str) -> list[list[str]]:
    """Ten targets, nine before validation begins and one after, so that it begins at the same time without them; a first
    interaction is no target."""
    first, last = _seconds(after), _seconds(until)
    cut = int(np.quantile([int(row[2]) for row in rows if first < int(row[2]) <= last], 0.9))
    times = [*np.linspace(first + 3600, cut - 3600, 10, dtype=int), cut + (last - cut) // 2]
    known = sorted({row[1] for row in rows if int(row[2]) <= first})
    return [[USER, known[7 * number % len(known)], str(at)] for number, at in enumerate(times)]


def make(folder: Path, log: Path, slices: Sequence[str], without_users: Sequence[str] = ()) -> Workspace:
    """A workspace that was set up on the first slice of a log and edited on each later one."""
    folder.mkdir()
    workspace = create(folder, model=MODEL).workspace
    setup, *later = slices
    workspace.setup(log, until=setup, engine=ENGINE, without_users=without_users)
    for until in later:
        workspace.edit(log, until=until, reason="daily", accept="anyway")
    return workspace
