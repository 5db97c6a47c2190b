"""A server whose database and store are killed under load answers rightly on, and follows again once they are back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from tests.conftest import S3_NAME, database, running_postgres, running_s3, s3_containers
from tests.raie.serving.conftest import stocked
from tests.raie.serving.load import Load, bodies, expected
from tests.raie.serving.processes import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

AWAY_S = 5.0


@dataclass(frozen=True)
class Killed:
    """A process that was killed, and how to start its like."""

    command: list[str]
    folder: str
    user: int
    group: int

    @staticmethod
    def now(pid: int) -> Killed:
        about = Path(f"/proc/{pid}")
        killed = Killed(_command(about), os.readlink(about / "cwd"), about.stat().st_uid, about.stat().st_gid)
        os.kill(pid, signal.SIGKILL)
        return killed

    @contextmanager
    def started(self) -> Iterator[None]:
        process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            user=self.user,
            group=self.group,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _command(about: Path) -> list[str]:
    return (about / "cmdline").read_text(encoding="utf-8", errors="replace").rstrip("\0").split("\0")


def process_at(address: str) -> int:
    """The child of this process that listens at an address."""
    children = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in children.stdout.split()]
    return next(pid for pid in pids if address in _command(Path(f"/proc/{pid}")))


def test_killed_servers_cost_no_request_and_the_next_promotion_is_served_once_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_postgres() as server, s3_containers() as containers, running_s3(containers) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with ExitStack() as revived, database(server) as url:
            shop = stocked(tmp_path, 60, url, f"s3://{S3_NAME}/models")
            asked = bodies(shop)
            made = expected(shop, asked)
            postgres = int((Path(str(make_url(url).query["host"])) / "postmaster.pid").read_text().split()[0])
            store = process_at(urlsplit(environment["AWS_ENDPOINT_URL"]).netloc)
            with serving(tmp_path, "--interval", "0.3") as running:
                running.wait_until_ready()
                with Load(running.url, asked, made) as load:
                    gone = [Killed.now(postgres), Killed.now(store)]
                    running.wait_for(lambda: running.get("/snapshot").json["behind"] is not None)
                    time.sleep(AWAY_S)
                    assert running.get("/snapshot").json["behind"]["kind"] == "DatabaseUnreachable"
                    for killed in gone:
                        revived.enter_context(killed.started())
                    running.wait_for(lambda: running.get("/snapshot").json["behind"] is None, 60)
                    shop.promote(shop.second)
                    after = running.wait_for(lambda: running.get("/ready").json["snapshot"] == shop.second, 60)
                outcomes = load.outcomes()
                print(f"{dict(outcomes)}; the promotion is served after {after:.1f} s")
                assert set(outcomes) == {"200"}
                assert running.stop() == 0
