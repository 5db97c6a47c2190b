"""How large the parts of the code are, and which imports which: `make structure`. A report to read, not a rule."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("raie", "registry", "raie_engine", "migrations", "cli", "tests")
SHOWN = 15
PACKAGES = ("raie", "raie.registry", "raie.engine", "raie.cli")


def main() -> None:
    texts = {
        path.relative_to(ROOT): path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    _print("files in a folder", Counter(str(path.parent) for path in texts))
    _print("lines of a file", {str(path): text.count("\n") for path, text in texts.items()})
    _print("lines of a function", dict(line for path, text in texts.items() for line in _functions(path, text)))

    sys.path.insert(
        0, str(ROOT / "typed")
    )  # where `make links` puts the folders under the names of their packages
    graph = grimp.build_graph("raie", exclude_type_checking_imports=True)
    for package in PACKAGES:
        print(f"\nwhat the parts of {package} import, the lowest first")
        print("\n".join(_arrows(graph, package)))


def _arrows(graph: grimp.ImportGraph, package: str) -> list[str]:
    """A line per part of a package, after those that it imports; raises CycleError where there is a circle."""
    depth = package.count(".") + 2
    arrows: dict[str, set[str]] = {part: set() for part in graph.find_children(package)}
    for module in graph.modules:
        part = ".".join(module.split(".")[:depth])
        for imported in graph.find_modules_directly_imported_by(module) if part in arrows else ():
            arrows[part].add(".".join(imported.split(".")[:depth]))
    inside = {
        part: {target for target in targets if target in arrows} - {part} for part, targets in arrows.items()
    }
    short = {part: part.removeprefix(f"{package}.") for part in arrows}
    return [
        f"  {short[part]:20} {', '.join(sorted(short[target] for target in inside[part]))}"
        for part in TopologicalSorter(inside).static_order()
    ]


def _functions(path: Path, text: str) -> list[tuple[str, int]]:
    nodes = (
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [
        (f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1) for node in nodes
    ]


def _print(title: str, sizes: dict[str, int]) -> None:
    ordered = sorted(sizes.items(), key=lambda pair: -pair[1])
    print(f"\n{title}: median {ordered[len(ordered) // 2][1]}, of {len(ordered)}")
    for name, size in ordered[:SHOWN]:
        print(f"{size:6}  {name}")


if __name__ == "__main__":
    main()
