"""Run command lines in one process that lacks the libraries of every extra: `python without_extras.py FILE`.

FILE: a JSON list of command lines. Printed: a JSON list of an exit code and both streams of each.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

from raie.cli import main
from raie.extras import EXTRAS


def ran(words: list[str]) -> tuple[int, str, str]:
    """The exit code, the standard output and the standard error of one command line."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.run(words)
    return code, out.buffer.getvalue().decode(), err.getvalue()  # type: ignore[attr-defined]


if __name__ == "__main__":
    for extra in EXTRAS.values():
        # The import system raises ModuleNotFoundError for them, as for what is not installed.
        sys.modules.update(dict.fromkeys(extra))  # type: ignore[arg-type]
    commands = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps([ran(words) for words in commands]))
