"""Tasks of this process, and results in the order of their tasks."""

from __future__ import annotations

from collections.abc import Iterator

from raie.engine.executor import LOCAL, in_order
from tests.raie_engine.travelling import TravellingExecutor


def test_results_come_in_the_order_of_the_tasks_whichever_is_ready_first() -> None:
    executor = TravellingExecutor()
    assert [number for number, _ in executor.as_ready(str, range(5))] == [4, 3, 2, 1, 0]
    assert list(in_order(executor, str, range(5))) == list("01234")
    assert list(in_order(executor, str, [])) == []


def test_this_process_takes_a_task_only_when_its_result_is_asked_for() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in (1, 2):
            taken.append(number)
            yield number

    results = LOCAL.as_ready(str, tasks())
    assert (next(results), taken) == ((0, "1"), [1])
    assert (next(results), taken) == ((1, "2"), [1, 2])
