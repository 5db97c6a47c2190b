"""Random cases: any steps, any point that one of them passes, crash, pause or both, and any rival.

A case follows from the seed and its number alone, so that one that breaks a promise can be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random

from tests.registry.crash.cases import OPERATIONS, PASSINGS, RIVALS, Case
from tests.registry.crash.grounds import Ground
from tests.registry.crash.processes import Ended, Victim
from tests.registry.crash.steps import REGIONS, Step, leave_behind

__all__ = ["passings", "random_case"]

_OTHERS = 3
_HISTORY = REGIONS
_NUMBERS: Mapping[str, tuple[int, ...]] = {
    "abort": tuple(range(REGIONS)),
    "collect": (0,),
    "cherry-pick": tuple(range(REGIONS)),
    "edit": tuple(range(REGIONS)),
    "expire": tuple(range(REGIONS)),
    "promote": tuple(range(_HISTORY + 1)),
    "resume": tuple(range(REGIONS)),
    "return": tuple(range(1, _HISTORY + 1)),
    "tell": (0,),
    "undo": tuple(range(2, _HISTORY + 1)),
}
"""A step's kind -> the numbers it may have: regions, or edits of the history that every case begins with."""


def passings(ground: Ground) -> dict[str, Counter[str]]:
    """Operation -> point -> how often a process that does the operation's steps undisturbed passes it."""
    return {name: _passings(ground, operation.steps) for name, operation in OPERATIONS.items()}


def _passings(ground: Ground, steps: tuple[Step, ...]) -> Counter[str]:
    with ground.copy() as (site, client):
        leave_behind(client, steps)
        victim = Victim(site, steps)
        ended = victim.wait()
        victim.kill()
    assert isinstance(ended, Ended), victim.error
    return ended.passings


def random_case(seed: int, number: int, passed: Mapping[str, Mapping[str, int]]) -> Case:
    """The case of this number; passed: as `passings` says.

    Not every case comes as far as its point: another step may have left nothing to do for the one that passes it.
    """
    random = Random(f"{seed} {number}")
    point = random.choice(sorted({point for points in passed.values() for point in points}))
    name = random.choice([name for name, points in passed.items() if point in points])
    steps = list(OPERATIONS[name].steps[: random.randint(1, PASSINGS)])
    passing = random.randint(1, passed[name][point] * len(steps) // PASSINGS)
    for n in range(random.randint(0, _OTHERS)):
        steps.insert(random.randint(0, len(steps)), _step(random, random.choice(sorted(_NUMBERS)), f"other {n}"))
    ending = random.choice(["crash", "pause", "pause and crash"])
    rival = RIVALS[random.choice(sorted(RIVALS))] if ending != "crash" else ()
    rival = tuple(
        _step(random, step.kind, step.tag) if step.kind in ("edit", "expire") else step for step in rival
    )
    return Case(tuple(steps), point, passing, rival, dies=ending != "pause")


def _step(random: Random, kind: str, tag: str) -> Step:
    return Step(kind, tag, random.choice(_NUMBERS[kind]))
