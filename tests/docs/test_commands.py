"""No page spells out a command, an option, a choice or a number of arguments that the command line would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.command_lines import TREE, Line, lines, options_alone, problem
from tests.docs.markdown import PAGES, relative

# The changelog names what was, too.
CHECKED = [page for page in PAGES if page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", CHECKED, ids=relative)
def test_every_command_that_a_page_spells_out_would_be_accepted(page: Path) -> None:
    refused = [f"{line}: {why}" for line in lines(page) if (why := problem(line))]
    assert refused == []


@pytest.mark.parametrize("page", CHECKED, ids=relative)
def test_every_option_that_stands_alone_in_a_sentence_belongs_to_some_command(page: Path) -> None:
    known = {
        name
        for command in TREE.values()
        for option in command.params
        for name in (*option.opts, *option.secondary_opts)
    }
    assert [option for option in options_alone(page) if option not in known | {"--help"}] == []


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("events deliver", "raie events has no command 'deliver'"),
        ("promote head --force", "raie promote: No such option '--force'"),
        ("rollback 2 3", "raie rollback: unexpected argument '3'"),
        ("rollback --reason", "requires an argument"),
        ("db grant --print yaml", "'yaml' is not one of"),
        ("--workspaces shop status", "raie: No such option '--workspaces'"),
        ("edit", "raie edit asks for a command"),
        ("data describe", "raie data describe: log is missing"),
    ],
)
def test_a_command_that_would_be_refused_is_found(typed: str, why: str) -> None:
    assert why.lower() in str(problem(Line(tuple(typed.split()), whole=True))).lower()


def test_commands_are_found_wherever_a_page_has_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert [(str(line), line.whole) for line in lines(page)] == [
        ("raie init", True),
        ("raie setup log.csv", True),
        ("raie log --json", True),
        ("raie events send", True),
        ("raie status", True),
        ("raie edit show N", False),
        ("raie gc --reason '…'", False),
    ]


PAGE = """
`raie edit show N` shows it; `raie gc --reason …` and `raised` do not.

```console
$ RAIE_ACTOR=ada raie init && raie setup \\
    log.csv
a line that raie prints
$ raie log --json | head -1 > first.json
```

```cron
* * * * * raie events send
```

```yaml
      - run: raie status
```
"""
