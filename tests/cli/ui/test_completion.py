"""A shell completes commands and values within a moment, and an error prints nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from raie.cli.completion import complete, kind_of, script
from raie.cli.main import raie as root
from raie.environment.completion_values import Kind, values
from raie.registry import Registry
from raie.workspace import Workspace
from tests.cli.conftest import Raie
from tests.cli.history import MODEL

HEAVY = {"torch", "mlflow", "sqlalchemy", "boto3", "numpy", "pandas", "rich.console"}
ASKED = """
import json, os, sys, time
from raie.cli import main
code = main.run([])
print(json.dumps({"code": code, "modules": sorted(sys.modules), "seconds": time.process_time()}), file=sys.stderr)
"""


def completed(monkeypatch: pytest.MonkeyPatch, raie: Raie, line: str, shell: str = "bash") -> list[str]:
    """What a shell is offered at the end of a line."""
    words = line.split()
    count = len(words) if line.endswith(" ") else len(words) - 1
    monkeypatch.setenv("_RAIE_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(count))
    ran = raie()
    assert (ran.code, ran.err) == (0, "")
    return [line.partition(",")[2] for line in ran.out.splitlines() if line]


OFFERED = {
    "raie al": ["alias"],
    "raie alias ": ["list", "history", "rename", "delete"],
    "raie alias delete ": ["production", "staging"],
    "raie alias rename st": ["staging"],
    "raie promote --to ": ["production", "staging"],
    "raie serve --shadow s": ["staging"],
    "raie show pro": ["production"],
    "raie diff production st": ["staging"],
    "raie evaluate log.csv --against hea": ["head"],
    "raie regions show ": ["0", "1", "2", "3"],
    "raie lineage --region ": ["0", "1", "2", "3"],
    "raie edit show ": ["6", "5", "4", "3", "2", "1"],
    "raie rollback ": ["6", "5", "4", "3", "2", "1"],
    "raie config show engine.adapter.r": ["engine.adapter.rank"],
    "raie compare log.csv --strategies raie,la": [],
    "raie compare log.csv --strategies raie,ls": ["raie,lsat"],
    "raie completion z": ["zsh"],
    "raie promote --reas": ["--reason"],
}
"""What is typed -> what may follow."""


def test_a_value_is_offered_where_it_may_stand(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {line: completed(monkeypatch, raie, line) for line in OFFERED} == OFFERED


def test_a_snapshot_is_completed_by_its_id_with_what_helps_to_choose_it(
    raie: Raie, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = registry.resolve(MODEL, "head").id
    assert completed(monkeypatch, raie, f"raie show {head[:5]}") == [head[:12]]
    (value,) = values(Kind.REF, head[:5])
    assert value.help.startswith("edit 6 ")
    assert value.help.endswith("a week of bot traffic")
    monkeypatch.setenv("COMP_WORDS", f"raie show {head[:5]}")
    monkeypatch.setenv("_RAIE_COMPLETE", "zsh_complete")
    assert raie().out == f"plain\n{head[:12]}\n{value.help}\n"
    monkeypatch.setenv("_RAIE_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_CWORD", head[:5])
    assert raie().out == f"plain,{head[:12]}\t{value.help}\n"


def test_bash_takes_an_edit_apart_at_its_colon_and_is_offered_the_rest(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed(monkeypatch, raie, "raie show edit : ")[0] == "6"
    assert completed(monkeypatch, raie, "raie show edit :")[0] == "6"
    assert completed(monkeypatch, raie, "raie show edit : 3") == ["3"]


def test_a_tag_is_offered_to_who_tags(raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert raie("tag", "head", "black-friday").code == 0
    assert completed(monkeypatch, raie, "raie tag head bl") == ["black-friday"]


@pytest.mark.parametrize(
    "text",
    [None, "not toml", 'database = "sqlite:///nowhere.db"', 'database = "postgresql://nobody@127.0.0.1:1/x"'],
)
def test_what_cannot_be_asked_offers_nothing_and_prints_nothing(
    raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "raie.toml").write_text(text, encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    assert completed(monkeypatch, raie, "raie alias delete ") == []
    assert sorted(tmp_path.iterdir()) == before


def test_a_workspace_that_is_named_is_the_one_that_is_asked(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir("/")
    assert completed(monkeypatch, raie, "raie alias delete ") == []
    line = f"raie --workspace {tmp_path} alias delete "
    assert completed(monkeypatch, raie, line) == ["production", "staging"]


def test_a_completion_imports_nothing_heavy_and_takes_a_moment(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"_RAIE_COMPLETE": "bash_complete", "COMP_WORDS": "raie show ", "COMP_CWORD": "2"}
    ran = subprocess.run(
        [sys.executable, "-c", ASKED],
        env={**os.environ, **asked},
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ran.stdout.splitlines()[:3] == ["plain,head", "plain,production", "plain,staging"]
    report = json.loads(ran.stderr.splitlines()[-1])
    assert HEAVY & set(report["modules"]) == set()
    # The processor's time. Measured: 0.13 s.
    assert report["seconds"] < 0.3


def test_the_script_of_bash_completes_in_bash(workspace: Workspace) -> None:
    binary = Path(sys.executable).parent
    lines = (
        f'PATH={binary}:$PATH; eval "$(raie completion bash)"; COMP_WORDS=(raie alias delete ""); COMP_CWORD=3; '
    )
    lines += '_raie_completion raie "" delete; echo "${COMPREPLY[@]}"'
    ran = subprocess.run(
        ["bash", "--norc", "-c", lines], cwd=workspace.folder, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("production staging\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_that_the_variable_gives_too(
    raie: Raie, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = raie("completion", shell).out
    assert "_RAIE_COMPLETE" in printed
    assert printed == script(root, shell)
    monkeypatch.setenv("_RAIE_COMPLETE", f"{shell}_source")
    assert raie().out == printed


def test_an_unknown_shell_is_refused_or_offered_nothing(raie: Raie) -> None:
    assert raie("completion", "tcsh").code == 2
    assert complete(root, "tcsh_complete") == 0


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from parameters(inner)


def test_every_parameter_that_names_a_snapshot_or_an_alias_completes() -> None:
    named = [p for p in parameters(root) if p.metavar in ("REF", "ALIAS", "EDIT", "R")]
    named += [p for p in parameters(root) if isinstance(p, click.Argument) and p.name in ("ref", "alias", "older")]
    assert len(named) > 30
    assert [p.name for p in named if kind_of(p) is None] == []
