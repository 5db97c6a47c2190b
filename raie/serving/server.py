"""A server from its start to its end: what it is made of, when it is ready, and how it stops without losing a request."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from raie.actor import actor
from raie.chain_head import publish_chain_head
from raie.engine.answers import Query
from raie.engine.errors import EngineError
from raie.errors import RaieError, UsageError
from raie.extras import require
from raie.logs.log_reading import read_later_log
from raie.registry import Author, DatabaseUnreachable, StoreError, Untrusted, trust
from raie.serving.app import create_app
from raie.serving.follower import POLL_S, Follower
from raie.serving.request_log import RequestLog
from raie.serving.schema import Limits
from raie.serving.service import Batching, Service
from raie.serving.shadow import Comparison, Shadow
from raie.serving.sources import AliasSource

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["ServeOptions", "Server", "server", "stored_histories"]

_log = logging.getLogger(__name__)
_FIRST_POLL_S = 1.0
_BACKLOG = 1024
_KEEP_ALIVE_S = 75
"""Longer than load balancers keep an idle connection: who closes first must not be the one that is about to be asked."""


@dataclass(frozen=True)
class ServeOptions:
    """How a model is served.

    Attributes:
        alias: The alias that is followed.
        host, port: Where it listens.
        interval_s: Seconds between two questions to the registry.
        shadow: An alias that answers some batches too; None for none.
        share: Of the batches that the shadow answers.
        record_every_s: Seconds between two recorded evaluations of the shadow.
        request_log: Where requests are logged: a .parquet file or a folder; None for nowhere.
        log_users: Whether the log holds users.
        flush_s: Seconds after which a folder gets what was logged.
        histories: A log whose users may be named in place of items; None for none.
        limits: What one request may ask for.
        batching: How requests are answered together.
        drain_s: Seconds from SIGTERM on in which requests are still taken, on connections that are then closed.
        stop_s: Seconds after those in which requests may finish.
    """

    alias: str = "production"
    host: str = "127.0.0.1"
    port: int = 8000
    interval_s: float = POLL_S
    shadow: str | None = None
    share: float = 0.05
    record_every_s: float = 600.0
    request_log: Path | None = None
    log_users: bool = False
    flush_s: float = 60.0
    histories: Path | None = None
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    drain_s: float = 1.0
    stop_s: float = 10.0


class _Uvicorn(uvicorn.Server):
    """Goes on for a while after the first signal, so that whoever balances the load learns of it first."""

    def __init__(self, config: uvicorn.Config, service: Service, drain_s: float) -> None:
        super().__init__(config)
        self._service, self._drain_s = service, drain_s

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """A second signal ends the server at once."""
        if self._service.draining:
            self.should_exit = self.force_exit = True
            return
        self._service.draining = True
        timer = threading.Timer(self._drain_s, setattr, (self, "should_exit", True))
        timer.daemon = True
        timer.start()


@dataclass
class Server:
    """A server that is about to run.

    Attributes:
        service: What answers.
        options: How it is served.
        workspace: Whose model it is.
    """

    service: Service
    options: ServeOptions
    workspace: Workspace
    _socket: socket.socket = field(repr=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def run(self) -> None:
        """Answer until SIGTERM or SIGINT; then finish what was begun, write the log and record the shadow."""
        options, service = self.options, self.service
        config = uvicorn.Config(
            create_app(service),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(options.stop_s)),
        )
        runners = _runners(service)
        for runner in runners:
            runner.start()
        threading.Thread(target=self._get_ready, name="raie-ready", daemon=True).start()
        try:
            _Uvicorn(config, service, options.drain_s).run([self._socket])
        finally:
            self._socket.close()
            for follower in self._followers():
                follower.stop(0)
            for runner in reversed(runners):
                runner.stop(options.stop_s)

    def _followers(self) -> list[Follower]:
        shadow = self.service.shadow
        return [self.service.follower, *([] if shadow is None else [shadow.follower])]

    def _get_ready(self) -> None:
        """Load the first snapshot as soon as the registry and the store answer, and then the stored histories."""
        for follower in self._followers():
            while follower.loaded is None and not follower.check():
                time.sleep(min(_FIRST_POLL_S, self.options.interval_s))
            follower.start()
            if follower is self.service.follower and self.options.histories is not None:
                self.service.stored = stored_histories(follower, self.options.histories)


def _runners(service: Service) -> list[Shadow | RequestLog]:
    return [runner for runner in (service.shadow, service.request_log) if runner is not None]


def server(workspace: Workspace, options: ServeOptions) -> Server:
    """A server of a workspace's model, its port taken.

    Args:
        workspace: Whose model it is.
        options: How it is served.

    Returns:
        The server; `run` makes it answer. Where the database or the store is away it answers 503 until they are there.

    Raises:
        MissingExtra: The extra `serve` is not installed.
        RegistryError: There is no such model or alias, or the database is of another revision.
        UsageError: The shadow is the alias itself, or the address cannot be listened at.
        RaieError: The file of the log is there already.
    """
    require("engine", "serve")
    if options.shadow == options.alias:
        raise UsageError(f"expected another alias than {options.alias!r} as the shadow, found the same")
    follower = _follower(workspace, options.alias, options)
    shadow = None
    if options.shadow is not None:
        shadow = Shadow(
            _follower(workspace, options.shadow, options),
            share=options.share,
            record=lambda comparison: _record(workspace, options, comparison),
            every_s=options.record_every_s,
        )
    request_log = None
    if options.request_log is not None:
        request_log = RequestLog(options.request_log, users=options.log_users, flush_s=options.flush_s)
    service = Service(
        workspace.model,
        follower,
        limits=options.limits,
        batching=options.batching,
        shadow=shadow,
        request_log=request_log,
    )
    return Server(service, options, workspace, _listening(options))


def _follower(workspace: Workspace, alias: str, options: ServeOptions) -> Follower:
    """A follower of an alias that is there, as far as the registry answers now."""
    source = AliasSource(workspace.registry, workspace.model, alias, workspace.backbone_file)
    try:
        source.pointed_at()
    except (DatabaseUnreachable, StoreError, Untrusted) as error:
        _log.warning("alias %r: %s", alias, error)
    return Follower(source, interval_s=options.interval_s)


def _listening(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where a socket names its protocol; on, it holds each answer back for 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        listening.listen(_BACKLOG)  # whoever reads the address may connect at once
    except OSError as error:
        listening.close()
        raise UsageError(
            f"expected to listen at {options.host}, port {options.port}, found {error.strerror or error}; name another "
            "with --host and --port"
        ) from error
    return listening


def _record(workspace: Workspace, options: ServeOptions, comparison: Comparison) -> None:
    """Keep what the shadow measured as an evaluation. Raises: RegistryError."""
    reason = f"shadow of {options.alias}, share {options.share:g}"
    trust.record_evaluation(
        workspace.registry(),
        workspace.model,
        comparison.candidate,
        comparison.served,
        comparison.report(),
        author=Author(actor(), reason),
    )
    publish_chain_head(workspace)


def stored_histories(follower: Follower, log: Path) -> Mapping[str, Query]:
    """The history of every user of a log.

    Args:
        follower: Whose snapshot says how logs are read.
        log: The interactions.
    """
    try:
        interactions = read_later_log(follower.current.view, log)
    except (EngineError, RaieError, OSError) as error:
        _log.warning("histories of users: %s", error)
        return {}
    ids, users = interactions.catalogue.items, interactions.catalogue.users
    items: dict[str, list[str]] = {}
    times: dict[str, list[int]] = {}
    for user, item, at in zip(
        interactions.user.tolist(), interactions.item.tolist(), interactions.timestamp.tolist(), strict=True
    ):
        items.setdefault(users[user], []).append(ids[item - 1])
        times.setdefault(users[user], []).append(at)
    return {user: Query(tuple(mine), tuple(times[user])) for user, mine in items.items()}
