"""The recipes and the images: every command in them exists, and what can run without Docker or Airflow runs."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from raie.cli.reference import commands
from raie.registry import Registry
from raie.workspace_file import find
from tests.cli import trained

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "recipes.md"
TREE = {context.command_path: command for command, context in commands()}
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", RECIPES.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
VALUE_OF_A_SHELL = re.compile(r"\$\{?\w+\}?")


def block(language: str) -> str:
    (text,) = (text for name, text in BLOCKS if name == language)
    return text


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, the rest), continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line)]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Target -> its instructions."""
    made: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, rest in instructions():
        if instruction == "FROM":
            name = rest.split(" AS ")[1]
        made.setdefault(name, []).append((instruction, rest))
    return made


def command_lines() -> Iterator[list[str]]:
    """The words after `raie` of every command in the recipes and the Dockerfile."""
    for stage in ("base", "serve"):
        yield from (json.loads(rest) for name, rest in stages()[stage] if name == "CMD")
    for line in block("cron").splitlines():
        yield shlex.split(line.partition(" raie ")[2])
    for job in yaml.safe_load(block("yaml"))["jobs"].values():
        yield from (
            shlex.split(step["run"])[1:] for step in job["steps"] if step.get("run", "").startswith("raie ")
        )
    for call in ast.walk(ast.parse(block("python"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "raie":
            yield [str(term.value) if isinstance(term, ast.Constant) else "X" for term in call.args]
    for language, text in BLOCKS:
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            if words[:2] == ["docker", "run"]:
                image = next(spot for spot, term in enumerate(words) if term in ("raie", "raie-serve"))
                yield words[image + 1 :]


def unknown(words: list[str]) -> list[str]:
    """What of a command line raie does not know."""
    if words and words[0] == "--workspace":
        words = words[2:]
    path = "raie"
    for term in words:
        if isinstance(TREE[path], click.Group) and f"{path} {term}" in TREE:
            path = f"{path} {term}"
    if isinstance(TREE[path], click.Group):
        return [] if words in ([], ["--help"]) else [" ".join(words)]
    known = {"--help"} | {name for option in TREE[path].params for name in (*option.opts, *option.secondary_opts)}
    return [term for term in words if term.startswith("-") and term not in known]


def test_every_command_of_the_recipes_and_the_images_exists() -> None:
    lines = list(command_lines())
    assert len(lines) > 10
    # The extra that serves is a part of its own.
    there = [words for words in lines if words[:1] != ["serve"] or "raie serve" in TREE]
    assert [words for words in there if unknown(words)] == []
    assert unknown(["events", "deliver"]) == ["events deliver"]
    assert unknown(["promote", "head", "--force"]) == ["--force"]


@pytest.mark.parametrize("target", ["base", "serve"])
def test_an_image_runs_as_nobody_in_particular_and_holds_no_secret(target: str) -> None:
    made = stages()
    (parent,) = (rest.split(" AS ")[0] for name, rest in made[target] if name == "FROM")
    lines = [*made[parent], *made[target]]
    (user,) = (rest for name, rest in lines if name == "USER")
    assert int(user) > 0
    assert [rest for name, rest in lines if name == "ENTRYPOINT"] == ['["raie"]']
    assert not [rest for name, rest in lines if name == "COPY" and not rest.startswith("--from=")]
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"(?im)^(?:ENV|ARG).*(?:SECRET|PASSWORD|TOKEN|KEY|DATABASE_URL)", text) == []


def test_docker_asks_the_server_whether_it_is_healthy() -> None:
    (check,) = (rest for name, rest in stages()["serve"] if name == "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert "http://127.0.0.1:8000/health" in command[2]
    ran = subprocess.run([sys.executable, *command[1:]], capture_output=True, env={**os.environ, "no_proxy": "*"})
    assert ran.returncode == 1, "nothing serves there"
    assert ("EXPOSE", "8000") in stages()["serve"]


def test_what_is_copied_into_an_image_is_there_and_complete() -> None:
    copied = [rest.split()[:-1] for name, rest in stages()["build"] if name == "COPY"]
    names = {name for words in copied for name in words}
    assert [name for name in names if not (ROOT / name).exists()] == []
    folders = re.findall(r'^"raie[\w.]*" = "(\w+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(folders) <= names
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(kept) == names


def test_what_a_user_types_into_the_workflow_never_becomes_part_of_a_script() -> None:
    workflow = yaml.safe_load(block("yaml"))
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert runs
    assert [run for run in runs if "${{" in run] == []
    names = {name for run in runs for name in VALUE_OF_A_SHELL.findall(run)}
    assert {name.strip("${}") for name in names} <= set(workflow["env"])
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["promote"]["needs"] == "check"


def dag_functions(folder: Path) -> dict[str, Any]:
    """The functions of the DAG's tasks, without the part that needs Airflow."""
    tree = ast.parse(block("python"))
    compile(tree, "dag.py", "exec")
    tree.body = [
        part
        for part in tree.body
        if not (isinstance(part, ast.ImportFrom) and str(part.module).startswith("airflow"))
        and not (isinstance(part, ast.FunctionDef) and part.decorator_list)
        and not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Call))
    ]
    names: dict[str, Any] = {}
    exec(compile(tree, "dag.py", "exec"), names)
    names["WORKSPACE"] = str(folder)
    return names


@pytest.fixture
def _raie_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RAIE_ACTOR", "airflow")


@pytest.mark.usefixtures("_raie_on_the_path")
def test_the_tasks_of_the_dag_promote_and_a_refusal_fails_the_task(registry: Registry, tmp_path: Path) -> None:
    dag = dag_functions(tmp_path)
    dag["promote"]("edit:3")
    assert registry.resolve("recsys", "production").edit == 3
    assert registry.alias_history("recsys", "production")[0].actor == "airflow"
    with pytest.raises(subprocess.CalledProcessError):
        dag["promote"]("edit:77")


@pytest.mark.slow
@pytest.mark.usefixtures("_raie_on_the_path")
def test_the_tasks_of_the_dag_edit_measure_promote_and_publish(tmp_path: Path) -> None:
    folder = trained.made(tmp_path)
    trained.command(folder, "promote", "head")
    with (folder / "raie.toml").open("a", encoding="utf-8") as file:
        file.write('[events.lineage]\nformat = "openlineage"\nfile = "lineage.jsonl"\n')
    dag = dag_functions(folder)
    snapshot = dag["edit"](str(folder / trained.LOG))
    dag["measure"](str(folder / trained.LOG), snapshot)
    dag["promote"](snapshot)
    dag["publish"]()
    assert find(folder).registry().resolve("recsys", "production").id == snapshot
    assert (folder / "lineage.jsonl").read_text().count("\n") == 8


def test_the_recipes_name_no_package_registry() -> None:
    for path in (RECIPES, ROOT / "Dockerfile", ROOT / ".dockerignore"):
        assert re.findall(r"pypi|index-url|simple/", path.read_text(encoding="utf-8"), re.IGNORECASE) == []
