"""`raie`: the table of all commands, and where an error becomes one line and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from raie import extras
from raie.cli import errors
from raie.cli.lazy import LazyGroup, Section
from raie.cli.suggestions import suggestion_of
from raie.cli.ui.log_records import log_records_shown
from raie.cli.ui.output import harmless, one_line

__all__ = ["main", "raie", "run"]


def _group(name: str, help_line: str, examples: tuple[str, ...], section: Section) -> LazyGroup:
    shown = "".join(f"  {example}\n" for example in examples)
    return LazyGroup(name, help=f"{help_line}\n\n\b\nExamples:\n{shown}", sections={"Commands": section})


_DATA = _group(
    "data",
    "Inspect interaction logs, or generate one.",
    ("raie data describe ratings.dat", "raie data synth log.csv"),
    {
        "describe": ("start.data:describe", "Describe a log: what a model learns from it, what will go wrong."),
        "synth": ("start.data:synth", "Generate a drifting log whose ground truth is known."),
    },
)
_EDIT = _group(
    "edit",
    "Plan, apply and inspect edits.",
    ("raie edit plan new.csv", "raie edit apply new.csv", "raie edit show 3"),
    {
        "plan": ("change.edit_apply:plan", "Show what an edit would do, region by region."),
        "apply": ("change.edit_apply:apply", "Train the touched regions and commit a new snapshot."),
        "resume": ("change.edit_apply:resume", "Finish an edit or a setup that was interrupted."),
        "list": ("change.edit_list:list_edits", "List the edits, newest first."),
        "show": ("change.edit_list:show", "Show one edit: who, why, and what it did to each region."),
        "diff": ("look.diff:edit_diff", "Compare two snapshots, or an edit with its base, as `raie diff` does."),
        "abort": ("change.edit_list:abort", "Close a running or abandoned edit without a result."),
    },
)
_ADAPTER = _group(
    "adapter",
    "Export the adapters of regions for PEFT and vLLM, and import them.",
    ("raie adapter export production out --region 3", "raie adapter import out"),
    {
        "export": ("change.adapter:export", "Export a region's adapter in the format of PEFT, with a model card."),
        "import": ("change.adapter:import_adapter", "Import an adapter of PEFT as an edit of one region."),
    },
)
_SNAPSHOT = _group(
    "snapshot",
    "Move a snapshot with its history between registries.",
    ("raie snapshot export production recsys.tar", "raie snapshot import recsys.tar"),
    {
        "export": (
            "keep.snapshot:export",
            "Write a snapshot with its history, evaluations and signatures into a new file.",
        ),
        "import": (
            "keep.snapshot:import_snapshot",
            "Check a file of `raie snapshot export` and add what is not here yet.",
        ),
    },
)
_ALIAS = _group(
    "alias",
    "Inspect, rename and delete aliases.",
    ("raie alias list", "raie alias history production", 'raie alias delete staging --reason "trial is over"'),
    {
        "list": ("change.promote:list_aliases", "List the aliases and what they point at."),
        "history": ("change.promote:alias_history", "List the moves of an alias, newest first."),
        "rename": ("change.alias:rename", "Rename an alias."),
        "delete": ("change.alias:delete", "Delete an alias."),
    },
)
_REGIONS = _group(
    "regions",
    "Inspect the regions of a snapshot.",
    ("raie regions list production", "raie regions show 2"),
    {
        "list": ("look.regions:list_regions", "List the regions of a snapshot with their versions."),
        "show": ("look.regions:show", "Show the versions of one region, and the edits that made them."),
    },
)
_KEYS = _group(
    "keys",
    "Generate signing keys, and choose which keys are trusted.",
    ("raie keys generate release.pem", "raie keys trust release.pem.pub --name release", "raie keys list"),
    {
        "generate": ("trust.keys:generate", "Generate an ed25519 key pair."),
        "trust": ("trust.keys:trust", "Trust a public key."),
        "list": ("trust.keys:list_keys", "List the keys that are or were trusted."),
        "revoke": ("trust.keys:revoke", "End the trust in a key."),
    },
)
_ATTEST = _group(
    "attest",
    "Write a signed attestation of a snapshot, or verify one.",
    ("raie attest write production --key release.pem -o release.json", "raie attest verify release.json"),
    {
        "write": ("trust.attest:write", "Write a signed attestation of a snapshot."),
        "verify": ("trust.attest:verify", "Check an attestation: its signature, and every blob that it names."),
    },
)
_POLICY = _group(
    "policy",
    "Set the checks that a promotion to an alias must pass.",
    ("raie policy set production --retention -0.02 --second-person", "raie policy check head"),
    {
        "set": ("trust.policy:set_policy", "Protect an alias, or change its policy."),
        "show": ("trust.policy:show", "Show the policies in force."),
        "history": ("trust.policy:history", "List every version of an alias's policy, newest first."),
        "check": ("trust.policy:check", "Show every check of a promotion, passed or not."),
    },
)
_DB = _group(
    "db",
    "Manage the database's schema and its roles.",
    ("raie db current", "raie db upgrade", "raie db grant"),
    {
        "upgrade": ("keep.verify:upgrade", "Upgrade the database to the schema of this version."),
        "current": ("keep.verify:current", "Print the database's schema revision and the one expected."),
        "grant": ("keep.db_grant:grant", "Make the roles reader, editor, promoter and collector."),
    },
)
_REGISTRY = _group(
    "registry",
    "Show which registry this is, and manage which store it owns.",
    ("raie registry show", 'raie registry fork --reason "disaster drill"'),
    {
        "show": (
            "keep.registry:show",
            "Show the registry's id, its part of the store, and whether it may write there.",
        ),
        "fork": ("keep.registry:fork", "Turn this copy of a database into a registry of its own."),
        "move": ("keep.registry:move", "Let this database take the store over from another copy of it."),
        "separate": ("keep.registry:separate", "Give this registry a part of the store of its own."),
    },
)
_AUDIT = _group(
    "audit",
    "List who did what, and verify that nobody changed the record.",
    ("raie audit log", "raie audit verify", "raie audit export audit.jsonl", "raie audit report"),
    {
        "log": ("keep.audit:log", "List the audit events of every model, newest first."),
        "verify": ("keep.audit:verify", "Recompute the audit chain and compare it with its checkpoints."),
        "export": ("keep.audit:export", "Write the audit events as JSON lines."),
        "report": (
            "keep.audit_report:report",
            "Write what an alias served when, who let it through, and on which data.",
        ),
    },
)
_MLFLOW = _group(
    "mlflow",
    "Show edits and snapshots in MLflow.",
    ("raie mlflow sync", "raie mlflow ui"),
    {
        "sync": ("keep.mlflow:sync", "Publish what MLflow does not show yet."),
        "status": (
            "keep.mlflow:status",
            "Show what is published, what is pending and why, and where aliases differ.",
        ),
        "ui": ("keep.mlflow:ui", "Serve MLflow's pages over this workspace's records."),
    },
)
_EVENTS = _group(
    "events",
    "Send events to others: OpenLineage and webhooks.",
    ("raie events status", "raie events send"),
    {
        "status": ("keep.events:status", "Show each consumer of events and how far it is behind."),
        "send": ("keep.events:send", "Send each consumer the events that it waits for, once."),
        "retry": ("keep.events:retry", "Send a failed event again now, and what waits behind it."),
        "skip": ("keep.events:skip", "Go on without a failed event, which the consumer never gets."),
    },
)

_CONFIG = _group(
    "config",
    "Show the configuration.",
    ("raie config show", "raie config show --changed"),
    {"show": ("start.config:show", "Show every value in force, and who chose it.")},
)

_SECTIONS: Mapping[str, Section] = {
    "Start": {
        "demo": ("start.demo:demo", "Run every step, from a log to a rollback, in a new workspace."),
        "init": ("start.init:init", "Make a workspace: raie.toml, a database and a blob store."),
        "config": _CONFIG,
        "completion": (
            "start.completion:completion",
            "Print the script that makes a shell complete commands, options and values.",
        ),
        "data": _DATA,
        "setup": ("start.setup:setup", "Train the backbone, fit the regions, commit the first snapshot."),
    },
    "Change": {
        "edit": _EDIT,
        "promote": ("change.promote:promote", "Point an alias at a snapshot, or at one region's other version."),
        "rollback": ("change.promote:rollback", "Undo one edit, or go back to an older snapshot."),
        "note": ("change.note:note", "Add a note to a snapshot."),
        "tag": ("change.note:tag", "Tag a snapshot, or remove a tag."),
        "adapter": _ADAPTER,
    },
    "Look": {
        "status": ("look.status:status", "Show the state of the model: head, aliases, unfinished edits."),
        "models": ("look.models:list_models", "List the models of the registry."),
        "doctor": (
            "look.doctor:doctor",
            "Check the machine, and the workspace with its database, store and MLflow.",
        ),
        "log": ("look.log:log", "Show the history of snapshots as a tree."),
        "show": ("look.show:show", "Show one snapshot: who made it and why, what it changed, its regions."),
        "diff": ("look.diff:diff", "Compare two snapshots: edits, regions, and whose top 10 changed."),
        "report": ("look.report:report", "Write the report of a snapshot for whoever approves it."),
        "lineage": ("look.lineage:lineage", "Show what a snapshot consists of, and where each part came from."),
        "regions": _REGIONS,
        "alias": _ALIAS,
        "evaluate": ("look.evaluate:evaluate", "Evaluate a snapshot on a log."),
        "drift": ("look.drift:drift", "Show which regions drift, and whether an edit is worth it."),
        "compare": ("look.compare:compare", "Compare strategies over several edits of a log."),
        "recommend": ("look.evaluate:recommend", "Recommend items to users of a log."),
        "serve": ("look.serve:serve", "Serve recommendations over HTTP, following an alias."),
    },
    "Trust": {
        "policy": _POLICY,
        "approve": ("trust.approve:approve", "Approve the promotion of a snapshot."),
        "sign": ("trust.sign:sign", "Sign a snapshot with your private key."),
        "attest": _ATTEST,
        "bom": ("trust.bom:bom", "Write the bill of materials of a snapshot."),
        "keys": _KEYS,
    },
    "Keep": {
        "verify": (
            "keep.verify:verify",
            "Check every blob, every reference, every signature and the audit chain.",
        ),
        "audit": _AUDIT,
        "expire": ("keep.expire:expire", "Expire old snapshots by a retention rule."),
        "gc": ("keep.verify:gc", "Delete blobs that nothing refers to."),
        "erase": ("keep.erase:erase", "Erase a user, or prove what is left of one."),
        "backup": ("keep.backup:backup", "Copy the database at one moment, with the list of its blobs."),
        "restore": ("keep.backup:restore", "Check a backup and restore it."),
        "snapshot": _SNAPSHOT,
        "db": _DB,
        "registry": _REGISTRY,
        "mlflow": _MLFLOW,
        "events": _EVENTS,
    },
}

_OTHER_WORDS = {
    "deploy": "promote",
    "history": "log",
    "info": "show",
    "release": "promote",
    "revert": "rollback",
    "rollout": "promote",
    "undo": "rollback",
}
"""Words of other tools, each with the command that does it here."""

_EPILOG = """\
\b
Exit codes:
    0  done
    1  refused, or any other error
    2  wrong usage
    3  the input data cannot be used
    4  conflict: the head, an alias or a region has moved since, or the store is another's
    5  integrity: a damaged or missing blob, a broken chain, another backbone
    6  the database or the store cannot be reached, or is full
    7  a problem that raie status or raie doctor found, or something left of an erased user
  130  interrupted (143: terminated)

