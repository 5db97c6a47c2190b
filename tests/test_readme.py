"""What README.md and docs/ say is true: commands run, options exist, links lead somewhere, tables match the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raie import workspace_file
from raie.cli import errors, main
from raie.cli.reference import commands
from raie.engine.config import EngineConfig, to_mapping
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.registry import errors as registry_errors
from raie.workspace import FILE_NAME

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
COMMANDS, CONFIGURATION, GUARANTEES = (
    ROOT / "docs" / f"{name}.md" for name in ("commands", "configuration", "guarantees")
)
# In the order in which a reader meets them: the later pages go on in the README's workspace.
PRINTED = [
    README,
    COMMANDS,
    CONFIGURATION,
    GUARANTEES,
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("method", "compare", "registry", "operating", "trust", "backbones")
    ),
]
# Servers run until they are stopped, and what is erased is gone for the pages after it, so these are not typed.
SPELT = [*PRINTED, ROOT / "docs" / "serving.md", ROOT / "docs" / "erasing.md"]
PAGES = sorted({*PRINTED, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})
DRAWINGS = sorted((ROOT / "docs").rglob("*.svg"))
PICTURES = [*DRAWINGS, *sorted((ROOT / "docs").rglob("*.png"))]
TREE = {context.command_path: command for command, context in commands()}
GROUPS = {path for path, command in TREE.items() if isinstance(command, click.Group)}

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# Small enough for a minute, large enough for edits of different regions.
LOG = SyntheticConfig(users=250)
ENGINE = """
[engine.backbone]
dim = 32
layers = 1
heads = 1
epochs = 6
learning_rate = 0.005

[engine.regions]
regions = 5

[engine.edit]
shared_epochs = 1
epochs = 1
max_validation = 100
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: the page it stands in, its language and its text."""

    page: Path
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The command lines of a console or shell block."""
        lines = self.text.splitlines()
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path, *languages: str) -> list[Block]:
    seen = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(page, language, text) for language, text in seen if language in languages]


def prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- Commands


class Reader:
    """Types what the pages say, in a fresh folder, where servers of our own stand in for the reader's."""

    def __init__(self, patch: pytest.MonkeyPatch, stand_ins: dict[str, str]) -> None:
        self.patch = patch
        self.stand_ins = stand_ins

    def follow(self, block: Block) -> None:
        """Run the lines of one block; what it exports ends with it."""
        before = dict(os.environ)
        for line in block.lines:
            for said, meant in self.stand_ins.items():
                line = line.replace(said, meant)
            code = self.run(shlex.split(line))
            assert code == 0, f"{relative(block.page)}: `{line}` ended in {code}"
        for name in set(os.environ) - set(before):
            self.patch.delenv(name)

    def run(self, words: list[str]) -> int:
        """Run one command line; its exit code."""
        match words:
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                if value != "...":
                    self.patch.setenv(name, value)
                return 0
            case ["make", target, *_]:
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (
                    f"no target {target}"
                )
                return 0
            case ["mlflow", *rest]:
                return _known_to_mlflow(rest)
            case ["raie", *rest]:
                return self.raie(rest)
        raise AssertionError(f"this test does not know how to check {shlex.join(words)!r}")

    def raie(self, words: list[str]) -> int:
        """Run a raie command: in this process, with a small log, a small model and one worker."""
        if "mlflow" in words:
            # A process of its own: mlflow's import is heavy and warns.
            command = [sys.executable, "-m", "raie.cli.main", *words]
            return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120).returncode
        code = main.run([*words, "--workers", "1"] if "apply" in words else words)
        if "init" in words:
            spot = Path(words[1] if words[0] == "--workspace" else ".") / FILE_NAME
            spot.write_text(spot.read_text(encoding="utf-8") + ENGINE, encoding="utf-8")
        if words[:2] == ["data", "synth"]:
            write_csv(drifting_log(LOG), Path(words[2]))
        return code


def _known_to_mlflow(words: list[str]) -> int:
    """Check a command of MLflow's own against its help; a server would run for ever."""
    path = words[: next(spot for spot, term in enumerate(words) if term.startswith("--"))]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", *path, "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    unknown = [term for term in words if term.startswith("--") and term not in ran.stdout]
    assert unknown == [], f"mlflow {' '.join(path)} does not know {unknown}"
    return ran.returncode


