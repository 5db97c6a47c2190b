"""Breaks registries at random, as often as wanted: `make crash N=10000 DATABASE=postgresql STORE=s3 SEED=1`."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager

from raie.registry.failpoints import POINTS
from tests.conftest import running_postgres, running_s3, s3_containers
from tests.registry.crash.cases import Case, run
from tests.registry.crash.grounds import Ground, prepared
from tests.registry.crash.processes import Worker
from tests.registry.crash.random_cases import passings, random_case

_SHOW_EVERY_S = 10.0
_ENDINGS = ("crash", "pause", "pause and crash")


def main() -> int:
    """0 where no promise was broken, else 1."""
    wanted = _arguments()
    print(f"{wanted.n} cases on {wanted.database} and {wanted.store}, SEED={wanted.seed}", flush=True)
    with _ground(wanted.database, wanted.store) as ground, closing(Worker()) as worker:
        passed = passings(ground)
        counts, broken = Counter[tuple[str, str]](), 0
        for number in _shown([wanted.only] if wanted.only is not None else range(wanted.n)):
            case = random_case(wanted.seed, number, passed)
            outcome = run(case, ground, worker)
            counts[case.point, _ending(case) if outcome.stopped else "not reached"] += 1
            if outcome.broken:
                broken += 1
                print(f"\nBroken by case {number}; SEED={wanted.seed} ONLY={number} repeats it:\n{case}")
                print("\n".join(outcome.broken), flush=True)
    print(_table(counts))
    print(f"{broken} of {counts.total()} cases broke a promise (SEED={wanted.seed})")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.registry.crash", description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="how many cases")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--store", choices=["folder", "s3"], default="folder")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="a random one without it")
    parser.add_argument("--only", type=int, help="the number of one case, to repeat it")
    return parser.parse_args()


@contextmanager
def _ground(database: str, store: str) -> Iterator[Ground]:
    with ExitStack() as servers:
        server = servers.enter_context(running_postgres()) if database == "postgresql" else None
        environment = (
            servers.enter_context(running_s3(servers.enter_context(s3_containers()))) if store == "s3" else {}
        )
        yield servers.enter_context(prepared(server, environment))


def _shown(numbers: Iterable[int]) -> Iterator[int]:
    """The numbers; every now and then it says how far it is."""
    start = shown = time.monotonic()
    for done, number in enumerate(numbers):
        if time.monotonic() - shown > _SHOW_EVERY_S:
            shown = time.monotonic()
            print(f"{done} cases in {shown - start:.0f} s", file=sys.stderr, flush=True)
        yield number


def _ending(case: Case) -> str:
    return "crash" if not case.rival else "pause and crash" if case.dies else "pause"


def _table(counts: Counter[tuple[str, str]]) -> str:
    columns = (*_ENDINGS, "not reached")
    rows = [(point, [counts[point, column] for column in columns]) for point in POINTS]
    rows.append(("all", [sum(row[n] for _, row in rows) for n in range(len(columns))]))
    lines = [f"{'point':26}" + "".join(f"{column:>17}" for column in columns)]
    lines += [f"{point:26}" + "".join(f"{count:17}" for count in row) for point, row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
