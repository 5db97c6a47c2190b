"""`raie serve`: recommendations over HTTP, from the snapshot that an alias points to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from raie import extras
from raie.cli.ui.log_records import log_records_shown
from raie.cli.ui.option_groups import with_options
from raie.cli.ui.output import say
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

__all__ = ["serve"]

_SECONDS = click.FloatRange(min=0, max=86_400)
_ADDRESS = (
    click.option("--host", metavar="HOST", default="127.0.0.1", show_default=True, help="Address to listen at."),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        metavar="N",
        default=8000,
        show_default=True,
        help="Port to listen at; 0 for any that is free.",
    ),
    click.option(
        "--interval",
        "interval_s",
        type=click.FloatRange(min=0.1, max=86_400),
        metavar="SECONDS",
        default=5.0,
        show_default=True,
        help="How often the registry is asked where the alias points, a fifth more or less.",
    ),
)
_SHADOW = (
    click.option(
        "--shadow", metavar="ALIAS", help="An alias that answers some requests too; nothing of it is returned."
    ),
    click.option(
        "--share",
        type=click.FloatRange(min=0, max=1, min_open=True),
        metavar="X",
        default=0.05,
        show_default=True,
        help="Share of the batches that --shadow answers.",
    ),
    click.option(
        "--record-every",
        "record_every_s",
        type=click.FloatRange(min=1, max=86_400),
        metavar="SECONDS",
        default=600.0,
        show_default=True,
        help="How often the comparison with --shadow is recorded as an evaluation.",
    ),
)
_LOGS = (
    click.option(
        "--log-requests",
        "request_log",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Log region, snapshot and time of each history: a folder, or one .parquet file that is whole at the end.",
    ),
    click.option("--log-users", is_flag=True, help="Log the user too, where a request names one."),
    click.option(
        "--log-every",
        "flush_s",
        type=click.FloatRange(min=0.1, max=86_400),
        metavar="SECONDS",
        default=60.0,
        show_default=True,
        help="How often a folder of --log-requests gets a new file.",
    ),
    click.option(
        "--histories",
        type=click.Path(path_type=Path),
        metavar="LOG",
        help="Requests may name a user of LOG in place of items. Read once, at the start.",
    ),
)
_BOUNDS = (
    click.option(
        "--max-rows",
        type=click.IntRange(min=1),
        metavar="N",
        default=256,
        show_default=True,
        help="Histories in one request.",
    ),
    click.option(
        "--max-k",
        type=click.IntRange(min=1),
        metavar="K",
        default=1000,
        show_default=True,
        help="Items per history.",
    ),
    click.option(
        "--max-items",
        type=click.IntRange(min=1),
        metavar="N",
        default=10_000,
        show_default=True,
        help="Items in one history, and candidates.",
    ),
    click.option(
        "--max-bytes",
        type=click.IntRange(min=1),
        metavar="N",
        default=4 * 2**20,
        show_default=True,
        help="Bytes in one request.",
    ),
    click.option(
        "--max-seconds",
        type=click.FloatRange(min=0.01, max=3600),
        metavar="SECONDS",
        default=10.0,
        show_default=True,
        help="How long a request may take.",
    ),
)
_BATCHES = (
    click.option(
        "--batch-rows",
        type=click.IntRange(min=1),
        metavar="N",
        default=64,
        show_default=True,
        help="Histories that are scored together.",
    ),
    click.option(
        "--batch-wait",
        "wait_s",
        type=click.FloatRange(min=0, max=1),
        metavar="SECONDS",
        default=0.001,
        show_default=True,
        help="How long a request waits for others, where several clients ask.",
    ),
    click.option(
        "--queue-rows",
        type=click.IntRange(min=1),
        metavar="N",
        default=1024,
        show_default=True,
        help="Histories that may wait; more are refused (503).",
    ),
    click.option(
        "--drain",
        "drain_s",
        type=_SECONDS,
        metavar="SECONDS",
        default=1.0,
        show_default=True,
        help="From SIGTERM on: how long requests are still taken.",
    ),
    click.option(
        "--stop",
        "stop_s",
        type=click.FloatRange(min=1, max=86_400),
        metavar="SECONDS",
        default=10.0,
        show_default=True,
        help="After --drain: how long requests may take to finish.",
    ),
)


def _serve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(command, (*_ADDRESS, *_SHADOW, *_LOGS, *_BOUNDS, *_BATCHES))


@click.command()
@click.option("--alias", metavar="ALIAS", default="production", show_default=True, help="The alias to follow.")
@_serve_options
@in_workspace
def serve(workspace: Workspace, **options: Any) -> None:
    """Serve recommendations over HTTP, from the snapshot that an alias points to.

    The registry says which snapshot that is, under the alias's policy. After a promotion or a rollback the new snapshot
    is loaded and verified beside the old one, and takes over between two requests. If the database or the store does not
    answer, or a blob is damaged, the old snapshot goes on. Before the first one is loaded, the answer is 503.

    POST /recommend answers histories; GET /snapshot, /health, /ready, /metrics and /openapi.json answer about the server.
    SIGTERM and Ctrl+C stop it once its requests are answered (exit code 0). It asks nobody for a password: put a proxy
    before it where others than this machine may reach it.

    \b
    Examples:
      raie serve
      raie serve --alias production --port 8080 --log-requests requests/
      raie serve --alias production --shadow candidate --share 0.05
    """
    extras.require("engine", "serve")
    from raie.serving.schema import Limits
    from raie.serving.server import ServeOptions, server
    from raie.serving.service import Batching

    limits = Limits(
        rows=options.pop("max_rows"),
        k=options.pop("max_k"),
        items=options.pop("max_items"),
        bytes=options.pop("max_bytes"),
        seconds=options.pop("max_seconds"),
    )
    batching = Batching(
        rows=options.pop("batch_rows"), wait_s=options.pop("wait_s"), queue_rows=options.pop("queue_rows")
    )
    with _log_shown():
        made = server(workspace, ServeOptions(limits=limits, batching=batching, **options))
        say(f"serving {workspace.model}@{made.options.alias} at {made.url} (Ctrl+C stops it)")
        made.run()


def _log_shown() -> AbstractContextManager[None]:
    """A server says what it meets, also without --verbose: nobody reads its exit code for weeks."""
    verbose = click.get_current_context().find_root().params.get("verbose", 0)
    return nullcontext() if verbose else log_records_shown(1)
