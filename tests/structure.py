"""How large the parts of the code are: `make structure`. A report to read, not a rule to pass."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("raie", "registry", "raie_engine", "migrations", "cli", "tests")
SHOWN = 15


def main() -> None:
    texts = {
        path.relative_to(ROOT): path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    _print("files in a folder", Counter(str(path.parent) for path in texts))
    _print("lines of a file", {str(path): text.count("\n") for path, text in texts.items()})
    _print("lines of a function", dict(line for path, text in texts.items() for line in _functions(path, text)))


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
