"""A setup and two edits with the built-in windows: what each trains on, what waits, and logs of a few rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raie.engine.comparison.protocol import cut_protocol, task_data_of_edits
from raie.engine.config import RegionConfig, WindowConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.window_length import earlier_items
from raie.engine.data.windows import histories_of
from raie.engine.edit.pipeline import pending_after, prepare_edit
from raie.engine.edit.setup import set_up, with_length
from raie.engine.errors import NothingToEdit
from raie.engine.model import ModelView, Settings
from tests.raie_engine.world import Edited, Memory, World, edited, small_settings


def with_windows(settings: Settings, config: WindowConfig, **options: object) -> Settings:
    engine = replace(settings.engine, windows=config, **options)
    quick = replace(engine.edit, shared_epochs=1, epochs=1, max_validation=60)
    return replace(settings, engine=replace(engine, edit=quick))


SETTINGS = with_windows(small_settings(epochs=2), WindowConfig(length=10))


@pytest.fixture(scope="module")
def view(world: World) -> ModelView:
    memory = Memory()
    return memory.view(memory.content(set_up(world.interactions, world.ends[0], SETTINGS).parts))


@pytest.fixture(scope="module")
def first(world: World, view: ModelView) -> Edited:
    memory = Memory({**world.memory.blobs, **view.get.__self__})  # type: ignore[attr-defined]
    return edited(memory, view, world.interactions, world.ends[1])


def test_a_setup_holds_out_samples_of_the_newest_interactions_with_their_histories(
    world: World, view: ModelView
) -> None:
    past = between(world.interactions, None, world.ends[0])
    for held_out, odd in ((view.validation, 0), (view.holdout, 1)):
        assert len(held_out) == 60
        assert (held_out.user % 2 == odd).all()
        row, item, _ = histories_of(held_out)
        user, time = held_out.user[7], held_out.timestamp[7]
        assert item[row == 7].tolist() == past.item[(past.user == user) & (past.timestamp < time)].tolist()
    trained = max(view.replay(region).timestamp.max() for region in view.content.regions)
    assert trained < min(view.validation.timestamp.min(), view.holdout.timestamp.min())


def test_an_edit_trains_from_where_the_last_one_ended_and_nothing_that_validated_waits(
    world: World, view: ModelView, first: Edited
) -> None:
    until = first.prepared.train_until
    assert first.view.watermark.train_until == until < first.view.watermark.timestamp
    assert view.watermark.train_until is None
    buffer = first.view.buffer.windows
    assert len(buffer)
    assert (buffer.timestamp <= until).all()
    assert len(first.view.buffer) <= pending_after(view, first.prepared) + 200  # those of the rejected addition
    for region in first.view.content.regions:
        assert (first.view.replay(region).timestamp <= until).all()
    second = prepare_edit(first.view, "0" * 64, world.interactions, world.ends[2], seed=1, next_region_id=90)
    train = second.windows.take(second.windows.timestamp <= second.train_until)
    rows = world.interactions
    new = (earlier_items(rows) > 0) & (rows.timestamp > until) & (rows.timestamp <= second.train_until)
    assert int(train.targets.sum()) == int(new.sum())


def test_a_comparison_gives_every_strategy_the_windows_of_an_edit(
    world: World, view: ModelView, first: Edited
) -> None:
    protocol = cut_protocol(world.interactions, world.ends[0], None, 2, view.settings.engine)
    rows, total = world.interactions, 0
    for covered, (start, stop) in zip(
        protocol.coverage, zip(protocol.ends, protocol.ends[1:], strict=False), strict=True
    ):
        new = (rows.timestamp > start) & (rows.timestamp <= stop)
        assert covered.interactions == int(new.sum())
        assert covered.evaluated == int((new & (earlier_items(rows) > 0)).sum())
        assert (covered.first, covered.outside_windows) == (covered.interactions - covered.evaluated, 0)
        total += covered.evaluated
    assert total == int((protocol.slice > 0).sum())
    assert sum(covered.new_items for covered in protocol.coverage) > 0
    tasks = list(task_data_of_edits(protocol, view))
    kept = protocol.interactions
    held_out = set(protocol.windows.user[protocol.held_out & (protocol.slice > 0)].tolist())
    for task, earlier in zip(tasks[1:], tasks, strict=False):
        start = earlier.rows.timestamp.max() if task.number > 1 else protocol.ends[0]
        new = (earlier_items(kept) > 0) & (kept.timestamp > start) & (kept.timestamp <= task.new.timestamp.max())
        assert int(task.new.targets.sum()) == int(new.sum())
        assert held_out.isdisjoint(task.new.user.tolist())
    mine = prepare_edit(view, "0" * 64, kept, tasks[1].until, seed=1, next_region_id=90)
    assert mine.windows.take(mine.windows.timestamp <= mine.train_until).digest == tasks[1].new.digest
    assert mine.windows.take(mine.windows.timestamp > mine.train_until).digest == tasks[1].validation.digest


def log_of(rows: list[tuple[int, int, int]]) -> Interactions:
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    users, items = (tuple(f"{kind}{row}" for row in range(9)) for kind in "ui")
    catalogue = Catalogue(users[: user.max() + 1], items[: item.max()])
    return Interactions(user.astype(np.int32), item.astype(np.int32), time.astype(np.int64), catalogue)


TWO_USERS = log_of([(0, 1, 10), (1, 1, 20), (0, 2, 30), (1, 3, 40)])


@pytest.mark.parametrize("regions", [0, 5])
def test_two_users_with_two_interactions_each_are_enough_to_set_up(regions: int) -> None:
    settings = with_windows(small_settings(2), WindowConfig(), regions=RegionConfig(regions=regions))
    made, memory = set_up(TWO_USERS, None, settings), Memory()
    assert made.report["regions"]["k"] == 1
    assert made.report["length"]["length"] == 10
    view = memory.view(memory.content(made.parts))
    assert view.settings.engine.windows == WindowConfig(10, 5)
    assert with_length(settings, TWO_USERS, None).engine.windows == view.settings.engine.windows
    longer = log_of([(0, 1, 10), (1, 1, 20), (0, 2, 30), (1, 3, 40), (0, 3, 50), (1, 2, 60)])
    assert len(prepare_edit(view, "0" * 64, longer, None, seed=1, next_region_id=9).windows) == 2


def test_new_rows_of_new_users_alone_are_nothing_to_edit_yet() -> None:
    memory = Memory()
    view = memory.view(
        memory.content(set_up(TWO_USERS, None, with_windows(small_settings(2), WindowConfig())).parts)
    )
    longer = log_of([(0, 1, 10), (1, 1, 20), (0, 2, 30), (1, 3, 40), (2, 3, 50)])
    with pytest.raises(NothingToEdit, match="found none in 1 new interactions: wait for more"):
        prepare_edit(view, "0" * 64, longer, None, seed=1, next_region_id=9)


def test_regions_fall_to_what_a_few_windows_allow() -> None:
    log = log_of([(user, 1 + (user + step) % 8, 10 * step + user) for step in range(3) for user in range(8)])
    settings = with_windows(small_settings(2), WindowConfig(length=4), regions=RegionConfig(regions=50))
    made = set_up(log, None, settings)
    assert 1 < made.report["regions"]["k"] <= made.report["windows"]["train"]


def test_only_a_log_without_a_second_interaction_is_refused() -> None:
    with pytest.raises(NothingToEdit, match="an interaction of a user with 1 before it, found none"):
        set_up(log_of([(0, 1, 10), (1, 1, 20)]), None, with_windows(small_settings(2), WindowConfig()))
