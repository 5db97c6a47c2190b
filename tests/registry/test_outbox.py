"""The outbox: an event exists if and only if its commit does, and no crash loses, repeats or reorders it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select, update

from raie.migrations import upgrade
from raie.registry.db.engine import open_engine, write
from raie.registry.db.tables import outbox_events
from raie.registry.errors import InvalidValue, MlflowUnreachable
from raie.registry.hiding import hiding
from raie.registry.outbox import Progress, clean_errors, drain, enqueue, outbox_status, requeue
from raie.registry.outbox_records import SNAPSHOT_COMMITTED, OutboxEvent


class Ledger:
    """A publisher that keeps a list; `steps` of every event, and whatever should go wrong at one of them."""

    def __init__(self, trouble: Callable[[OutboxEvent, int], None] = lambda event, step: None) -> None:
        self.target = "ledger"
        self.seen: list[tuple[str, int, int]] = []
        self.trouble = trouble

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        for number in range(3):
            progress.step(f"step {number}", partial(self._enter, event, number))

    def _enter(self, event: OutboxEvent, number: int) -> int:
        self.trouble(event, number)
        self.seen.append((event.model, event.payload["number"], number))
        return number

    @property
    def events(self) -> list[tuple[str, int]]:
        return [(model, number) for model, number, step in self.seen if step == 2]


class Flaky:
    """Fails an event's step the first few times."""

    def __init__(self, model: str, number: int, step: int, error: BaseException, times: int = 1) -> None:
        self.where, self.error, self.left = (model, number, step), error, times

    def __call__(self, event: OutboxEvent, step: int) -> None:
        if (event.model, event.payload["number"], step) == self.where and self.left:
            self.left -= 1
            raise self.error


@pytest.fixture
def engine(up_to_date: str) -> Engine:
    return open_engine(up_to_date)


def put(engine: Engine, *events: tuple[str, int]) -> None:
    def step(connection: Connection) -> None:
        for model, number in events:
            enqueue(connection, model, SNAPSHOT_COMMITTED, {"number": number})

    write(engine, step)


def test_an_event_is_there_only_if_its_transaction_committed(engine: Engine) -> None:
    def enqueue_and_fail(connection: Connection) -> None:
        enqueue(connection, "recsys", SNAPSHOT_COMMITTED, {"number": 1})
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write(engine, enqueue_and_fail)
    assert outbox_status(engine).pending == 0
    with pytest.raises(InvalidValue):
        write(engine, lambda c: enqueue(c, "recsys", SNAPSHOT_COMMITTED, {"loss": float("nan")}))
    assert outbox_status(engine).pending == 0


def test_events_are_published_once_and_in_their_order(engine: Engine) -> None:
    put(engine, ("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3))
    ledger = Ledger()
    report = drain(engine, ledger)
    assert (report.published, report.remaining, report.failed, report.stopped) == (5, 0, (), None)
    assert ledger.events == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)]
    assert drain(engine, ledger).published == 0
    assert len(ledger.seen) == 15


def test_a_failing_event_holds_back_its_model_and_no_other(engine: Engine) -> None:
    put(engine, ("a", 1), ("a", 2), ("b", 1))
    ledger = Ledger(Flaky("a", 1, 1, ValueError("no such thing")))
    report = drain(engine, ledger)
    assert (report.published, report.remaining, ledger.events) == (1, 2, [("b", 1)])
    assert [(f.model, f.attempts, f.error) for f in report.failed] == [("a", 1, "ValueError: no such thing")]
    status = outbox_status(engine)
    assert (status.pending, status.failing, status.last_error) == (2, 1, "ValueError: no such thing")
    assert drain(engine, ledger).published == 2
    assert ledger.events == [("b", 1), ("a", 1), ("a", 2)]
    assert outbox_status(engine).last_error is None


def test_finished_steps_are_not_repeated_after_a_failure(engine: Engine) -> None:
    put(engine, ("a", 1))
    ledger = Ledger(Flaky("a", 1, 2, ValueError("late")))
    drain(engine, ledger)
    drain(engine, ledger)
    assert ledger.seen == [("a", 1, 0), ("a", 1, 1), ("a", 1, 2)]


def test_steps_finished_at_another_target_are_done_again_at_this_one(engine: Engine) -> None:
    put(engine, ("a", 1))
    drain(engine, Ledger(Flaky("a", 1, 2, ValueError("late"))))
    elsewhere = Ledger()
    elsewhere.target = "another ledger"
    drain(engine, elsewhere)
    assert elsewhere.seen == [("a", 1, 0), ("a", 1, 1), ("a", 1, 2)]


