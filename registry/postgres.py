"""How PostgreSQL is waited for. The only file that imports psycopg; imported where a database's URL names PostgreSQL.

Who ends a wait: for a connection, psycopg; for a lock or a statement, the server, which then says so; for a host that
is gone, the TCP timers of both sides; and for everything else the deadline in here: a pooler, a firewall or a stopped
server that keeps the connection and says nothing answers every TCP probe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from math import ceil
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

__all__ = ["TIMEOUT_S", "arguments", "connector"]

T = TypeVar("T")

TIMEOUT_S = 30.0
CONNECT_S = 5
LOCK_S = 15.0
GONE_S = 30
"""Either side takes the other for gone when the network has let nothing through for so long."""
IDLE_S = 600
"""The server ends a transaction whose client lives and asks nothing: a stopped process must not keep its locks."""

_PROBES = {"idle": GONE_S // 2, "interval": GONE_S // 6, "count": 3}


def arguments(timeout_s: float, query: Mapping[str, Any]) -> dict[str, Any]:
    """What psycopg.connect is given beside what the URL's query says, which wins."""
    server = {
        # Both end before the deadline: the server's own refusal says more than silence.
        "lock_timeout": min(LOCK_S, 0.5 * timeout_s),
        "statement_timeout": 0.8 * timeout_s,
        "idle_in_transaction_session_timeout": IDLE_S,
        # A client that is gone with its machine or its network: by itself the server keeps its locks for hours.
        "tcp_user_timeout": GONE_S,
    }
    settings = {name: round(1000 * seconds) for name, seconds in server.items()}
    settings |= {f"tcp_keepalives_{name}": value for name, value in _PROBES.items()}
    options = [*(f"-c {name}={value}" for name, value in settings.items()), str(query.get("options", ""))]
    client = {
        "connect_timeout": min(CONNECT_S, ceil(timeout_s)),
        "application_name": "raie",
        "tcp_user_timeout": 1000 * GONE_S,
    }
    client |= {f"keepalives_{name}": value for name, value in _PROBES.items()}
    wanted = {name: value for name, value in client.items() if name not in query}
    return wanted | {"options": " ".join(options).rstrip()}


def connector(timeout_s: float) -> Callable[..., psycopg.Connection[Any]]:
    """A handler of SQLAlchemy's do_connect whose connections wait for every answer for timeout_s at most."""

    def connect(_dialect: Any, _record: Any, given: list[Any], named: dict[str, Any]) -> psycopg.Connection[Any]:
        connection = _Connection.connect(*given, **named)
        connection.timeout_s = timeout_s
        return connection

    return connect


class _Connection(psycopg.Connection[Any]):
    """A connection that closes itself rather than wait for ever."""

    timeout_s = TIMEOUT_S

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
        """As psycopg's; raises OperationalError, the connection closed, where there is no answer in time."""
        return super().wait(self._until(time.monotonic() + self.timeout_s, gen), *arguments, **options)

    def _until(self, ends: float, gen: PQGen[T]) -> Generator[Any, Any, T]:
        """The same dialogue with the socket, ended at a time; psycopg reports every tenth of a second."""
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if time.monotonic() >= ends:
                    self.close()
                    raise psycopg.OperationalError(f"no answer within {self.timeout_s:.3g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result
