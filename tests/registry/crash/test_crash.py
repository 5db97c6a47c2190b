"""Whatever process dies or stands still at whatever step, and whoever works meanwhile: no promise is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from raie.registry.failpoints import POINTS
from tests.registry.crash.cases import OPERATIONS, PASSINGS, Case, cases_of, run
from tests.registry.crash.grounds import Ground
from tests.registry.crash.processes import Worker
from tests.registry.crash.random_cases import passings, random_case

ELSEWHERE = ["sqlite-s3", "postgresql-folder", "postgresql-s3"]
OF_THE_FOLDER = ("upload.written", "upload.renamed")
SHOWN = 3


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """A process that works while another one stands still."""
    worker = Worker()
    yield worker
    worker.close()


def broken(cases: list[Case], ground: Ground, worker: Worker) -> str:
    """The first cases that broke a promise, with what each broke, to be read."""
    assert cases
    promises = []
    for case in cases:
        outcome = run(case, ground, worker)
        lines = outcome.broken if outcome.stopped else ("it never came to the point", *outcome.broken)
        if lines:
            promises.append("\n".join([str(case), *lines]))
        if len(promises) == SHOWN:
            break
    return "\n\n".join(promises)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("ground", ["sqlite-folder"], indirect=True)
def test_a_crash_or_a_pause_at_any_step_breaks_no_promise(operation: str, ground: Ground, worker: Worker) -> None:
    """At every step a crash and a pause at the first passing, and a crash at a later one; the slow test takes all."""
    cases = cases_of(OPERATIONS[operation])
    later = {point: 2 + number % 2 for number, point in enumerate(dict.fromkeys(case.point for case in cases))}
    chosen = [case for case in cases if case.passing == 1 or (case.dies and case.passing == later[case.point])]
    assert broken(chosen, ground, worker) == ""


@pytest.mark.parametrize(
    "ground",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "postgresql-s3")) for name in ELSEWHERE],
    indirect=True,
)
def test_nor_does_it_on_another_database_or_store(
    ground: Ground, worker: Worker, request: pytest.FixtureRequest
) -> None:
    """Some of the cases of one passing each; the slow test below takes them all."""
    dealt = ELSEWHERE.index(request.node.callspec.params["ground"])
    cases = [case for case in every_case(ground) if case.passing == 1 + dealt]
    assert broken(cases[4 * dealt :: 19], ground, worker) == ""


@pytest.mark.parametrize("ground", ["sqlite-folder"], indirect=True)
def test_a_random_case_follows_from_its_seed_and_number(ground: Ground, worker: Worker) -> None:
    passed = passings(ground)
    drawn = [random_case(11, number, passed) for number in range(20)]
    assert drawn == [random_case(11, number, passed) for number in range(20)]
    assert len(set(drawn)) == 20
    assert [run(case, ground, worker).broken for case in drawn[:8]] == [()] * 8


@pytest.mark.slow
@pytest.mark.parametrize("ground", ["sqlite-folder", *ELSEWHERE], indirect=True)
def test_nor_does_any_case_on_any_database_or_store(ground: Ground, worker: Worker) -> None:
    assert broken(every_case(ground), ground, worker) == ""


def every_case(ground: Ground) -> list[Case]:
    """Those of the folder's own steps only where the store is one."""
    cases = [case for operation in OPERATIONS.values() for case in cases_of(operation)]
    return [case for case in cases if not (ground.template.environment and case.point in OF_THE_FOLDER)]


def test_every_point_is_one_of_an_operation() -> None:
    """Those of an import are of another registry's history: the tests of the transfer kill it there."""
    tested = [case.point for operation in OPERATIONS.values() for case in cases_of(operation)]
    assert Counter(tested) == dict.fromkeys(
        (point for point in POINTS if not point.startswith("import.")), 2 * PASSINGS
    )
