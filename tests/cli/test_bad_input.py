"""Whatever a command is given that it cannot use: one line, the documented code, and everything as it was."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.cli import trained
from tests.cli.conftest import Raie, Ran
from tests.cli.trained import FIRST, LOG, SETUP, refused
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
HEADER = "user_id,item_id,timestamp\n"
APPLY = ("--until", FIRST, "--workers", "1")

LOGS = {
    "missing column": ("user_id,timestamp\nu1,1715000000\n", "--item-column"),
    "timestamps that are no numbers": (f"{HEADER}u1,t0-core-00,soon\n", "'soon' in row 1"),
    "missing timestamp": (f"{HEADER}u1,t0-core-00,1715000000\nu1,t0-core-01,\n", "row 2"),
    "duplicate rows": (f"{HEADER}u1,t0-core-00,1715000000\nu1,t0-core-00,1715000000\n", "1 duplicate row"),
    "empty file": ("", "empty file"),
    "header alone": (HEADER, "no rows"),
    "missing file": (None, "found nothing"),
    "too few rows for a window": (f"{HEADER}u1,t0-core-00,1715000000\n", "expected windows"),
}


@pytest.mark.parametrize("case", LOGS)
@pytest.mark.parametrize(
    "command", [["edit", "plan"], ["edit", "apply"], ["evaluate"], ["setup"]], ids=lambda words: words[-1]
)
def test_a_log_that_cannot_be_used_changes_nothing(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], case: str
) -> None:
    content, words = LOGS[case]
    if content is not None:
        Path("new.csv").write_text(content, encoding="utf-8")
    before = trained.state(ready)
    if command == ["setup"]:
        monkeypatch.setenv("RAIE_MODEL", "another")
    strict = ["--fail-if-idle"] if command[0] == "edit" else []
    refused(raie(*command, "new.csv", *strict), 3, [words])
    assert trained.state(ready) == before
    assert raie("verify").code == 0
    if command == ["setup"]:
        # A setup that could not read its log never began. One whose log is too short is closed.
        begun = raie("edit", "list", "--json")
        assert begun.code == 1 or [edit["state"] for edit in begun.json["edits"]] == ["aborted"]


def test_an_edit_says_that_its_log_is_read_as_the_set_ups_was(raie: Raie, ready: Path) -> None:
    Path("new.csv").write_text(LOGS["duplicate rows"][0], encoding="utf-8")
    refused(raie("edit", "apply", "new.csv"), 3, ["options of its setup"])


ENGINES = {
    "unknown option": ("[engine]\nsead = 4", "'sead'"),
    "unknown nested option": ("[engine.gate]\npolcy = 'radius'", "'gate.polcy'"),
    "a number for a table": ("[engine]\nregions = 4", "must be a table"),
    "text for a number": ("[engine.backbone]\ndim = 'wide'", "backbone.dim"),
    "not a number": ("[engine.backbone]\nlearning_rate = nan", "finite"),
    "negative rate": ("[engine.edit]\nlearning_rate = -1.0", "edit.learning_rate"),
    "negative seed": ("[engine]\nseed = -1", "seed"),
    "heads that do not divide": ("[engine.backbone]\ndim = 16\nheads = 3", "multiple of backbone.heads"),
    "a gate that never expands": ("[engine.gate]\npolicy = 'paper'\nhigh = 0.9", "Expand impossible"),
    "radii that never expand": ("[engine.regions]\nmax_quantile = 0.5", "Expand impossible"),
    "windows longer than they are": ("[engine.windows]\nlength = 3\nmin_length = 4", "windows.min_length"),
    "a buffer below a region": ("[engine.gate]\nbuffer = 10\nmin_region = 20", "gate.buffer"),
    "no backbone of that kind": ("[engine.backbone]\nkind = 'gru'", "sasrec"),
}


@pytest.mark.parametrize("case", ENGINES)
def test_an_engine_that_contradicts_itself_is_named_before_anything_begins(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    table, words = ENGINES[case]
    before = trained.state(ready)
    (ready / "raie.toml").write_text(f"model = 'another'\n{table}\n", encoding="utf-8")
    refused(raie("setup", LOG, "--until", SETUP, "--regions", "3"), 2, [words])
    assert trained.state(ready) == before


def test_a_training_that_diverges_is_one_line_and_closes_the_set_up(raie: Raie, ready: Path) -> None:
    (ready / "raie.toml").write_text(
        "model = 'another'\n[engine.backbone]\ndim = 16\nheads = 1\nlearning_rate = 1e30\n", encoding="utf-8"
    )
    refused(raie("setup", LOG, "--until", SETUP, "--regions", "3"), 3, ["finite", "learning rate"])
    assert [edit["state"] for edit in raie("edit", "list", "--json").json["edits"]] == ["aborted"]
    assert raie("verify").code == 0


REQUESTS = {
    "unknown item": (["recommend", "--items", "t0-core-00,nothing"], 3, "item 'nothing'"),
    "empty item": (["recommend", "--items", "t0-core-00,,t0-core-01"], 3, "item ''"),
    "unknown user": (["recommend", LOG, "--user", "nobody"], 3, "none of 'nobody'"),
    "user without a log": (["recommend", "--user", "u00001"], 2, "LOG with --user"),
    "log without a user": (["recommend", LOG], 2, "LOG with --user"),
    "log and items": (["recommend", LOG, "--user", "u00001", "--items", "t0-core-00"], 2, "or --items"),
    "unknown snapshot": (["recommend", "--items", "t0-core-00", "--ref", "staging"], 1, "'staging'"),
    "time that is none": (["edit", "plan", LOG, "--until", "yesterday"], 3, "'yesterday'"),
    "time before the watermark": (
        ["edit", "apply", LOG, "--fail-if-idle", "--until", "2024-02-01"],
        3,
        "after the watermark",
    ),
    "nothing to measure": (["evaluate", LOG, "--until", SETUP], 3, "after the snapshot's watermark"),
    "strategies of a setup": (["evaluate", LOG, "--strategies"], 2, "--ref"),
    "second setup": (["setup", LOG], 4, "found head"),
    "edit that is committed": (["edit", "resume", "1"], 4, "found it committed"),
    "edit that never was": (["edit", "resume", "7"], 1, "raie edit list"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_that_cannot_be_met_is_one_line_with_its_code(raie: Raie, ready: Path, case: str) -> None:
    arguments, code, words = REQUESTS[case]
    before = trained.state(ready)
    refused(raie(*arguments), code, [words])
    assert trained.state(ready) == before


@pytest.mark.parametrize("command", [["edit", "plan", LOG], ["setup", LOG]], ids=["plan", "setup"])
@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_no_generator_takes_is_wrong_usage(
    raie: Raie, ready: Path, command: list[str], seed: str
) -> None:
    assert raie(*command, "--seed", seed).code == 2


def test_an_edit_before_the_set_up_says_what_comes_first(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_MODEL", "another")
    refused(raie("edit", "plan", LOG), 2, ["raie setup"])
    refused(raie("edit", "apply", LOG), 2, ["raie setup"])
    refused(raie("recommend", "--items", "t0-core-00"), 1, ["raie setup"])


def test_a_database_of_another_revision_is_refused_by_every_command(raie: Raie, ready: Path) -> None:
    with trained.opened(ready).engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for command in (["log"], ["edit", "plan", LOG], ["recommend", "--items", "t0-core-00"], ["verify"]):
        refused(raie(*command), 1, ["9999", "install the raie that wrote it"])
    refused(raie("db", "upgrade"), 1, ["9999", "install a newer raie"])


COMMANDS = [
    ["edit", "plan", LOG],
    ["edit", "apply", LOG, *APPLY],
    ["recommend", "--items", "t0-core-00"],
    ["verify"],
]


def test_a_store_that_refuses_is_one_line_and_the_edit_has_not_begun(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch, s3_server: dict[str, str]
) -> None:
    before = trained.state(ready)
    for name, value in {**s3_server, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAIE_STORE", "s3://models/gone")
    for command in COMMANDS:
        refused(raie(*command), 6, ["s3://models/gone"])
    monkeypatch.delenv("RAIE_STORE")
    assert trained.state(ready) == before
    assert raie("verify").code == 0


def test_a_database_that_refuses_is_one_line_without_its_password(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", f"postgresql://ada:s3cret@127.0.0.1:{free_port()}/raie")
    for command in COMMANDS:
        ran = raie(*command)
        refused(ran, 6, ["127.0.0.1"])
        assert "s3cret" not in ran.err


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond a size in bytes: a disk that is full for whatever is larger, without being root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def assert_whole_and_resumable(raie: Raie, folder: Path, base: str, whole: str) -> None:
    """The head has not moved, and the edit, resumed where it had begun, comes to its snapshot."""
    # By force, because its process, this one, still runs.
    assert trained.head_of(folder) == base
    begun = len(raie("edit", "list", "--json").json["edits"]) == 2
    again = ["edit", "resume", "2", "--force", "--workers", "1"] if begun else ["edit", "apply", LOG, *APPLY]
    assert raie(*again).code == 0
    assert trained.head_of(folder) == whole


@pytest.mark.parametrize(
    "kibibytes", [pytest.param(1, marks=pytest.mark.slow), 48, pytest.param(96, marks=pytest.mark.slow)]
)
def test_a_file_that_may_not_grow_is_one_line_and_the_edit_resumes(
    raie: Raie, ready: Path, whole: str, kibibytes: int
) -> None:
    base = trained.head_of(ready)
    with files_of_at_most(kibibytes * 1024):
        ran = raie("edit", "apply", LOG, *APPLY)
    refused(ran, 6)
    assert_whole_and_resumable(raie, ready, base, whole)


FULL_DISK = """
import contextlib, io, json, os, shutil, sys
from pathlib import Path
from raie.cli import main
from tests.cli import trained

