"""Processes that commit, promote and collect at once: nothing is lost, and who comes second gets a conflict."""

from __future__ import annotations

import pytest

from tests.registry.building import MODEL
from tests.registry.crash.grounds import Ground
from tests.registry.crash.processes import Done, Ended, Paused, Stop, Victim
from tests.registry.crash.promises import broken_promises, incomplete_uploads
from tests.registry.crash.steps import REGIONS, Site, Step, entry

pytestmark = pytest.mark.parametrize("ground", ["sqlite-folder", "postgresql-folder"], indirect=True)
BEFORE_IT_LANDS = Stop("land.uploaded", 1, dies=False)
WHEN_IT_HAS_LANDED = Stop("land.committed", 1, dies=False)


def race(site: Site, *runners: tuple[Step, ...], line: Stop | None = None) -> list[Done]:
    """What the runners got, each a process that does its steps; line: where all wait for the last one."""
    running = [Victim(site, steps, line) for steps in runners]
    if line is not None:
        assert all(isinstance(runner.wait(), Paused) for runner in running), [runner.error for runner in running]
        for runner in running:
            runner.go_on()
    ended = [isinstance(runner.wait(), Ended) for runner in running]
    for runner in running:
        runner.kill()
    assert all(ended), [runner.error for runner in running]
    return [done for runner in running for done in runner.answered]


def test_edits_of_different_regions_all_land_one_on_the_other(ground: Ground) -> None:
    with ground.copy() as (site, client):
        runners = [(Step("attempt", f"mine {region}", region),) for region in range(REGIONS)]
        answers = race(site, *runners, line=BEFORE_IT_LANDS)
        assert all(done.snapshot for done in answers)
        head = client.registry.resolve(MODEL, "head")
        assert head.content.regions == {region: entry(region, f"mine {region}") for region in range(REGIONS)}
        assert broken_promises(client, answers, ground.checkpoint) == []


def test_of_edits_of_one_region_one_lands_and_the_others_are_told(ground: Ground) -> None:
    with ground.copy() as (site, client):
        answers = race(site, *[(Step("attempt", f"runner {n}", 1),) for n in range(4)], line=BEFORE_IT_LANDS)
        (landed,) = (done for done in answers if done.snapshot)
        assert landed.snapshot == client.registry.resolve(MODEL, "head").id
        states = {edit.reason: edit.state for edit in client.registry.edits(MODEL)}
        assert [states[done.tag] for done in answers if done is not landed] == ["aborted"] * 3
        assert broken_promises(client, answers, ground.checkpoint) == []


def test_of_promotions_that_believe_the_same_one_moves_the_alias_and_the_others_are_told(ground: Ground) -> None:
    with ground.copy() as (site, client):
        runners = [(Step("attempt", f"edit {n}", n), Step("claim", f"claim {n}", 1 + n)) for n in range(3)]
        answers = race(site, *runners, line=WHEN_IT_HAS_LANDED)
        (moved,) = (done for done in answers if done.move)
        (alias,) = client.registry.aliases(MODEL)
        assert client.registry.alias_history(MODEL, alias.name)[0].reason == moved.tag
        assert alias.snapshot == client.registry.resolve(MODEL, f"edit:{1 + int(moved.tag[-1])}").id
        assert broken_promises(client, answers, ground.checkpoint) == []


def test_nothing_is_lost_where_several_commit_promote_and_collect_at_once(ground: Ground) -> None:
    with ground.copy() as (site, client):
        answers = race(
            site,
            *(tuple(Step("edit", f"{who} {n}", n % REGIONS) for n in range(5)) for who in ("ada", "bob")),
            tuple(
                Step(kind, f"{kind} {n}", n)
                for n in range(3)
                for kind in ("promote", "cherry-pick", "undo")
                if n > 1
            ),
            tuple(Step(kind, f"{kind} {n}") for n in range(4) for kind in ("collect", "tell")),
        )
        assert len([done for done in answers if done.snapshot and done.edit]) == 10
        assert broken_promises(client, answers, ground.checkpoint) == []
        assert incomplete_uploads(client) == []


@pytest.mark.benchmark
def test_four_processes_of_150_commits(ground: Ground) -> None:
    with ground.copy() as (site, client):
        answers = race(
            site,
            *(tuple(Step("attempt", f"{region} {n}", region) for n in range(150)) for region in range(REGIONS)),
        )
        edits = [edit for edit in client.registry.edits(MODEL) if edit.number > REGIONS]
        seconds = max(edit.closed_at or 0 for edit in edits) - min(edit.created_at for edit in edits)
        print(f"\n{client.registry.engine.dialect.name}: {len(edits)} edits, {len(edits) / seconds:.1f} a second")
        assert len({done.snapshot for done in answers}) == 600
        assert broken_promises(client, answers, ground.checkpoint) == []
