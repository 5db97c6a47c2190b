"""Two registries in one store, both editing, expiring and collecting, both killed again and again: `make sharing`.

Both make the same blobs at the same time, so that each has garbage that the other serves. A round is two processes side
by side, one for each registry; every other one dies at a point drawn at random.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from sqlalchemy import make_url

from raie import migrations
from raie.registry import Author
from raie.registry.failpoints import POINTS
from raie.registry.maintenance.verify import verify
from tests.conftest import S3_NAME, memory, run_sql, running_postgres, running_s3, s3_containers
from tests.registry.building import MODEL, World
from tests.registry.crash.processes import Stop, Victim
from tests.registry.crash.steps import ALIAS, REGIONS, Site, Step, take

__all__ = ["Shared", "rounds", "sharing"]

_CHECKED_EVERY = 20
_POINTS = [point for point in POINTS if not point.startswith("outbox.")]


@dataclass
class Shared:
    """What came of some rounds: how many processes were killed at their point, and what was found wrong, in lines."""

    killed: int
    broken: list[str]


@contextmanager
def sharing(server: str | None, environment: Mapping[str, str]) -> Iterator[list[Site]]:
    """Two registries in one store, each with a model of equal content.

    server: of PostgreSQL, None for SQLite.  environment: in which boto3 finds S3, empty for a folder.
    """
    with tempfile.TemporaryDirectory(prefix="raie-sharing-", dir=memory()) as folder, ExitStack() as databases:
        name = Path(folder).name.replace("-", "_").lower()
        store = f"s3://{S3_NAME}/{name}" if environment else f"{folder}/store"
        places = []
        for number in range(2):
            url = f"sqlite:///{folder}/{number}.db"
            if server is not None:
                run_sql(server, f"CREATE DATABASE {name}_{number}")
                databases.callback(run_sql, server, f"DROP DATABASE {name}_{number} WITH (FORCE)")
                url = make_url(server).set(database=f"{name}_{number}").render_as_string(hide_password=False)
            migrations.upgrade(url)
            site = Site(url, store, Path(folder, f"published {number}"), environment)
            registry = site.open().registry
            World(registry).setup(REGIONS)
            registry.promote(MODEL, "head", ALIAS, Author("ada", "the history"))
            places.append(site)
        yield places


def rounds(places: list[Site], count: int, seed: int) -> Shared:
    """Works in both registries for some rounds, and reads both back whole now and then and at the end."""
    random, shared = Random(seed), Shared(0, [])
    for number in range(count):
        steps = _steps(random, number)
        victims = [Victim(site, steps, _stop(random)) for site in places]
        for victim in victims:
            if victim.wait() is None and not victim.error:
                shared.killed += 1
            victim.kill()
            shared.broken += [f"round {number}: {victim.error}"] if victim.error else []
        if (number + 1) % _CHECKED_EVERY == 0 or number + 1 == count:
            shared.broken += _wrong(places, number)
    return shared


def _steps(random: Random, number: int) -> list[Step]:
    """The same for both registries: an edit, sometimes in production, and what makes and removes garbage."""
    edit = Step("edit", f"round {number}", random.randrange(REGIONS))
    promotion = [Step("promote", f"round {number}")] if random.random() < 0.5 else []
    tidying = [Step("expire", f"expiry {number}", random.randrange(REGIONS)), Step("collect", f"gc {number}")]
    lapsed = Step("lapse", f"lapse {number}")
    return [lapsed, edit, *promotion, *tidying]


def _stop(random: Random) -> Stop | None:
    return Stop(random.choice(_POINTS), random.randint(1, 3), dies=True) if random.random() < 0.5 else None


def _wrong(places: list[Site], number: int) -> list[str]:
    """What verify says of either registry, once each has finished what a killed gc left."""
    wrong = []
    for which, site in enumerate(places):
        client = site.open()
        take(client, Step("collect", "what was left"))
        report = verify(client.registry)
        if not report.ok:
            wrong.append(f"registry {which} after round {number}: {report}")
    return wrong


def main() -> int:
    """0 where both registries are whole at the end, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.registry.crash.sharing", description=__doc__)
    parser.add_argument("-n", type=int, default=200, help="how many rounds")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--store", choices=["folder", "s3"], default="folder")
    parser.add_argument("--seed", type=int, default=1)
    wanted, began = parser.parse_args(), time.monotonic()
    with ExitStack() as servers:
        server = servers.enter_context(running_postgres()) if wanted.database == "postgresql" else None
        served = servers.enter_context(s3_containers()) if wanted.store == "s3" else None
        environment = {} if served is None else servers.enter_context(running_s3(served))
        shared = rounds(servers.enter_context(sharing(server, environment)), wanted.n, wanted.seed)
    print("\n".join(shared.broken))
    took = time.monotonic() - began
    print(f"{wanted.n} rounds, {shared.killed} processes killed, {len(shared.broken)} found wrong, {took:.0f} s")
    return 1 if shared.broken else 0


if __name__ == "__main__":
    sys.exit(main())