def test_an_unreachable_publisher_stops_the_drain_at_once(engine: Engine) -> None:
    put(engine, ("a", 1), ("b", 1), ("c", 1))
    ledger = Ledger(Flaky("b", 1, 0, MlflowUnreachable("Expected an answer, found none")))
    report = drain(engine, ledger)
    assert (report.published, report.remaining) == (1, 2)
    assert report.stopped == "Expected an answer, found none"
    assert ledger.events == [("a", 1)]
    assert outbox_status(engine).leased_until is None
    assert drain(engine, ledger).published == 2


def test_an_error_is_recorded_as_one_line_without_a_password(engine: Engine) -> None:
    put(engine, ("a", 1))
    drain(engine, Ledger(Flaky("a", 1, 0, ValueError("at http://ada:secret@host/x\n  " + "y" * 900))))
    error = outbox_status(engine).last_error
    assert error is not None
    assert error.startswith("ValueError: at http://***@host/x yyy")
    assert "\n" not in error
    assert len(error) <= 500


def test_what_is_refused_for_good_lets_the_later_events_of_its_model_go_on(engine: Engine) -> None:
    put(engine, ("a", 1), ("a", 2), ("a", 3), ("b", 1))
    ledger = Ledger(Flaky("a", 1, 1, ValueError("never"), times=2))
    for attempt in (1, 2):
        report = drain(engine, ledger, is_lasting=lambda event, error: "never" in str(error))
        assert [(f.model, f.attempts) for f in report.failed] == [("a", attempt)]
        assert ledger.events == [("a", 2), ("a", 3), ("b", 1)]
    (failure,) = outbox_status(engine).failures
    assert (failure.attempts, failure.error) == (2, "ValueError: never")
    assert drain(engine, ledger).published == 1


def test_no_two_relays_work_on_one_model_behind_an_event_that_was_refused(engine: Engine) -> None:
    put(engine, ("a", 1), ("a", 2), ("a", 3))
    second, reports = Ledger(), []

    def drain_elsewhere(event: OutboxEvent, step: int) -> None:
        if event.payload["number"] == 1:
            raise ValueError("never")
        if (event.payload["number"], step) == (2, 1):
            reports.append(drain(engine, second))

    ledger = Ledger(drain_elsewhere)
    drain(engine, ledger, is_lasting=lambda event, error: True)
    assert (reports[0].published, reports[0].failed, second.seen) == (0, (), [])
    assert ledger.events == [("a", 2), ("a", 3)]


def test_an_outage_counts_as_no_attempt_and_is_told_apart_from_a_failure(engine: Engine) -> None:
    put(engine, ("a", 1))
    away = Flaky("a", 1, 0, MlflowUnreachable("Expected MLflow to answer, found nothing there"), times=3)
    for _ in range(3):
        (failure,) = drain(engine, Ledger(away)).failed
        assert failure.is_outage
    drain(engine, Ledger(Flaky("a", 1, 0, ValueError("no"))))
    (failure,) = outbox_status(engine).failures
    assert (failure.attempts, failure.is_outage) == (1, False)


def test_secrets_that_an_earlier_release_recorded_are_stripped_from_errors_and_progress(engine: Engine) -> None:
    put(engine, ("a", 1), ("a", 2), ("a", 3))
    kept = {
        "last_error": "at http://ada:p@hunter2@host",
        "progress": '{"steps":{"0":1},"target":"http://hunter2@host"}',
    }
    write(engine, lambda c: c.execute(update(outbox_events).where(outbox_events.c.id == 1).values(kept)))
    write(
        engine,
        lambda c: c.execute(update(outbox_events).where(outbox_events.c.id == 2).values(last_error="plain")),
    )
    hide = hiding("http://ada:p%40hunter2@host")
    (shown,) = [failure.error for failure in outbox_status(engine, hide).failures if failure.event == 1]
    assert "hunter2" not in shown
    assert clean_errors(engine, hide) == 1
    with engine.connect() as connection:
        rows = connection.execute(select(outbox_events.c.last_error, outbox_events.c.progress)).all()
    assert "hunter2" not in str(rows)
    assert sorted(str(row.last_error) for row in rows) == ["None", "at http://***@host", "plain"]
    assert '"steps":{"0":1}' in str(rows)
    assert clean_errors(engine, hide) == 0


