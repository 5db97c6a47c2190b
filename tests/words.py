"""The words that this project does not use, because every reader knows a better one: `python -m tests.words [FOLDER]`.

A name is one that a module gives: of a function, class, argument, variable or file. A text is a docstring, a comment,
a message, help or a document. Texts that are kept (JSON keys, blob roles, audit actions, names of old revisions) keep
their words: they stand in KEPT with the reason.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("raie", "registry", "raie_engine", "migrations", "cli", "tests", "docs")
FILES = ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml")

WHOLE = dict.fromkeys(("found", "one", "each", "other", "word"), "the name of the thing") | {
    "place": "path, index, slot or target",
    "told": "the name of the thing",
    "waits": "the name of the thing",
}
"""Names that say nothing by themselves."""
PARTS = {
    "judge": "evaluate",
    "judging": "scoring",
    "passes": "samples_seen, or accepts",
    "contestant": "method",
    "lesson": "task_data",
    "course": "protocol",
    "cell": "step_result",
    "played": "method_result",
    "ahead": "prequential",
    "presence": "preflight",
    "evidence": "evaluations",
    "tells": "records",
    "tell": "on_<event>",
    "anchor": "checkpoint",
    "compose": "cherry_pick",
    "composition": "cherry_pick",
    "stray": "orphan",
    "strays": "orphans",
    "leftovers": "incomplete_uploads",
    "holder": "lease_owner",
    "learnt": "learned",
    "waiting": "pending",
    "draw": "render, format, sample",
    "container": "bucket",
}
TEXTS = {
    r"the way of the data": "data flow",
    r"set-ups?\b|\bsetting up\b": "setup; initial training",
    r"what followed what": "item transition counts",
    r"\bjudg(e|es|ed|ing)\b": "evaluate; validation or held-out windows",
    r"sample passes": "training samples seen",
    r"trained numbers": "trainable parameters",
    r"\b(contestants?|lessons?)\b": "method; task data",
    r"\bevidence\b": "evaluations and approvals",
    r"\b(told|tells)\b": "recorded, logged, says",
    r"end of the chain|chain's (new )?end|kept ends?\b": "chain head; checkpoint",
    r"\banchors?\b": "checkpoint",
    r"\bcompos(e|es|ed|ition)\b": "cherry-pick of a region version",
    r"\b(strays|leftovers)\b": "orphan objects, incomplete uploads",
    r"\bholders?\b": "lease owner",
    r"\bedit parts?\b": "edit checkpoints",
    r"bare backbone": "frozen backbone",
    r"\blearnt\b": "learned",
    r"\bwait(s|ing) windows\b|windows (that )?wait\b": "pending windows",
    r"\blate rows\b": "late-arriving rows",
    r"\bfalse alarms?\b": "false positive rate",
    r"\bis drawn\b|\bdraws? (a|the) (tree|table|line|text)": "render, format",
}
_STORED = "rows, digests and the audit chain hold this word"
KEPT: dict[str, str] = dict.fromkeys(
    (
        'CHERRY_PICK = "compose"',
        "commit, rollback, compose   the edit as it is closed, its operations, the region versions and the snapshot it "
        "added",
        """f"NEW.kind = 'compose' OR {_EDITS_HEADS}",""",
        """"SELECT 'recsys', last_edit, 'compose', 'running', 0, 'no json', '{}', 'eve', '', 1 FROM models",""",
        """"SELECT 'recsys', last_edit, 'compose', 'running', 0, '{}', '{}', 'eve', '', 1 FROM models",""",
    ),
    _STORED,
) | {
    'assert set(ran.json["models"]["never edited"]["set-up"].values()) == {None}': "a stored word or a key of JSON",
    "assert re.search(rf\"^{name} .*{model['set-up']['Recall@10']:.4f}\", text, re.MULTILINE)": "a stored word or a key of JSON",  # noqa: E501
    '"judged",': "a stored word or a key of JSON",
    'assert kinds == ["rollback", "rollback", "compose", "rollback", "edit", "compose", "edit", "edit", "setup"]': "a stored word or a key of JSON",  # noqa: E501
    "- `--anchor` is `--checkpoint`, `gc --strays` is `--orphans`; old names work for one version.": "names old options",
    "def __eq__(self, other: object) -> bool:": "the name in Python's data model",
    '"strategy state": {"item transition counts": "what followed what"},': "a key in the work folders of comparisons",
    '"slice": {"held_out": "judging"},': "a key in the JSON of comparisons",
    '"slice": {"slice": 1, "judging": 2},': "a key in the JSON of comparisons",
    '"strategy state": {"what followed what": 1, "counts": 2},': "a key in the work folders of comparisons",
    'SETUP_PART = "set-up"': "a key of JSON that scripts read",
    '"judged": summary.held_out,': "a key of JSON that scripts read",
    '"leftovers": list(report.incomplete_uploads),': "a key of `raie gc --json`",
    '"strays": list(report.orphans),': "a key of `raie gc --json`",
    '"--anchor",': "the old name of --checkpoint, which works for one more version",
    '_CHECKPOINT = "--anchor"': "the same, in its test",
    '"--strays",': "the old name of --orphans, which works for one more version",
    '_ORPHANS = "--strays"': "the same, in its test",
    'assert {"identity", "begin", "commit", "rollback", "promote", "compose"} == {': "the action of an audit event",
    "│ ○  s4            edit 4  compose   <when          >  grace  ◂ production": "the kind of an edit, as it is stored",
    "s4            edit 4  compose  <when          >  grace  ◂ production": "the kind of an edit, as it is stored",
    'for part, windows in (("adaptation", "new"), ("retention", "set-up")):': "a key of JSON that scripts read",
}
"""Text of a line -> why it keeps its word."""
_SKIPPED = ("tests/words.py", "tests/test_words.py", "migrations/versions/", "docs/images/")


def main() -> int:
    where = sys.argv[1:] or [*FOLDERS, *FILES]
    hits = [hit for name in where for hit in hits_in(name)]
    print("\n".join(hits))
    return 1 if hits else 0


def hits_in(name: str) -> list[str]:
    """The hits of every file of a folder, or of one file; its path starts at the repository's root."""
    return [hit for path in _files(ROOT / name) for hit in hits_of(path)]


