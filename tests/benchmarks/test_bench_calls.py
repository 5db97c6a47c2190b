"""What a promotion and a rollback cost beside one synced transaction, and a command beside its own imports: ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from raie import migrations
from raie.registry import Author, Registry
from raie.registry.db.engine import write
from raie.registry.db.tables import models
from tests.benchmarks.filling import ACTOR, ALIAS, Layout, fill, fill_store, model_name

pytestmark = pytest.mark.benchmark

ROUNDS = 40
MODEL = model_name(0)
SHAPES = {"3 regions": Layout(1, 3, 30, 1), "100 regions": Layout(1, 100, 100, 10)}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_against_one_synced_transaction(durable: Registry, shape: str) -> None:
    layout, registry = SHAPES[shape], durable
    fill(registry.engine, layout, range(1))
    newest = layout.snapshots
    refs = [f"edit:{newest - 1 - i % 2}" for i in range(ROUNDS)]
    calls: dict[str, Callable[[int], object]] = {
        "promote": lambda i: registry.promote(MODEL, refs[i], ALIAS, Author(ACTOR)),
        "rollback --to": lambda i: registry.rollback_to(MODEL, refs[i], Author(ACTOR)),
        "rollback EDIT": lambda i: registry.rollback_edit(MODEL, newest, Author(ACTOR)),
    }
    one_row = update(models).where(models.c.name == MODEL).values(created_at=models.c.created_at + 1)
    for name, call in calls.items():
        pairs = []
        for i in range(ROUNDS):
            if name == "rollback EDIT":
                registry.rollback_to(MODEL, f"edit:{newest}", Author(ACTOR))
            peer = seconds(lambda: write(registry.engine, lambda connection: connection.execute(one_row)))
            pairs.append((seconds(lambda call=call, i=i: call(i)), peer))
        ratio = statistics.median(ours / peer for ours, peer in pairs)
        ours, peer = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        kind = registry.engine.dialect.name
        print(
            f"\n{kind}, {shape}: {name} {ratio:.1f} x one synced transaction (goal 3), {ours:.0f} / {peer:.0f} ms",
            end="",
        )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_a_command_against_its_imports(disk: Path) -> None:
    url = f"sqlite:///{disk / 'registry.db'}"
    migrations.upgrade(url)
    registry = Registry.open(url, str(disk / "store"))
    fill(registry.engine, SHAPES["3 regions"], range(1))
    fill_store(registry.store, SHAPES["3 regions"], range(1))
    environment = os.environ | {"RAIE_DATABASE_URL": url, "RAIE_STORE": str(disk / "store"), "RAIE_MODEL": MODEL}
    (disk / "raie.toml").touch()
    commands = {
        "log": ["log"],
        "promote": ["promote", "edit:{}", "--to", "staging"],
        "rollback": ["rollback", "--to", "edit:{}", "--yes"],
    }

    def run(*words: str) -> float:
        arguments = [sys.executable, *words]
        return seconds(
            lambda: subprocess.run(arguments, cwd=disk, env=environment, check=True, capture_output=True)
        )

    for name, words in commands.items():
        pairs = []
        for number in range(1, 16):
            said = [template.format(10 + number) for template in words]
            ours = run("-m", "raie.cli.main", *said)
            pairs.append((ours, run("-c", "import sqlalchemy, click")))
        ratio = statistics.median(ours / peer for ours, peer in pairs)
        ours, peer = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"\nraie {name}: {ratio:.2f} x `import sqlalchemy, click` (goal 2), {ours:.0f} / {peer:.0f} ms", end=""
        )
