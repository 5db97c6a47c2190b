"""What each extra brings: the base does without all of them, and a command that needs one says which to install."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from raie import extras
from raie.cli.errors import ATTENTION, OK
from raie.cli.reference import commands
from raie.errors import MissingExtra
from raie.migrations import upgrade
from raie.registry import Author
from raie.workspace_file import draft, find
from tests.cli import history

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("raie", "registry", "raie_engine", "migrations", "cli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

BASE = """\
log
log --json
status
lineage
alias list
alias history production
regions list
regions show 1
edit list
edit show 3
show edit:3
diff edit:3
edit diff edit:3
report -o report.html
report --markdown
edit abort 7 --reason stop --force --yes
note head "looks well"
tag head reviewed
promote head --reason "looks well"
promote --region 0 --version 1 --to staging
promote head --to canary --reason "a few users"
alias rename canary green --reason "a better name"
alias delete green --reason done
rollback 5 --reason "bad data"
rollback --to edit:2 --yes
policy set staging --retention -0.1 --reason review
policy show
policy history staging
approve head --reason seen
keys generate release.pem --unencrypted
keys trust release.pem.pub --name release
keys list
sign head --key release.pem
attest write head --key release.pem -o attested.json
attest verify attested.json
keys revoke release --reason rotated
snapshot export head moved.tar
snapshot import moved.tar
verify
audit log
audit verify
audit export audit.jsonl
audit report -o audit.html
audit report --markdown
backup saved --blobs
restore saved --to restored --yes
expire --keep-last 2 --dry-run
gc --dry-run
db current
db upgrade
registry show
models
config show
doctor
completion bash
mlflow status
events status
events send
"""
NEEDS = {
    "bom": "bom head -o bom.json\n",
    "engine": """\
