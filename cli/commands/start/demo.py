"""`raie demo`: every step from a log to a rollback, as the commands a user would type."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import click

from raie.cli import errors
from raie.cli.ui.log_options import column_options, option_words
from raie.cli.ui.output import accent, faint, say
from raie.errors import RaieError
from raie.extras import require

__all__ = ["demo"]


class _Log(click.Path):
    """A log that is there; whether a pattern matches anything is for its reader to say."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        return Path(value) if set("*?[") & set(str(value)) else super().convert(value, param, ctx)


@click.command()
@click.argument("log", required=False, metavar="[LOG]", type=_Log(exists=True, path_type=Path))
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the new workspace.  [./demo, or the first free ./demo-N]",
)
@column_options
def demo(log: Path | None, folder: Path | None, **reading: str | bool | None) -> None:
    """Run every step, from a log to a rollback, in a new workspace.

    Without LOG it generates a drifting log whose ground truth is known. Every step is a command that you could type
    yourself. Each is printed before it runs.

    \b
    Examples:
      raie demo
      raie demo ratings.dat --folder movies
      raie demo games.csv --no-header --user-column 1 --item-column 2 --time-column 4
    """
    require("engine")
    if log is not None:
        from raie.logs.log_reading import require_log

        require_log(log)
    path = _fresh(folder)
    path.mkdir(parents=True, exist_ok=True)
    steps = _Steps(path)
    steps.run("init", "A workspace: an SQLite file and a folder of blobs.")
    slices = _synthetic(steps, path) if log is None else _given(log.resolve(), option_words(reading))
    _walk(steps, slices)
    if log is None:
        _say_agreement(path)
    _say_next(path)


def _fresh(folder: Path | None) -> Path:
    if folder is not None:
        if folder.exists() and any(folder.iterdir()):
            raise RaieError(f"expected an empty folder for the demo, found files in {folder}: name another one")
        return folder.resolve()
    names = (Path("demo" if number == 1 else f"demo-{number}") for number in count(1))
    return next(name for name in names if not name.exists()).resolve()


@dataclass(frozen=True)
class _Slices:
    """A log, how it is read, and where its setup and its two edits end."""

    log: str
    reading: str
    cuts: tuple[str, str, str]


@dataclass(frozen=True)
class _Steps:
    """Runs commands in one workspace, each printed first."""

    workspace: Path

    def run(self, line: str, about: str, *, allowed: tuple[int, ...] = ()) -> int:
        """Run one command line; its exit code is 0 or one of `allowed`.

        Raises: click's Exit with the code of a command that failed.
        """
        from raie.cli.main import run

        say(f"\n{accent('▸', 'green')} {about}")
        say(f"{faint('$')} {accent(f'raie {line}', 'cyan')}")
        code = run(["--workspace", str(self.workspace), *shlex.split(line)])
        if code != errors.OK and code not in allowed:
            raise click.exceptions.Exit(code)
        return code


def _synthetic(steps: _Steps, path: Path) -> _Slices:
    from raie.logs.describe import synthetic_log

    log = path / "log.csv"
    steps.run(f"data synth {shlex.quote(str(log))}", "A log whose preferences drift, with a known truth.")
    cuts = synthetic_log().truth.cuts
    return _Slices(shlex.quote(str(log)), "", (cuts["setup"], cuts["edit_1"], cuts["edit_2"]))


def _given(log: Path, options: Sequence[str]) -> _Slices:
    reading = " --duplicates drop" + (" --min-rating 4" if log.suffix == ".dat" else "")
    reading += "".join(f" {shlex.quote(option)}" for option in options)
    return _Slices(shlex.quote(str(log)), reading, ("0.5", "0.8", "0.9"))


def _walk(steps: _Steps, slices: _Slices) -> None:
    log, (first, second, third) = slices.log, slices.cuts
    cuts = " ".join(f"--cut {cut}" for cut in slices.cuts)
    steps.run(f"data describe {log}{slices.reading} {cuts}", "What is in it, and what will go wrong?")
    steps.run(f"setup {log}{slices.reading} --until {first}", "Train the backbone, freeze it, fit the regions.")
    steps.run("promote head --reason 'first model'", "Production serves it.")
    steps.run(f"edit plan {log} --until {second}", "New interactions came. What would an edit do?")
    steps.run(f"edit apply {log} --until {second} --reason 'first new slice'", "Do it.")
    steps.run(
        f"evaluate {log} --ref edit:2 --strategies",
        "Before and after, on windows that nobody trained on, beside one global LoRA of the same training samples.",
    )
    steps.run("promote edit:2 --reason 'better on new windows'", "It is better: promote it.")
    steps.run(f"edit apply {log} --until {third} --reason 'second new slice'", "A second edit.")
    steps.run(f"evaluate {log} --against edit:2", "How both do on what came after.")
    code = steps.run(
        "rollback 2 --reason 'first slice was bad data'",
        "The first edit was a mistake: undo it alone, the second one stays.",
        allowed=(errors.CONFLICT,),
    )
    if code == errors.CONFLICT:
        steps.run(
            "rollback 2 --cascade --yes --reason 'first slice was bad data'",
            "The second edit changed the same regions, so it goes too.",
        )
    steps.run("verify", "Is everything whole?")
    steps.run("log", "The history.")


def _say_agreement(path: Path) -> None:
    """How often the gate said what the synthetic log's truth says, edit by edit."""
    import raie
    from raie.evaluate import gate_agreement
    from raie.logs.describe import synthetic_log

    workspace, truth = raie.open(path), synthetic_log().truth
    for edit in (2, 3):
        share = gate_agreement(workspace, edit, truth)
        say(f"edit {edit}: the gate agrees with the truth on {share:.1%} of the windows")


def _say_next(path: Path) -> None:
    say(f"\nLook around in {path}:")
    for line, about in (
        ("raie log", "who changed what, when and why"),
        ("raie lineage", "where each region of the head came from"),
        ("raie edit show 2", "the impact report that is kept with the edit"),
        ("raie regions list", "the regions and their versions"),
        ("raie mlflow sync && raie mlflow ui", "the same history in MLflow"),
    ):
        say(f"  {accent(line.ljust(35), 'cyan')}  {about}")
