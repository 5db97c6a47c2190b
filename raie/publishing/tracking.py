"""The same history on MLflow's pages: publish it, see how far MLflow is behind, and serve the pages.

MLflow is imported by the calls that talk to it, and only where there is something to say.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.callbacks import Progress, ignore_progress
from raie.chain_head import publishes_chain_head
from raie.errors import UsageError
from raie.extras import require
from raie.pages.model_history import model_history_page
from raie.publishing.edit_facts import EditFactsReader
from raie.publishing.served_code import MODEL_CODE
from raie.registry.db.shown_url import shown
from raie.registry.mlflow import publisher
from raie.registry.outbox_records import OutboxStatus, SyncReport

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["PagesServer", "Sync", "TrackingStatus", "pages_server", "status", "sync"]


@dataclass(frozen=True)
class Sync:
    """What was published to the MLflow of this tracking URI, which is shown without secrets."""

    tracking_uri: str
    report: SyncReport

    @property
    def refused(self) -> bool:
        """Whether MLflow refused an event, or an alias could not be put back; an outage is neither."""
        return bool(self.report.failed) or any(not gap.is_closed for gap in self.report.aliases)


@dataclass(frozen=True)
class TrackingStatus:
    """How far the MLflow of this tracking URI, which is shown without secrets, is behind the registry."""

    tracking_uri: str
    outbox: OutboxStatus

    @property
    def refused(self) -> bool:
        """Whether an event failed, or MLflow shows an alias elsewhere; events that only wait are neither."""
        return bool(self.outbox.aliases) or any(not failure.is_outage for failure in self.outbox.failures)


@dataclass(frozen=True)
class PagesServer:
    """The command line and the environment of the server of MLflow's pages, for os.execve, and where it serves."""

    url: str
    arguments: list[str]
    environment: dict[str, str]


@publishes_chain_head
def sync(workspace: Workspace, *, again: bool = False, progress: Progress = ignore_progress) -> Sync:
    """Publish what MLflow does not show yet: every edit as a run, every snapshot as a version, every alias.

    A model of which something was published gets a new page of its whole history.

    Args:
        workspace: Whose registry and MLflow they are.
        again: Publish the whole history once more, which adds only what MLflow does not have.
        progress: Called as events are published.

    Returns:
        What was published, what remains and why.

    Raises:
        InvalidValue: The tracking URI is none.
        NotOwner: The database is a copy of a registry, which publishes the same.
    """
    require("mlflow")
    registry, uri = workspace.registry(), workspace.tracking_uri
    report = publisher.sync(
        registry,
        uri,
        MODEL_CODE,
        again=again,
        progress=progress,
        history_page=lambda model: model_history_page(registry, model, uri),
        facts=EditFactsReader(registry),
    )
    return Sync(shown(workspace.tracking_uri), report)


def status(workspace: Workspace) -> TrackingStatus:
    """What is published, what is pending and why, and which aliases MLflow shows elsewhere.

    Args:
        workspace: Whose registry and MLflow they are.

    Returns:
        The status.

    Raises:
        InvalidValue: The tracking URI is none.
    """
    outbox = publisher.status(workspace.registry(), workspace.tracking_uri)
    return TrackingStatus(shown(workspace.tracking_uri), outbox)


def pages_server(workspace: Workspace, port: int) -> PagesServer:
    """The server of MLflow's pages over this workspace's records; makes the file that it shows.

    Args:
        workspace: Whose records they are.
        port: On this machine only.

    Returns:
        What starts the server, and the address of the model's page; of the list of models where MLflow has no such model.

    Raises:
        InvalidValue: The records are a server's, whose pages are there already.
        MlflowUnreachable: The file cannot be made.
        UsageError: Another process serves at this port.
    """
    from raie.registry.mlflow.client import make_file, model_page, ui_command

    require("mlflow")
    arguments, environment = ui_command(workspace.tracking_uri, port)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UsageError(f"expected a free port, found that another process serves at {port}: add --port N")
    # The server would make the file in place, and leave half of one where it is interrupted.
    make_file(workspace.tracking_uri)
    page = model_page(workspace.tracking_uri, workspace.model)
    return PagesServer(f"http://127.0.0.1:{port}/{page}", arguments, environment)