def hits_of(path: Path) -> list[str]:
    """Every word of a file that has a better one, as `path:line: word -> better`."""
    shown, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    if shown.startswith(_SKIPPED):
        return []
    # Most of them stand nowhere in a file: to take its text apart takes longer than to look for them in the whole.
    here = {pattern: better for pattern, better in TEXTS.items() if re.search(pattern, text, re.IGNORECASE)}
    hits = [
        (number + piece[: match.start()].count("\n"), match[0], better)
        for number, piece in (_pieces(path, text) if here else ())
        for pattern, better in here.items()
        for match in re.finditer(pattern, piece, re.IGNORECASE)
    ]
    if path.suffix == ".py":
        hits += [
            (line, name, better)
            for name, line in [*_names(ast.parse(text)), (path.stem, 1)]
            for better in [WHOLE.get(name.strip("_").lower()), *map(PARTS.get, _words(name))]
            if better
        ]
    lines = text.splitlines()
    return [
        f"{shown}:{number}: {word!r} -> {better}"
        for number, word, better in sorted(hits)
        if lines[number - 1].strip() not in KEPT
    ]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for kind in ("*.py", "*.md", "*.mako", "*.html"):
        yield from (file for file in sorted(path.rglob(kind)) if "__pycache__" not in file.parts)


def _pieces(path: Path, text: str) -> Iterator[tuple[int, str]]:
    return _texts(text) if path.suffix == ".py" else enumerate(text.splitlines(), 1)


def _texts(source: str) -> Iterator[tuple[int, str]]:
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield token.start[0], token.string


def _names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not node.name.startswith("test_"):  # a sentence
                yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def _words(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


if __name__ == "__main__":
    sys.exit(main())