def test_an_interrupted_relay_gives_its_event_back(engine: Engine) -> None:
    put(engine, ("a", 1))
    ledger = Ledger(Flaky("a", 1, 1, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        drain(engine, ledger)
    assert outbox_status(engine).leased_until is None
    assert drain(engine, ledger).published == 1
    assert ledger.seen == [("a", 1, 0), ("a", 1, 1), ("a", 1, 2)]


def test_a_leased_event_is_left_to_its_relay(engine: Engine) -> None:
    put(engine, ("a", 1), ("a", 2), ("b", 1))
    second, reports = Ledger(), []

    def drain_elsewhere(event: OutboxEvent, step: int) -> None:
        if (event.model, event.payload["number"], step) == ("a", 1, 1):
            reports.append(drain(engine, second))
            assert outbox_status(engine).leased_until is not None

    ledger = Ledger(drain_elsewhere)
    drain(engine, ledger)
    assert (reports[0].published, reports[0].remaining, reports[0].failed) == (1, 2, ())
    assert reports[0].leased_until is not None
    assert (second.events, ledger.events) == ([("b", 1)], [("a", 1), ("a", 2)])


def test_a_relay_that_lost_its_lease_stops_and_the_event_is_published_by_the_other(engine: Engine) -> None:
    put(engine, ("a", 1), ("a", 2))
    second, hours = Ledger(), iter(range(100))

    def sleep_too_long(event: OutboxEvent, step: int) -> None:
        if step == 1 and not second.seen:
            drain(engine, second)

    # Every look at the clock is an hour later, so the lease is over before the next step.
    slow = Ledger(sleep_too_long)
    report = drain(engine, slow, clock=lambda: 3600.0 * next(hours))
    assert (report.published, report.failed) == (0, ())
    assert second.events == [("a", 1), ("a", 2)]
    assert slow.seen == [("a", 1, 0), ("a", 1, 1)]
    assert outbox_status(engine).pending == 0


def test_relays_that_drain_at_the_same_time_publish_each_event_once(engine: Engine) -> None:
    put(engine, *((model, number) for number in range(6) for model in "abc"))
    ledgers = [Ledger() for _ in range(4)]
    threads = [threading.Thread(target=drain, args=(engine, ledger)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = Ledger()
    drain(engine, last)
    published = sorted(event for ledger in [*ledgers, last] for event in ledger.events)
    assert published == [(model, number) for model in "abc" for number in range(6)]
    for ledger in ledgers:
        for model in "abc":
            mine = [number for name, number in ledger.events if name == model]
            assert mine == sorted(mine)


def test_a_requeued_history_is_published_again_from_its_first_step(engine: Engine) -> None:
    put(engine, ("a", 1), ("a", 2))
    drain(engine, Ledger())
    assert outbox_status(engine).published == 2
    assert requeue(engine) == 2
    again = Ledger()
    assert drain(engine, again).published == 2
    assert again.events == [("a", 1), ("a", 2)]
    assert len(again.seen) == 6


def test_the_status_counts_what_is_there(engine: Engine) -> None:
    empty = outbox_status(engine)
    assert (empty.pending, empty.published, empty.oldest_pending_at, empty.last_published_at) == (0, 0, None, None)
    put(engine, ("a", 1), ("b", 1))
    drain(engine, Ledger(Flaky("a", 1, 0, ValueError("no"))))
    status = outbox_status(engine)
    assert (status.pending, status.published, status.failing) == (1, 1, 1)
    assert status.oldest_pending_at is not None
    assert status.last_published_at is not None
    assert status.oldest_pending_at <= status.last_published_at


@given(
    counts=st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), min_size=1),
    failures=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 2)), max_size=6),
)
@settings(max_examples=12, deadline=None)
def test_whatever_fails_every_event_is_published_once_in_its_models_order(
    outbox: Engine, counts: Mapping[str, int], failures: list[tuple[str, int, int]]
) -> None:
    put(outbox, *((model, number) for model, count in counts.items() for number in range(count)))
    left = list(failures)

    def fail(event: OutboxEvent, step: int) -> None:
        here = (event.model, event.payload["number"], step)
        if here in left:
            left.remove(here)
            raise ValueError("once")

    ledger = Ledger(fail)
    for _ in range(len(failures) + 1):
        drain(outbox, ledger)
    expected = {(model, number, step) for model, n in counts.items() for number in range(n) for step in range(3)}
    assert len(ledger.seen) == len(expected)
    assert set(ledger.seen) == expected
    for model in counts:
        mine = [(number, step) for name, number, step in ledger.seen if name == model]
        assert mine == sorted(mine)


@pytest.fixture(scope="module")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Any:
    url = f"sqlite:///{tmp_path_factory.mktemp('outbox')}/registry.db"
    upgrade(url)
    return open_engine(url)