\b
Environment:
  RAIE_WORKSPACE     folder of raie.toml, as --workspace
  RAIE_TRUST_WORKSPACE  folders of other users whose raie.toml is used without being named, or *
  RAIE_DATABASE_URL  database, before the one in raie.toml
  RAIE_STORE         blob store, before the one in raie.toml
  RAIE_EXECUTOR      where tasks run, local or ray, before the one in raie.toml
  RAIE_MODEL         model, before the one in raie.toml
  RAIE_BACKBONE_FILE Python file of your backbone, before the one in raie.toml
  RAIE_EVENTS_NAME_URL  URL of the consumer of events NAME, before the one in raie.toml
  RAIE_ALIAS         alias that a model loaded by MLflow follows
  RAIE_ALIAS_INTERVAL  how often it asks the registry, in seconds
  RAIE_ACTOR         who acts, in the history (else the user of the system)
  RAIE_SIGNING_KEY   file of the private key, as --key
  RAIE_SIGNING_PASSPHRASE  its passphrase (else it is asked for)
  RAIE_ERASE_KEY     file of the key for the hashes of erased users, as --key
  RAIE_DEBUG=1       show the traceback of an error
  NO_COLOR           no colour

\b
Completion: eval "$(raie completion bash)" in ~/.bashrc; zsh and fish: raie completion --help
"""


@click.group(
    cls=LazyGroup,
    sections=_SECTIONS,
    other_words=_OTHER_WORDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    envvar="RAIE_WORKSPACE",
    metavar="DIR",
    help="Folder of raie.toml.  [the nearest at or above the current folder]",
)
@click.option(
    "--model", metavar="NAME", help="Model of the registry.  [RAIE_MODEL, then the one in raie.toml, then recsys]"
)
@click.option("--no-color", is_flag=True, expose_value=False, help="Print without colors.")
@click.option(
    "-v", "--verbose", count=True, help="Log to standard error what is retried or slow; twice: every step."
)
@click.version_option(package_name="raie", message="raie %(version)s")
@click.pass_context
def raie(ctx: click.Context, workspace: Path | None, model: str | None, verbose: int) -> None:
    """Edit a recommender region by region, and keep every state of it.

    A snapshot is one state of the model. An edit makes the next snapshot from new interactions. An
    alias such as production points at the snapshot in use. A rollback restores older content.

    \b
    Examples:
      raie demo
      raie init && raie setup ratings.dat
      raie edit plan ratings.dat
      raie log
    """
    ctx.obj = workspace
    ctx.with_resource(log_records_shown(verbose))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: The words after `raie`; without them, those that the process was started with.

    Returns:
        The exit code. Of any error one line is printed.
    """
    if instruction := os.environ.get("_RAIE_COMPLETE"):
        from raie.cli.completion import complete

        return complete(raie, instruction)
    words = list(sys.argv[1:] if arguments is None else arguments)
    color = _color(words)
    try:
        # Not raie.main(): it has an edge of its own, which turns a closed pipe into a failure.
        with raie.make_context("raie", list(words), color=color) as context:
            raie.invoke(context)
        sys.stdout.flush()
        return errors.OK
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        return _misused(error)
    except (click.Abort, KeyboardInterrupt, EOFError) as stopped:
        return _fail("; ".join(["interrupted", *getattr(stopped, "__notes__", ())]), errors.INTERRUPTED, color)
    except BrokenPipeError:
        return _reader_left()
    except Exception as error:
        return _report(error, color)


