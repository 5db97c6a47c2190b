"""`--executor`: where the tasks of a command run."""

from __future__ import annotations

import click

from raie.executors.choice import EXECUTORS

__all__ = ["executor_option"]

executor_option = click.option(
    "--executor",
    type=click.Choice(EXECUTORS),
    help="Where tasks run: this machine, or the Ray cluster of RAY_ADDRESS. Without one, ray starts a Ray here. The "
    "result does not depend on it.  [local, RAIE_EXECUTOR, or executor in raie.toml]",
)
