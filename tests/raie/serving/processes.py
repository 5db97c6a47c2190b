"""A server in a process of its own, as `raie serve` starts it, and a client that keeps its connection."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A running server."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def client(self) -> Client:
        return Client(self.url)

    def get(self, path: str) -> Reply:
        with self.client() as client:
            return client.ask("GET", path)

    def post(self, body: Any) -> Reply:
        with self.client() as client:
            return client.post(body)

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        self.wait_for(lambda: self.get("/ready").status == 200, timeout_s)

    def wait_for(self, condition: Any, timeout_s: float = 30.0) -> float:
        """Seconds until a condition held."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < timeout_s, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        return time.monotonic() - begun

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Client:
    """One kept connection; a request that finds it closed is sent once more on a new one, as clients do."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def post(self, body: Any) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/recommend", data)

    def ask(self, method: str, path: str, data: bytes | None = None) -> Reply:
        headers = {"Content-Type": "application/json"} if data is not None else {}
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


@contextmanager
def serving(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """A server of a workspace, killed at the end if it still runs."""
    command = [sys.executable, "-m", "raie.cli.main", "--workspace", str(folder), "serve", "--port", "0", *options]
    log = folder / "server.log"
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "RAIE_ACTOR": "server", **(environment or {})}
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address is not None, log.read_text(encoding="utf-8")
        yield Running(process, address[0], log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
