"""A small shop whose users are erased: its log with one user more, and what never saw that user."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raie.engine.data.readers.timestamps import parse_time
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.new_workspace import create
from raie.workspace import Workspace

USER, KEY, REASON = "visitor-4711", b"sixteen bytes...", "request 17"
CONFIG = SyntheticConfig(users=60, core_items=12, fringe_items=6, new_items=4, unseen_items=2)
ENGINE = {
    "backbone": {"dim": 8, "layers": 1, "heads": 1, "epochs": 1},
    "regions": {"regions": 3},
    "gate": {"min_windows": 12},
    "edit": {"shared_epochs": 1, "epochs": 1, "max_validation": 0},
}
"""Nothing is sampled: a sample that is drawn from fewer windows is another one."""


def cuts() -> list[str]:
    """Up to when the setup and two edits read the log."""
    return list(drifting_log(CONFIG).truth.cuts.values())[:3]


def write_logs(folder: Path) -> tuple[Path, Path]:
    """The log with and without the user, who comes after the setup and after everybody else."""
    log = drifting_log(CONFIG)
    without, with_user = folder / "without.csv", folder / "log.csv"
    write_csv(log, without)
    rows = list(csv.reader(without.open()))
    head, rows = rows[0], [row for row in rows[1:] if _is_kept(row)]
    with without.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    _, first, second = cuts()
    mine = _visits(rows, first, second)
    with with_user.open("w", newline="") as file:
        csv.writer(file).writerows([head, *sorted(rows + mine, key=lambda row: int(row[2]))])
    return with_user, without


def _is_kept(row: Sequence[str]) -> bool:
    """The last slice has the interactions of one topic alone, so that its edit leaves regions untouched."""
    last = parse_time(cuts()[1])
    assert last is not None
    return int(row[2]) <= last or row[1].startswith("t3-")


def _visits(rows: Sequence[Sequence[str]], after: str, until: str) -> list[list[str]]:
    """Ten targets of the user, nine before validation begins and one after, so that it begins at the same time without
    them; a first interaction is no target."""
    first, last = parse_time(after), parse_time(until)
    assert first is not None
    assert last is not None
    cut = int(np.quantile([int(row[2]) for row in rows if first < int(row[2]) <= last], 0.9))
    times = [*np.linspace(first + 3600, cut - 3600, 10, dtype=int), cut + (last - cut) // 2]
    known = sorted({row[1] for row in rows if int(row[2]) <= first})
    return [[USER, known[7 * number % len(known)], str(at)] for number, at in enumerate(times)]


def make(folder: Path, log: Path, edits: int = 2) -> Workspace:
    """A workspace that was set up and edited on a log."""
    folder.mkdir()
    workspace = create(folder, model="shop").workspace
    setup, *later = cuts()
    workspace.setup(log, until=setup, engine=ENGINE)
    for until in later[:edits]:
        workspace.edit(log, until=until, reason="daily")
    return workspace