def _color(words: Sequence[str]) -> bool | None:
    """False where colors are not wanted or not understood; None lets click look at the terminal.

    Read before click parses, because a wrong command line is reported in colors too. A command that runs others, as
    `raie demo` does, hands its choice on.
    """
    outer = click.get_current_context(silent=True)
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or "--no-color" in words
    return False if unwanted or (outer is not None and outer.color is False) else None


def _misused(error: click.ClickException) -> int:
    """Say how the command is used; the message repeats what was typed, or what a file held."""
    shown = io.StringIO()
    error.show(shown)
    click.echo(harmless(shown.getvalue()), nl=False, err=True)
    return error.exit_code


def _report(error: Exception, color: bool | None) -> int:
    """Say what went wrong in one line; more only where RAIE_DEBUG asks for it."""
    if os.environ.get("RAIE_DEBUG") == "1":
        traceback.print_exc()
    if isinstance(error, ImportError):
        error = extras.explain(error) or error
    code = errors.exit_code(error)
    words = one_line(" ".join(_words(error).split())) + one_line(suggestion_of(error))
    if code is None:
        bug = f"unexpected {type(error).__name__}: {words}: this is a bug; RAIE_DEBUG=1 shows where"
        return _fail(bug, errors.REFUSED, color)
    return _fail(words or type(error).__name__, code, color)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _fail(words: str, code: int, color: bool | None) -> int:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {words}", err=True, color=color)
    return code


def _reader_left() -> int:
    """End quietly when the reader of our output has left, as `raie log | head` does."""
    # Python flushes stdout once more at exit; into /dev/null that cannot fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return errors.OK


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # Raised, not killed: open transactions roll back and started servers are stopped on the way out. os.write, as
    # the signal may have come in the middle of a print.
    os.write(2, b"error: terminated\n")
    raise SystemExit(errors.TERMINATED)


def main() -> NoReturn:
    """The console script."""
    # A signal that whoever started us ignores, as `trap '' TERM` does, stays ignored; Python keeps SIGINT that way too.
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show the tree's lines gets question marks, not a crash.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(run())


if __name__ == "__main__":
    main()
