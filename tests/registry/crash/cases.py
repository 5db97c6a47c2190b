"""One registry, one process that dies or stands still at a point, another that works meanwhile, and what is left.

A case says all of it, so that it can be repeated. What it finds is a list of broken promises, empty for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raie.registry.failpoints import POINTS
from tests.registry.crash.grounds import Ground
from tests.registry.crash.processes import PATIENCE_S, Paused, Stop, Victim, Worker
from tests.registry.crash.promises import broken_promises, incomplete_uploads
from tests.registry.crash.steps import Client, Step, leave_behind, take

__all__ = ["OPERATIONS", "PASSINGS", "RIVALS", "Case", "Operation", "Outcome", "cases_of", "run"]

PASSINGS = 3
_BLOCKED_S = 0.03
"""How long a rival may take that perhaps waits for a lock of the process that stands still."""


@dataclass(frozen=True)
class Operation:
    """Three steps of one kind, each of which passes each of its points.

    points: how the names of the points begin that it is there to test.
    """

    steps: tuple[Step, ...]
    points: tuple[str, ...]


OPERATIONS: Mapping[str, Operation] = {
    "edit": Operation(
        tuple(Step("edit", f"edit {region}", region) for region in range(3)),
        ("begin.", "upload.", "checkpoint.", "commit.", "land."),
    ),
    "rollback": Operation(
        (Step("undo", "undo 2", 2), Step("undo", "undo 3", 3), Step("return", "to 1", 1)), ("rollback.",)
    ),
    "promote": Operation(tuple(Step("promote", f"promote {edit}", edit) for edit in (1, 2, 3)), ("promote.",)),
    "cherry-pick": Operation(
        tuple(Step("cherry-pick", f"cherry-pick {region}", region) for region in range(3)),
        ("cherry_pick.",),
    ),
    "resume": Operation(tuple(Step("resume", f"resume {n}", n) for n in range(3)), ("resume.",)),
    "abort": Operation(tuple(Step("abort", f"abort {n}", n) for n in range(3)), ("abort.",)),
    "gc": Operation(tuple(Step("collect", f"collect {n}") for n in range(3)), ("gc.",)),
    "expire": Operation(tuple(Step("expire", f"expire {region}", region) for region in range(3)), ("expire.",)),
    "verify": Operation(tuple(Step("verify", f"verify {n}") for n in range(3)), ("verify.",)),
    "outbox": Operation(tuple(Step("tell", f"tell {n}") for n in range(3)), ("outbox.",)),
}
"""What is tested, by name: a new operation with points of its own is one more entry."""

RIVALS: Mapping[str, tuple[Step, ...]] = {
    "gc": (Step("collect", "rival gc"),),
    "commit": (Step("edit", "rival edit", 3),),
    "promotion": (Step("promote", "rival promotion"),),
    "takeover": (Step("lapse", "rival"), Step("resume", "rival resume")),
    "expiry": (Step("expire", "rival expiry", 3), Step("collect", "rival gc")),
    "relay": (Step("tell", "rival relay"),),
}
"""What another process does while one stands still."""


@dataclass(frozen=True)
class Case:
    """steps: of the process that reaches the point.  rival: those of another one, while the first stands still.

    dies: whether the first is killed there, after the rival where there is one, or goes on.
    """

    steps: tuple[Step, ...]
    point: str
    passing: int
    rival: tuple[Step, ...]
    dies: bool


def cases_of(operation: Operation) -> list[Case]:
    """Every point of the operation x crash and pause x the first three passings; the rivals take turns."""
    cases = []
    for point in (point for point in POINTS if point.startswith(operation.points)):
        for passing in range(1, PASSINGS + 1):
            rival = list(RIVALS.values())[len(cases) // 2 % len(RIVALS)]
            steps = operation.steps[:passing]
            cases += [Case(steps, point, passing, (), dies=True), Case(steps, point, passing, rival, dies=False)]
    return cases


@dataclass(frozen=True)
class Outcome:
    """stopped: whether the process came to the point.  broken: each promise that was not kept, in a line or more."""

    stopped: bool
    broken: tuple[str, ...]


def run(case: Case, ground: Ground, worker: Worker) -> Outcome:
    """What was promised and is not so, after the crash or pause and after everything was done again."""
    with ground.copy() as (site, client):
        leave_behind(client, case.steps)
        victim = Victim(site, case.steps, Stop(case.point, case.passing, case.dies and not case.rival))
        stopped, broken = _disturb(victim, case, worker)
        broken += broken_promises(client, victim.answered, ground.checkpoint)
        undone = case.steps[len(victim.answered) :]
        if undone:
            broken += _again(client, undone)
            # Whoever was killed after a rival undid what it had done cannot be distinguished from one that had not begun.
            twice = {step.tag for step in undone if case.rival and step.kind != "edit"}
            broken += broken_promises(client, victim.answered, ground.checkpoint, twice)
        return Outcome(stopped, (*broken, *incomplete_uploads(client)))


def _disturb(victim: Victim, case: Case, worker: Worker) -> tuple[bool, list[str]]:
    """Lets the process come to its end, whichever that is; whether it came to the point, and what went wrong."""
    broken, answer = [], victim.wait()
    stopped = isinstance(answer, Paused) or (answer is None and not victim.error)
    if isinstance(answer, Paused):
        worker.start(victim.site, case.rival)
        # Whoever needs a lock that is held here waits until it is given up; everybody else has all the time.
        worker.is_done(_BLOCKED_S if answer.writing else PATIENCE_S)
        if not case.dies:
            victim.go_on()
            victim.wait()
        victim.kill()
        broken += [error for error in [worker.result()] if error]
    victim.kill()
    return stopped, broken + [error for error in [victim.error] if error]


def _again(client: Client, steps: Sequence[Step]) -> list[str]:
    """Another process does what the first one got no answer for."""
    broken = []
    for step in steps:
        try:
            take(client, step)
        except Exception as error:
            broken.append(f"{step} failed when it was done again: {error!r}")
    return broken