data synth other.csv
data describe log.csv
setup log.csv
erase --prove 4711
edit plan log.csv
edit apply log.csv
edit resume 7
evaluate log.csv
drift log.csv
compare log.csv
recommend log.csv --user 1
report --users log.csv
regions list --describe
show --describe
adapter export head exported --region 1
adapter import exported --yes
serve
demo
""",
    "mlflow": "mlflow sync\nmlflow ui\naudit verify --mlflow\n",
    "postgres": "--workspace new init --database postgresql://ada@db.example.org/raie\n",
    "s3": "--workspace new init --store s3://models/raie\n",
}
# `policy check` ends in 1 where a check fails; two want an event that failed; the others change whose the store is, or
# want PostgreSQL.
ELSEWHERE = {"policy check", "events retry", "events skip"}
ELSEWHERE |= {"db grant", "registry fork", "registry move", "registry separate"}
# Its plugin is loaded by vLLM and by nothing else.
VLLM = "vllm"
EVENTS = '[events.lineage]\nformat = "openlineage"\nfile = "lineage.jsonl"\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace made by hand, in which an edit was left open, and a log."""
    top = tmp_path_factory.mktemp("packaging")
    folder = top / "made"
    for name in (folder, top / "new", folder / "restored"):
        name.mkdir()
    for name in (folder, folder / "restored"):
        (name / "raie.toml").write_text(draft(None, None, None) + EVENTS, encoding="utf-8")
    opened = find(folder)
    upgrade(opened.database)
    history.make(opened.registry())
    opened.registry().begin(history.MODEL, "edit", seed=1, author=Author("ada"))
    (folder / "log.csv").write_text("user_id,item_id,timestamp\n1,2,3\n", encoding="utf-8")
    return top


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that workspace."""
    for name in ("DATABASE_URL", "STORE", "MODEL", "WORKSPACE", "DEBUG"):
        monkeypatch.delenv(f"RAIE_{name}", raising=False)
    monkeypatch.setenv("RAIE_ACTOR", "ada")
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True) / "made"


def run(folder: Path, lines: list[str]) -> Iterator[tuple[str, int, str, str]]:
    """What became of each command line where no extra is installed: the line, its exit code, and both streams."""
    file = folder.parent / "commands.json"
    file.write_text(json.dumps([shlex.split(line) for line in lines]), encoding="utf-8")
    script = Path(__file__).with_name("without_extras.py")
    command = [sys.executable, "-P", script, file]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=True)
    for line, (code, out, err) in zip(lines, json.loads(done.stdout), strict=True):
        yield line, code, out, err


def test_the_base_looks_promotes_rolls_back_signs_and_verifies(workspace: Path) -> None:
    lines = BASE.splitlines()
    # An alias of this history serves an edit that was taken back, which the status says. The doctor finds torch among the
    # installed packages and cannot import it here.
    ends = {"status": ATTENTION, "doctor": ATTENTION}
    failed = [(line, code, err) for line, code, _, err in run(workspace, lines) if code != ends.get(line, OK)]
    assert not failed, "\n".join(map(str, failed))


def test_a_command_that_needs_an_extra_says_so_in_one_line_and_writes_nothing(workspace: Path) -> None:
    top = workspace.parent
    (top / "commands.json").touch()
    before = sorted(top.rglob("*"))
    wanted = [(extra, line) for extra, lines in NEEDS.items() for line in lines.splitlines()]
    results = run(workspace, [line for _, line in wanted])
    wrong = [
        (line, code, out, err)
        for (extra, _), (line, code, out, err) in zip(wanted, results, strict=True)
        if (code, out) != (1, "")
        or not re.fullmatch(rf"error: expected \w+, .*: run `pip install 'raie\[{extra}\]'`\n", err)
    ]
    assert wrong == []
    assert sorted(top.rglob("*")) == before


def test_every_command_is_tried_without_the_extras() -> None:
    lines = [*BASE.splitlines(), *(line for text in NEEDS.values() for line in text.splitlines())]
    known = {
        path.removeprefix("raie ")
        for path, command in ((context.command_path, command) for command, context in commands())
        if not isinstance(command, click.Group)
    }
    tried = {
        name
        for name in known
        for line in lines
        if f" {line} ".startswith((f" {name} ", f" --workspace new {name} "))
    }
    assert known - tried == ELSEWHERE - {"init"}


def test_a_library_that_is_there_but_broken_is_no_missing_extra() -> None:
    assert extras.explain(ModuleNotFoundError("No module named 'json.nothing'", name="json.nothing")) is None
    assert extras.explain(ModuleNotFoundError("No module named 'nobodys'", name="nobodys")) is None
    assert extras.explain(ImportError("cannot import name", name="torch")) is None


def test_an_extra_that_is_not_installed_is_named_with_its_first_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    extras.require("engine")
    with pytest.raises(MissingExtra, match=r"expected matplotlib, .* `pip install 'raie\[plots\]'`"):
        extras.require("engine", "plots")


# --- What is declared is what is imported


@cache
def imported() -> dict[str, set[str]]:
    """Top-level modules that the packages import and Python does not bring -> the files that do."""
    modules: dict[str, set[str]] = {}
    for file in (file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in {name.partition(".")[0] for name in names} - {"raie", VLLM, *sys.stdlib_module_names}:
                modules.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return modules


_installed = cache(packages_distributions)


def distributions(module: str) -> set[str]:
    """The distributions that bring a module; MLflow's comes in three, of which the first installs the others."""
    names = {name.lower().replace("_", "-") for name in _installed()[module]}
    return {name for name in names if not name.startswith("mlflow-")}


def declared(requirements: list[str]) -> set[str]:
    """The names of distributions, as an index spells them."""
    names = (re.split(r"[\[<>=!~; ]", text)[0] for text in requirements)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names} - {"raie"}


# Extras of whoever works on raie: nothing that is installed imports what they bring.
OURS = ("dev", "docs")


def test_what_the_packages_import_is_what_the_project_declares() -> None:
    optional = PROJECT["optional-dependencies"]
    promised = declared(PROJECT["dependencies"]).union(
        *(declared(requirements) for extra, requirements in optional.items() if extra not in OURS)
    )
    needed = {name for module in imported() for name in distributions(module)}
    assert needed == promised


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_modules_of_an_extra_are_those_that_it_installs(extra: str) -> None:
    named = {name for module in extras.EXTRAS[extra] for name in distributions(module)}
    promised = declared(PROJECT["optional-dependencies"][extra])
    assert named == promised


def test_all_is_every_extra_but_those_of_the_developers() -> None:
    (everything,) = PROJECT["optional-dependencies"]["all"]
    names = set(re.findall(r"\w+", everything)) - {"raie"}
    assert names == set(PROJECT["optional-dependencies"]) - {"all", *OURS} == set(extras.EXTRAS)
