"""What README.md and docs/ say is true: commands run, options exist, links lead somewhere, tables match the code."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raie import workspace_file
from raie.cli import errors, main
from raie.engine.config import EngineConfig, to_mapping
from raie.registry import errors as registry_errors
from raie.workspace import FILE_NAME
from tests.docs.command_lines import TREE
from tests.docs.markdown import PAGES, ROOT, blocks, heading_links, prose, relative
from tests.docs.reader import Reader

README = ROOT / "README.md"
COMMANDS, CONFIGURATION, GUARANTEES = (
    ROOT / "docs" / f"{name}.md" for name in ("commands", "configuration", "guarantees")
)
# In the order in which a reader meets them: the later pages go on in the README's workspace.
# Servers run until they are stopped, and what is erased is gone for the pages after it, so those pages are not typed.
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
# docs/assets holds what the site itself is made of.
DRAWINGS = sorted((ROOT / "docs" / "images").rglob("*.svg"))
PICTURES = [*DRAWINGS, *sorted((ROOT / "docs").rglob("*.png"))]
GROUPS = {path for path, command in TREE.items() if isinstance(command, click.Group)}

# --- Commands


@pytest.mark.parametrize(
    "pages", [pytest.param([README], id="README"), pytest.param(PRINTED, id="all", marks=pytest.mark.slow)]
)
def test_whoever_types_what_the_pages_say_meets_no_error(
    pages: list[Path], postgres_url: str, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    for page in pages:
        for block in blocks(page, "console", "sh"):
            reader.follow(block)
        for block in blocks(page, "python"):
            exec(compile(block.text, relative(page), "exec"), {})


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


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.is_file() or (fragment and fragment not in heading_links(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", [*PAGES, *DRAWINGS], ids=relative)
def test_no_page_names_somebodys_machine_or_a_package_registry(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    places = r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt|opt|workspace|private)/"
    hosts = r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org|npmjs\.|localhost"
    assert re.findall(f"{places}|{hosts}", text) == []


def test_every_picture_is_shown_and_says_what_it_shows() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for _, target in _pictures(page)}
    assert shown == set(PICTURES)
    assert all(words for page in PAGES for words, _ in _pictures(page))


def _pictures(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose(page))
