"""`raie config show`: every value in force, and who chose it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import Output, json_option, one_line, table
from raie.cli.ui.workspace_option import in_workspace
from raie.configuration.settings import Origin
from raie.errors import UsageError
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.environment.shown_settings import ShownSetting

__all__ = ["show"]


@click.command()
@click.argument("key", required=False)
@click.option("--changed", is_flag=True, help="Only what somebody chose: nothing that is built in.")
@json_option
@in_workspace
def show(workspace: Workspace, key: str | None, changed: bool, output: Output) -> None:
    """Show every value in force, and who chose it.

    KEY is a key of raie.toml, such as store, or the beginning of several, such as engine.regions. The environment comes
    before raie.toml, and raie.toml before what is built in. The file is named with the line. A secret is never shown: a
    password in a URL is ***, and any other secret that is set is "set, hidden".

    \b
    Examples:
      raie config show
      raie config show engine.regions
      raie config show --changed --json
    """
    from raie.environment.shown_settings import shown_settings

    settings = shown_settings(workspace)
    wanted = [s for s in settings if key is None or s.name == key or s.name.startswith(f"{key}.")]
    if not wanted:
        raise _unknown(key or "", [setting.name for setting in settings])
    wanted = [s for s in wanted if not changed or s.origin is not Origin.BUILT_IN]
    value: dict[str, Any] = {"workspace": _workspace_json(workspace), "settings": [vars(s) for s in wanted]}
    output.show(value, lambda: _lines(workspace, wanted))


def _unknown(key: str, names: Sequence[str]) -> UsageError:
    """The error for a key that is none; what is meant is looked for in the table that is named, if that is one."""
    table_, _, last = key.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in names if name.rpartition(".")[0] == table_}
    message = f"expected a key of raie.toml, found {key!r}; `raie config show` lists them"
    return UsageError(message, last, siblings) if siblings else UsageError(message, key, {n: n for n in names})


def _workspace_json(workspace: Workspace) -> dict[str, Any]:
    return {"folder": str(workspace.folder), "chosen_by": _chosen_by()}


def _chosen_by() -> str:
    """Who chose the workspace."""
    source = click.get_current_context().find_root().get_parameter_source("workspace")
    words = {"COMMANDLINE": "--workspace", "ENVIRONMENT": "RAIE_WORKSPACE"}
    return words.get("" if source is None else source.name, "the nearest at or above the current folder")


def _lines(workspace: Workspace, settings: Sequence[ShownSetting]) -> list[str]:
    rows = [[s.name, one_line(_text(s.value)), one_line(s.source or s.origin.value)] for s in settings]
    head = f"workspace {one_line(str(workspace.folder))}, {_chosen_by()}"
    return [head, *(table(["key", "value", "from"], rows) if rows else ["nothing is chosen"])]


def _text(value: Any) -> str:
    """As raie.toml spells it, without the quotes."""
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)
