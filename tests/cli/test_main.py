"""The error edge: every failure is one line and a documented code."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from raie.cli import main
from raie.cli.errors import Refused, exit_code
from raie.engine import errors as engine
from raie.errors import UsageError, WorkspaceError
from raie.registry import errors as registry
from tests.cli.conftest import Raie
from tests.conftest import ordinary_signals

PYTHON = [sys.executable, "-W", "error", "-m", "raie.cli.main"]
ROOT = Path(__file__).resolve().parents[2]

CODES = [
    (Refused("no"), 1),
    (WorkspaceError("no raie.toml"), 1),
    (UsageError("both"), 2),
    (engine.ConfigError("unknown option"), 2),
    (engine.InputError("no such column"), 3),
    (engine.UnknownItem("item 9"), 3),
    (engine.NotFinite("NaN"), 3),
    (engine.NothingToEdit("no new rows"), 3),
    (engine.WrongBackbone("another"), 5),
    (engine.DamagedArtifact("cut off"), 5),
    (engine.WorkerLost("killed"), 1),
    (registry.NotFound("no such edit"), 1),
    (registry.SchemaMismatch("revision 2"), 1),
    (registry.InvalidValue("a name"), 2),
    (registry.CommitConflict("moved", "a", "b"), 4),
    (registry.RollbackConflict("later edits", [3]), 4),
    (registry.AliasConflict("moved", None, "b"), 4),
    (registry.IncompatibleRegions("another space"), 4),
    (registry.LeaseLost("taken"), 4),
    (registry.EditStateError("committed"), 4),
    (registry.BlobMissing("gone", "ab"), 5),
    (registry.BlobCorrupt("rotten", "ab"), 5),
    (registry.DatabaseUnreachable("refused"), 6),
    (registry.DatabaseFull("full"), 6),
    (registry.StoreUnreachable("refused"), 6),
    (registry.StoreFull("full"), 6),
    (registry.CommitStateUnknown("lost"), 6),
    (registry.MlflowUnreachable("refused"), 6),
    (registry.ArchiveDamaged("cut off"), 5),
    (OSError(errno.ENOSPC, "No space left on device"), 6),
    (OSError(errno.EROFS, "Read-only file system"), 6),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "log.csv"), 1),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: type(value).__name__)
def test_every_error_is_one_line_and_its_documented_code(
    raie: Raie, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    _fails_with(monkeypatch, error)
    ran = raie("log")
    assert ran.code == code
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert ran.out == ""


def test_every_error_that_the_libraries_raise_has_a_code() -> None:
    trees = {**vars(engine), **vars(registry)}
    kinds = [kind for kind in trees.values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [kind for kind in kinds if exit_code(kind.__new__(kind)) is None] == []


def _fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(main.raie, "get_command", lambda ctx, name: fails)


def test_a_message_of_several_lines_is_still_one_line(raie: Raie, monkeypatch: pytest.MonkeyPatch) -> None:
    _fails_with(monkeypatch, Refused("first\n  second"))
    assert raie("log").err == "error: first second\n"


def test_a_file_that_is_not_there_is_named_without_an_error_number(
    raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fails_with(monkeypatch, FileNotFoundError(errno.ENOENT, "No such file or directory", "log.csv"))
    assert raie("log").err == "error: log.csv: No such file or directory\n"


def test_a_bug_of_ours_says_so_and_shows_its_place_only_when_asked(
    raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fails_with(monkeypatch, KeyError("lora"))
    ran = raie("log")
    assert ran.code == 1
    assert re.fullmatch(r"error: unexpected KeyError: 'lora': this is a bug; .*\n", ran.err)
    monkeypatch.setenv("RAIE_DEBUG", "1")
    assert "Traceback" in raie("log").err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort(), EOFError()], ids=repr)
def test_an_interrupted_command_ends_with_130(
    raie: Raie, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    _fails_with(monkeypatch, error)
    ran = raie("log")
    assert ran.code == 130
    assert ran.err.strip() == "error: interrupted"


@pytest.mark.parametrize("arguments", [["nonsense"], ["log", "--nonsense"], ["edit", "show"], []])
def test_wrong_usage_ends_with_2(raie: Raie, arguments: list[str]) -> None:
    assert raie(*arguments).code == 2


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("undo", "use `raie rollback`"),
        ("revert", "use `raie rollback`"),
        ("deploy", "use `raie promote`"),
        ("rollout", "use `raie promote`"),
        ("history", "use `raie log`"),
        ("info", "use `raie show`"),
        ("promot", "did you mean promote?"),
        ("zzzz", "`raie --help` lists them"),
    ],
)
def test_a_word_that_is_no_command_leads_to_the_one_that_is(raie: Raie, typed: str, hint: str) -> None:
    ran = raie(typed, "--to", "x")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: raie has no command {typed!r}; {hint}\n"


def test_a_mistyped_word_of_a_group_leads_to_its_command(raie: Raie) -> None:
    ran = raie("edit", "aply", "log.csv")
    assert (ran.code, ran.err) == (2, "error: raie edit has no command 'aply'; did you mean apply?\n")


def test_without_a_workspace_a_command_says_how_to_make_one(raie: Raie) -> None:
    ran = raie("log")
    assert ran.code == 1
    assert "raie init" in ran.err


def test_the_help_documents_every_exit_code(raie: Raie) -> None:
    shown = raie("--help").out
    assert [code for code in (0, 1, 2, 3, 4, 5, 6, 130, 143) if not re.search(rf"\b{code}\b", shown)] == []


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{' '.join(PYTHON)} --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    slow = f"set -o pipefail; {' '.join(PYTHON)} --help | true"
    for line in (command, slow):
        ran = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, "")


SLEEPS = """
import sys, time, click
from raie.cli import main

@click.command()
def waits():
    try:
        print("up", flush=True)
        time.sleep(30)
    finally:
        print("left in order", flush=True)

main.raie.get_command = lambda context, name: waits
main.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_in_order_with_one_line(number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPS, "log"], cwd=ROOT, stdout=-1, stderr=-1, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err.count("error: ")) == (code, "left in order\n", 1)
    assert err.strip().startswith("error: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_on_purpose_ends_no_command(number: signal.Signals) -> None:
    code = f"import signal; signal.signal({int(number)}, signal.SIG_IGN)\n{SLEEPS}"
    with subprocess.Popen(
        [sys.executable, "-c", code, "log"], cwd=ROOT, stdout=-1, stderr=-1, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.kill()


def test_signals_that_the_tests_inherit_as_ignored_are_not_inherited_by_what_they_start() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ordinary_signals():
            shown = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
            ran = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert ran.stdout == "False\n"


def test_the_shell_completes_commands() -> None:
    environment = os.environ | {"_RAIE_COMPLETE": "bash_complete", "COMP_WORDS": "raie al", "COMP_CWORD": "1"}
    ran = subprocess.run(PYTHON, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert "alias" in ran.stdout
