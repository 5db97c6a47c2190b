"""`raie report`: one page that a reviewer opens before approving a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.log_options import given_options, later_log_options
from raie.cli.ui.output import Output, accent, json_option, short
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.records import step
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import UsageError
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.review.review import Review, UsersOfLog

__all__ = ["report"]

_OF_USERS = ("top", "user_column", "item_column", "time_column", "duplicates", "separator", "header")
_PAGE = Path("report.html")


@click.command()
@click.argument("ref", default="head")
@click.option(
    "--against",
    metavar="REF",
    help="Compare with this snapshot.  [what production points to, or else the parent]",
)
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [report.html; markdown goes to standard output]",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Markdown for a pull request instead of a page.")
@click.option(
    "--users",
    "log",
    type=click.Path(readable=False, path_type=str),
    metavar="LOG",
    help="Also the users of this log whose 10 best items changed most.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    default=5,
    show_default=True,
    help="Users to show, with --users.",
)
@click.option(
    "--database-only", is_flag=True, help="Load no snapshot: neither locality is measured nor regions described."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@later_log_options
@json_option
@in_workspace
def report(
    workspace: Workspace,
    ref: str,
    against: str | None,
    file: Path | None,
    as_markdown: bool,
    log: str | None,
    top: int,
    database_only: bool,
    force: bool,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Write the report of a snapshot for whoever approves it. REF is the head by default.

    REF is head, an alias, edit:N or N, or the first characters of a snapshot's id. The report has the plan, what changed,
    metrics with intervals, whether untouched regions answer as before, a map of the regions, what each region is about,
    cost, and the checks of the policy. With --users it has the users whose recommendations changed most.

    The page is one file that loads nothing else. It is written whole or not at all. An existing file is overwritten only
    with --force. The same records give the same bytes.

    \b
    Examples:
      raie report -o report.html
      raie report edit:3 --against production --users log.csv -o report.html
      raie report head --markdown > report.md
    """
    from raie.output_files import require_free

    path = _PAGE if file is None and not as_markdown else file
    if path is not None:
        require_free(path, replace=force)
    users = _users(log, top, reading)
    from raie.review.review import review

    with patient_bars() as progress:
        made = review(workspace, ref, against=against, users=users, database_only=database_only, progress=progress)
    text = _text(made, as_markdown)
    if path is None:
        _print(text, made, output)
        return
    _write(path, text, force)
    output.show(_json(made, path), lambda: [f"{accent(str(path))}  {_compared(made)}"])


def _users(log: str | None, top: int, reading: Mapping[str, Any]) -> UsersOfLog | None:
    if log is None:
        if typed := given_options(_OF_USERS):
            raise UsageError(
                f"expected --users LOG with {typed[0]}, found none: name the log, or leave {typed[0]} out"
            )
        return None
    from raie.review.review import UsersOfLog

    return UsersOfLog(log, top, reading)


def _text(made: Review, as_markdown: bool) -> str:
    if as_markdown:
        from raie.review.markdown import markdown

        return markdown(made)
    from raie.review.page import page

    return page(made)


def _write(path: Path, text: str, force: bool) -> None:
    from raie.output_files import whole_file

    with whole_file(path, replace=force) as stream:
        stream.write(text.encode())


def _print(text: str, made: Review, output: Output) -> None:
    output.show(_json(made, None) | {"markdown": text}, text.splitlines)


def _json(made: Review, path: Path | None) -> dict[str, Any]:
    from raie.review.content import claims

    return {
        "file": None if path is None else str(path),
        "snapshot": made.record.snapshot.id,
        "against": None if made.against is None else made.against.id,
        "against_name": made.against_name,
        "claims": [
            {"name": claim.name, "value": claim.value, "verdict": claim.verdict, "state": claim.state}
            for claim in claims(made)
        ],
        "not_measured": dict(made.missing),
        "alias": made.alias,
        "passes": made.rehearsal.accepted,
        "checks": [check.to_json() for check in made.rehearsal.checks],
    }


def _compared(made: Review) -> str:
    older, newer = made.against, made.record.snapshot
    return short(newer.id) if older is None else step(older.id, newer.id)