def test_whoever_types_what_the_pages_say_meets_no_error(
    postgres_url: str, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "STORE", "MODEL", "WORKSPACE", "DEBUG"):
        monkeypatch.delenv(f"RAIE_{name}", raising=False)
    monkeypatch.setenv("RAIE_ACTOR", "ada")
    stand_ins = {
        "postgresql://ada@db.example.org/raie": postgres_url,
        "s3://models/raie": s3_url,
        "https://s3.example.org": os.environ["AWS_ENDPOINT_URL"],
    }
    histories = pa.table({"user_id": ["ada"], "items": [["t0-core-00", "t0-core-01"]]})
    pq.write_table(histories, "histories.parquet")
    reader = Reader(monkeypatch, stand_ins)
    for page in PRINTED:
        for block in blocks(page, "console", "sh"):
            reader.follow(block)
        for block in blocks(page, "python"):
            exec(compile(block.text, relative(page), "exec"), {})


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words after `raie` wherever a page spells out a command."""
    lines = [line for block in blocks(page, "console", "sh") for line in block.lines]
    lines += _INLINE.findall(prose(page))
    yield from (shlex.split(line)[1:] for line in lines if line.startswith("raie "))


def known_options(path: str) -> set[str]:
    """The options of a command and of the groups above it."""
    seen = {"-h", "--help"}
    while path:
        seen |= {name for option in TREE[path].params for name in (*option.opts, *option.secondary_opts)}
        path = path.rpartition(" ")[0]
    return seen


@pytest.mark.parametrize("page", SPELT, ids=relative)
def test_every_command_and_option_that_a_page_names_exists(page: Path) -> None:
    wrong = []
    for words in command_lines(page):
        path = "raie"
        for term in words:
            if path in GROUPS and f"{path} {term}" in TREE:
                path = f"{path} {term}"
        known = known_options(path)
        options = [term for term in words if term.startswith("-") and not re.fullmatch(r"-[0-9.]+", term)]
        wrong += [f"{path} {option}" for option in options if option not in known]
        if path in GROUPS and path != "raie":
            wrong.append(f"{' '.join(words)}: no such command")
    every = {name for path in TREE for name in known_options(path)}
    alone = (code.split()[0] for code in _INLINE.findall(prose(page)) if code.startswith("--"))
    wrong += [option for option in alone if option not in every]
    assert wrong == []


def test_the_page_of_commands_names_each_once() -> None:
    message = [f"raie {name}" for name in re.findall(r"`raie ([a-z ]+)`", _section(COMMANDS, "Commands"))]
    assert sorted(message) == sorted(set(TREE) - GROUPS)


# --- Tables


def _section(page: Path, title: str) -> str:
    text = page.read_text(encoding="utf-8")
    seen = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert seen, f"{relative(page)} has no section {title!r}"
    return seen[1]


def test_the_page_of_the_configuration_has_every_option_with_its_value() -> None:
    (block,) = (block for block in blocks(CONFIGURATION, "toml") if "[engine]" in block.text)
    assert tomllib.loads(block.text) == {"engine": to_mapping(EngineConfig())}
    types = re.findall(r"^(\w+) = (\d+)$", block.text, re.MULTILINE)
    assert types, "whole numbers stay whole numbers"


@pytest.mark.parametrize("page", PRINTED, ids=relative)
def test_every_piece_of_a_raie_toml_can_be_read(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        workspace_file.parse(block.text, tmp_path / FILE_NAME)


def test_the_exit_codes_are_those_of_the_program() -> None:
    message = {int(code) for code in re.findall(r"^\| (\d+) \|", _section(COMMANDS, "Exit codes"), re.MULTILINE)}
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert message == codes - {errors.TERMINATED}
    for line in re.findall(r"^ +\d+  (.+)$", main.raie.get_help(click.Context(main.raie)), re.MULTILINE):
        assert line in COMMANDS.read_text(encoding="utf-8"), line


def test_every_error_of_the_registry_is_told_with_its_code() -> None:
    rows = re.findall(
        r"^\| (\d) \| (.+?) \|", _section(ROOT / "docs" / "registry.md", "Errors, and what to do"), re.M
    )
    message = {name: int(code) for code, names in rows for name in re.findall(r"`(\w+)`", names)}
    kinds = (getattr(registry_errors, name) for name in registry_errors.__all__)
    inner = {registry_errors.RegistryError, registry_errors.StoreError, registry_errors.Conflict}
    assert message == {kind.__name__: errors.exit_code(kind.__new__(kind)) for kind in kinds if kind not in inner}


def test_every_variable_of_the_help_is_told_and_no_other() -> None:
    page = _section(ROOT / "docs" / "operating.md", "Environment")
    message = set(re.findall(r"`(RAIE_\w+|NO_COLOR)", page))
    assert message == set(
        re.findall(r"^ +(RAIE_\w+|NO_COLOR)", main.raie.get_help(click.Context(main.raie)), re.M)
    )


def test_every_guarantee_names_a_test_that_is_there() -> None:
    named = re.findall(r"`(test_\w+)`", _section(GUARANTEES, "What is guaranteed"))
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in named if f"def {name}(" not in sources] == []


# --- Links and manners


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 200


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.is_file() or (fragment and fragment not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", [*PAGES, *DRAWINGS], ids=relative)
def test_no_page_names_somebodys_machine_or_a_package_registry(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    places = r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt|opt|workspace|private)/"
    hosts = r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org|npmjs\.|localhost"
    assert re.findall(f"{places}|{hosts}", text) == []


def test_every_picture_is_shown_and_says_what_it_shows() -> None:
    shown = {(page.parent / target).resolve() for page in PRINTED for _, target in _pictures(page)}
    assert shown == set(PICTURES)
    assert all(words for page in PRINTED for words, _ in _pictures(page))


def _pictures(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose(page))
