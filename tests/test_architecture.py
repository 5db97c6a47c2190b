"""The rules of the code, walked over every module's syntax tree, so that none depends on a reader's eye."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The repository's folders and the names under which they are imported.
NAMES = {
    "raie": "raie",
    "registry": "raie.registry",
    "raie_engine": "raie.engine",
    "migrations": "raie.migrations",
    "cli": "raie.cli",
}
SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in (*NAMES, "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
MODULES = [path for path in SOURCES if path.parts[0] in NAMES]
TREES = {path: ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path)) for path in MODULES}

# Who may import what: the library -> the only places that do.
HOMES = {
    "alembic": ("migrations/",),
    "boto3": ("registry/store/s3_objects.py",),
    "botocore": ("registry/store/s3_objects.py",),
    "click": ("cli/",),
    "cyclonedx": ("raie/proofs/bill_of_materials.py",),
    "fastapi": ("raie/serving/",),
    "prometheus_client": ("raie/serving/metrics.py",),
    "pydantic": ("raie/serving/schema.py",),
    "uvicorn": ("raie/serving/server.py",),
    "cryptography": ("registry/promotion/signing.py",),
    "matplotlib": ("raie_engine/comparison/figures.py",),
    "jinja2": ("raie/pages/render.py", "registry/mlflow/"),
    "markupsafe": ("raie/pages/render.py",),
    "mlflow": ("registry/mlflow/", "raie_engine/serving.py"),
    "packageurl": ("raie/proofs/bill_of_materials.py",),
    "peft": ("raie_engine/training/adapter.py",),
    "psycopg": ("registry/db/postgres.py",),
    "ray": ("raie/executors/",),
    "rich": ("cli/ui/",),
    "sqlalchemy": ("registry/", "migrations/", "raie/configuration/database_url.py"),
    "transformers": ("raie_engine/backbones/",),
    "vllm": ("raie/vllm_plugin.py",),
}
# An edit is planned where there is no torch: what a plan is made of needs numbers and tables, nothing more.
LIGHT = (
    "config",
    "data.interactions",
    "data.windows",
    "data.synthetic",
    "data.describe",
    "regions.region_map",
    "regions.gate",
    "edit.planner",
)
TABLES = {"numpy", "pandas", "pyarrow", "safetensors"}
# Alembic runs these by their file name; nobody imports a name from them.
ALEMBIC_SCRIPTS = ("migrations/env.py", "migrations/versions/")
FORBIDDEN_WORDS = {"bank", "sig", "utils", "manager"}
# registry/deadline.py hands what it caught to the thread that waits for it; a server goes on with the old snapshot, and
# without its log or its shadow.
CATCH_ALL = (
    "cli/main.py",
    "registry/outbox.py",
    "registry/events/delivery.py",
    "registry/mlflow/publisher.py",
    "registry/deadline.py",
    "raie/serving/batching.py",
    "raie/serving/follower.py",
    "raie/serving/request_log.py",
    "raie/serving/shadow.py",
)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module with its line, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield str(node.module), node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def at_import(tree: ast.Module) -> Iterator[str]:
    """The modules that importing this one imports; those under TYPE_CHECKING are for mypy alone."""
    for node in tree.body:
        yield from (name for name, _ in imports(ast.Module([node], [])) if not isinstance(node, ast.If))


def offences(allowed: Callable[[str, str], bool]) -> list[str]:
    """Where a module imports what `allowed(path, imported)` refuses."""
    return [
        f"{path}:{line} imports {name}"
        for path, tree in TREES.items()
        for name, line in imports(tree)
        if not allowed(path.as_posix(), name)
    ]


def top(name: str) -> str:
    return name.partition(".")[0]


def test_the_registry_needs_no_torch() -> None:
    heavy = {"torch", "numpy", "transformers", "peft", "sklearn", "pandas"}
    assert offences(lambda path, name: not path.startswith("registry/") or top(name) not in heavy) == []


def test_a_library_is_imported_in_its_one_place_only() -> None:
    assert offences(lambda path, name: top(name) not in HOMES or path.startswith(HOMES[top(name)])) == []


def test_planning_an_edit_needs_numbers_and_tables_only() -> None:
    light = _with_what_they_import({f"raie.engine.{module}" for module in LIGHT})
    known = TABLES | sys.stdlib_module_names | {"raie"}
    assert offences(lambda path, name: _dotted(path) not in light or top(name) in known) == []


def _with_what_they_import(modules: set[str]) -> set[str]:
    """The modules and, step by step, every module of this project that one of them imports."""
    trees = {_dotted(path.as_posix()): tree for path, tree in TREES.items()}
    seen, new = set(modules), set(modules)
    while new:
        new = {
            name for module in new if module in trees for name, _ in imports(trees[module]) if name in trees
        } - seen
        seen |= new
    return seen


def _dotted(path: str) -> str:
    """The name under which a file is imported."""
    folder, _, rest = path.removesuffix(".py").removesuffix("/__init__").partition("/")
    return ".".join([NAMES[folder], *filter(None, rest.split("/"))])


def test_importing_a_command_imports_no_heavy_library() -> None:
    heavy = {"torch", "mlflow", "transformers", "peft", "boto3", "alembic"}
    seen = [f"{p}: {n}" for p, t in TREES.items() if p.parts[0] == "cli" for n in at_import(t) if top(n) in heavy]
    assert seen == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_says_its_idea_and_its_public_names(path: Path) -> None:
    tree = TREES[path]
    assert ast.get_docstring(tree), "no docstring"
    if len(tree.body) == 1:
        return
    defined = {name for node in tree.body for name in _defined(node)}
    assert "annotations" in defined, "no `from __future__ import annotations`"
    if path.as_posix().startswith(ALEMBIC_SCRIPTS):
        return
    assert "__all__" in defined, "no __all__"
    public = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and "__all__" in _defined(node)
    )
    assert sorted(set(public)) == sorted(public), "__all__ names something twice"
    assert [name for name in public if name not in defined] == [], "__all__ names what is not there"


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        # What a package imports only once it is asked for.
        return {name for inner in node.body for name in _defined(inner)}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    return {
        child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)
    }


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_name_is_one_that_says_nothing(path: Path) -> None:
    words = [(term, where) for name, where in _names(TREES[path]) for term in _words(name)]
    words += [(term, 0) for term in _words(path.stem)]
    assert [f"{path}:{where} {term}" for term, where in words if term in FORBIDDEN_WORDS] == []


def _names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that the module itself gives: not those of other people's keyword arguments and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def _words(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_error_is_swallowed_by_a_catch_all(path: Path) -> None:
    handlers = [
        node for node in ast.walk(TREES[path]) if isinstance(node, ast.ExceptHandler) and _catches_all(node)
    ]
    if path.as_posix() in CATCH_ALL:
        handlers = handlers[1:]
    assert [f"{path}:{handler.lineno}" for handler in handlers if not _raises_again(handler)] == []


def _catches_all(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))
        for kind in kinds
    )


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_no_folder_holds_more_files_than_a_person_can_look_through() -> None:
    files = Counter(path.parent.as_posix() for path in SOURCES if path.name != "__init__.py")
    assert {folder: number for folder, number in files.items() if number > 25} == {}


def test_a_file_name_means_one_thing_or_a_thing_and_its_command() -> None:
    folders = Counter(path.name for path in SOURCES)
    # Every package has an __init__, its own tree of errors, and every folder of tests may have fixtures.
    shared = {"__init__.py", "errors.py", "conftest.py"}
    assert {name: number for name, number in folders.items() if number > 2 and name not in shared} == {}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_library_seeds_the_whole_process(path: Path) -> None:
    forked = {id(node) for block in ast.walk(TREES[path]) if _forks(block) for node in ast.walk(block)}
    seeding = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.Call) and _seeds(node)]
    assert [f"{path}:{call.lineno}" for call in seeding if id(call) not in forked] == []


def _forks(node: ast.AST) -> bool:
    """A block that gives the process its old random state back."""
    return isinstance(node, ast.With) and any("fork_rng" in ast.unparse(item.context_expr) for item in node.items)


def _seeds(call: ast.Call) -> bool:
    seeding = (
        r"(torch|torch\.cuda|random|np\.random|numpy\.random|transformers)\.(manual_seed(_all)?|seed|set_seed)"
    )
    return re.fullmatch(seeding, ast.unparse(call.func)) is not None
