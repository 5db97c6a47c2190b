"""A real Ray runs what this process would: the same snapshots, file and comparison."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from raie.engine.errors import InputError, WorkerLost
from raie.engine.executor import in_order
from raie.executors.choice import opened
from raie.workspace_file import find
from tests.cli import trained
from tests.cli.conftest import Raie
from tests.cli.executors import worker_tasks
from tests.cli.executors.test_executor_choice import APPLY
from tests.cli.trained import LOG, SETUP

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.mark.slow  # a cluster takes longer to start than the whole of an edit
def test_an_edit_on_ray_makes_the_snapshot_of_an_edit_here(ready: Path, whole: str, raie: Raie) -> None:
    ran = raie(*APPLY)
    assert ran.code == 0, ran.err
    assert trained.head_of(ready) == whole


@pytest.mark.slow
def test_a_setup_on_ray_makes_the_snapshot_of_a_setup_here(
    ready: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("another")
    for name in ("raie.toml", LOG):
        shutil.copy(ready / name, folder)
    trained.command(folder, "init")
    heard: list[str] = []
    made = find(folder).setup(
        folder / LOG, until=SETUP, executor="ray", progress=lambda stage, done, total: heard.append(stage)
    )
    assert made.id == trained.head_of(ready)
    assert any("validation NDCG@10" in stage for stage in heard)


@pytest.mark.slow
def test_a_batch_on_ray_writes_the_file_of_a_batch_here(
    ready: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raie.batch.users_of_log.BLOCK_USERS", 50)
    for executor in ("local", "ray"):
        ran = raie("recommend", LOG, "--all-users", "--output", f"{executor}.csv", "--executor", executor)
        assert ran.code == 0, ran.err
    assert (ready / "ray.csv").read_bytes() == (ready / "local.csv").read_bytes()


@pytest.mark.slow
def test_a_comparison_on_ray_has_the_numbers_of_one_here(ready: Path, raie: Raie) -> None:
    options = ("--strategies", "popularity,global-lora,raie", "--edits", "1", "--ref", "edit:1", "--json")
    compared = []
    for executor in ("local", "ray"):
        ran = raie(
            "compare", LOG, *options, "--work", executor, "--executor", executor, "--out", f"{executor}-out"
        )
        assert ran.code == 0, ran.err
        compared.append(without_seconds(ran.json))
    assert compared[0] == compared[1]
    steps = [len(list((ready / name).rglob("*.cell"))) for name in ("local", "ray")]
    assert steps[0] == steps[1] == 8


def without_seconds(value: Any) -> Any:
    """The values of a comparison without times, which no two runs share."""
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if "seconds" not in key}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


# --- Tasks of any kind


@pytest.mark.slow
def test_results_come_in_order_or_as_they_are_ready_and_read_what_is_shared() -> None:
    with opened("ray") as executor:
        forty = executor.share(40)
        assert list(in_order(executor, worker_tasks.added, [(forty, number) for number in range(5)])) == [
            *range(40, 45)
        ]
        seconds = [0.5, 0.0]
        assert [number for number, _ in executor.as_ready(worker_tasks.sleeps, seconds)] == [1, 0]
        assert list(in_order(executor, worker_tasks.sleeps, seconds)) == seconds


@pytest.mark.slow
def test_reports_and_errors_of_a_task_reach_this_process_as_they_are() -> None:
    heard: list[tuple[int, float]] = []
    with opened("ray") as executor:
        assert executor.run(worker_tasks.reports, 3, lambda *said: heard.append(said)) == 3
        assert heard == [(0, 0.0), (1, 0.5), (2, 1.0)]
        with pytest.raises(InputError, match=r"^expected a log, found x; take another$"):
            list(executor.as_ready(worker_tasks.refuses, ["x"]))


@pytest.mark.slow
def test_a_task_whose_process_is_killed_runs_again_in_another(tmp_path: Path) -> None:
    with opened("ray") as executor:
        ((_, process),) = executor.as_ready(worker_tasks.dies_once, [tmp_path / "left"])
    assert process != int((tmp_path / "left").read_text())


@pytest.mark.slow
def test_a_task_that_kills_every_process_is_given_up_in_one_line() -> None:
    with (
        opened("ray") as executor,
        pytest.raises(WorkerLost, match=r"^expected a task to finish in 4 tries, found.*$"),
    ):
        list(executor.as_ready(worker_tasks.dies_always, [0]))