source, disk = Path(sys.argv[1]), Path(sys.argv[2])
for kibibytes in map(int, sys.argv[3:]):
    folder = shutil.copytree(source, disk / str(kibibytes))
    command = ["edit", "apply", str(folder / trained.LOG), "--until", trained.FIRST, "--workers", "1"]
    size = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(size.f_bavail * size.f_frsize - kibibytes * 1024))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.run(["--workspace", str(folder), *command])
    (disk / "ballast").unlink()
    result = {"code": code, "out": out.getvalue(), "err": err.getvalue(), "head": trained.head_of(folder)}
    again = ["edit", "resume", "2", "--force", "--workers", "1"]
    with contextlib.redirect_stdout(out):
        trained.command(folder, *(again if len(trained.opened(folder).edits(trained.MODEL)) == 2 else command))
    print(json.dumps(result | {"resumed": trained.head_of(folder)}))
    shutil.rmtree(folder)
"""


def test_a_full_disk_is_one_line_at_every_step_and_the_edit_resumes(
    trained_folder: Path, whole: str, tmp_path: Path
) -> None:
    # A disk of its own, in a name space of its own: it is gone with the process, however that ends.
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=8m tmpfs "{disk}"'
    if (
        shutil.which("unshare") is None
        or subprocess.run([*own, "sh", "-c", mount], capture_output=True).returncode
    ):
        pytest.skip("this machine lets nobody mount a small disk; a limit on files stands for it above")
    # Too little for the database, for a blob, for a checkpoint, and for the commit.
    free = ["0", "240", "600", "1040"]
    run = [sys.executable, "-c", FULL_DISK, str(trained_folder), str(disk), *free]
    ran = subprocess.run(
        [*own, "sh", "-c", f'{mount} && exec "$@"', "sh", *run],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(results) == len(free), ran.stderr
    for result in results:
        refused(Ran(result["code"], result["out"], result["err"]), 6)
        assert result["head"] == trained.head_of(trained_folder)
        assert result["resumed"] == whole
    assert any("safetensors: No space left" in result["err"] for result in results), (
        "no checkpoint met the full disk"
    )


@pytest.fixture
def readable(trained_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the trained workspace for a user who is not root, and whom file modes therefore bind."""
    top = Path(tempfile.mkdtemp(prefix="raie-readable-"))
    folder = shutil.copytree(trained_folder, top / "workspace")
    root = os.geteuid() == 0
    for path in (top, folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        if root:
            os.chown(path, NOBODY, NOBODY)
    monkeypatch.chdir(folder)
    try:
        if root:
            os.seteuid(NOBODY)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(top)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nothing below the folder can be written or made."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755)


@pytest.mark.parametrize(
    ("part", "code", "words"),
    [
        pytest.param(".", 6, "a file that may be written", marks=pytest.mark.slow),
        (".raie/blobs", 6, "permissions"),
        pytest.param(".raie/work", 1, "Permission denied", marks=pytest.mark.slow),
    ],
)
def test_a_folder_that_is_read_only_is_one_line_and_the_edit_goes_on_when_it_is_not(
    raie: Raie, readable: Path, whole: str, part: str, code: int, words: str
) -> None:
    (readable / ".raie" / "work").mkdir(exist_ok=True)
    base = trained.head_of(readable)
    with locked(readable / part):
        refused(raie("edit", "apply", LOG, *APPLY), code, [words])
    assert_whole_and_resumable(raie, readable, base, whole)


def test_no_workspace_and_no_log_can_be_made_where_nothing_can_be_written(raie: Raie, readable: Path) -> None:
    new = readable / "new"
    new.mkdir()
    with locked(new):
        refused(raie("--workspace", str(new), "init"), 1, ["Permission denied"])
        refused(raie("data", "synth", str(new / "log.csv")), 1, ["Permission denied"])
    assert list(new.iterdir()) == []


def test_a_log_that_nobody_may_read_is_like_one_that_is_not_there(raie: Raie, readable: Path) -> None:
    for number, command in enumerate((["data", "describe"], ["edit", "plan"], ["evaluate"], ["drift"])):
        (readable / LOG).chmod(0o000)
        refused(raie(*command, LOG), 3, [LOG, "Permission denied"])
        (readable / LOG).chmod(0o644)
        refused(raie(*command, f"{number}.csv"), 3, [f"{number}.csv", "found nothing"])
    hidden = readable / "hidden"
    hidden.mkdir(mode=0o000)
    refused(raie("data", "describe", str(hidden / LOG)), 3, [str(hidden / LOG)])
