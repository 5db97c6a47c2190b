"""The synthetic log is reproducible, drifts where its truth says, and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from raie.engine.data.interactions import between, cut_time, read_log
from raie.engine.data.synthetic import Drift, SyntheticConfig, drifting_log, one_topic_in_five, write_csv
from raie.engine.data.windows import cut_windows
from raie.engine.errors import ConfigError, InputError
from tests.raie_engine.world import sliding

SMALL = SyntheticConfig(users=300)


@pytest.fixture(scope="module")
def log():
    return drifting_log(SMALL)


@pytest.fixture(scope="module")
def interactions(log, tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "log.csv"
    write_csv(log, path)
    return read_log(path)


def windows_of(interactions, truth, name):
    number = truth.names.index(name)
    after = int(truth.ends[number - 1]) if number else None
    return cut_windows(between(interactions, after, int(truth.ends[number])), sliding())


def kinds(interactions, windows) -> np.ndarray:
    """The style of each context item, as text [n, L]: "t0-core", "t0-fringe", .. "new"."""
    names = np.array(["", *(item.rpartition("-")[0] for item in interactions.catalogue.items)])
    return names[windows.items]


def test_the_same_configuration_gives_the_same_log_and_another_seed_another(log):
    again, another = drifting_log(SMALL), drifting_log(dataclasses.replace(SMALL, seed=1))
    for name in ("users", "items", "timestamps"):
        assert (getattr(log, name) == getattr(again, name)).all()
    assert len(another.items) != len(log.items) or (another.items != log.items).any()


def test_the_file_gives_the_log_back_without_duplicates_or_ties_of_one_user(log, interactions):
    assert len(interactions) == len(log.users)
    assert (interactions.timestamp == log.timestamps).all()
    assert [interactions.catalogue.users[row] for row in interactions.user[:50]] == log.users[:50].tolist()


def test_the_cuts_are_dates_that_a_reader_of_the_log_understands(log, interactions):
    assert list(log.truth.cuts) == ["setup", "edit_1", "edit_2", "test_2"]
    assert [cut_time(interactions, text) for text in log.truth.cuts.values()] == log.truth.ends.tolist()
    assert interactions.timestamp[-1] <= log.truth.ends[-1]


def test_windows_labelled_add_hold_items_that_the_setup_hardly_knows(log, interactions):
    windows = windows_of(interactions, log.truth, "edit_1")
    labels = log.truth.labels(windows, interactions.catalogue)
    new = (kinds(interactions, windows) == "new").mean(axis=1)
    assert new[labels == "add"].mean() > 0.95
    assert new[labels != "add"].max() == 0
    setup = windows_of(interactions, log.truth, "setup")
    assert 0 < (kinds(interactions, setup) == "new").mean() < 0.02
    assert not set(windows.items[windows.items > 0]) <= set(setup.items.ravel())  # some items are new altogether


def test_windows_labelled_expand_stay_in_their_topic_and_take_its_fringe(log, interactions):
    windows = windows_of(interactions, log.truth, "edit_1")
    labels = log.truth.labels(windows, interactions.catalogue)
    fringe = np.char.find(kinds(interactions, windows), "t0-fringe") == 0
    core = np.char.find(kinds(interactions, windows), "core") > 0
    assert fringe[labels == "expand"].mean() > 0.75
    assert core[labels == "update"].mean() > 0.95


def test_the_two_edits_touch_different_topics(log, interactions):
    truth = log.truth
    active = [
        set(truth.topic[truth.rows(windows_of(interactions, truth, name), interactions.catalogue)])
        for name in ("edit_1", "edit_2")
    ]
    assert active == [{0, 1, 4}, {2, 3}]


def test_a_drift_is_an_update_once_its_edit_was_made(log, interactions):
    def count(name, edits):
        labels = log.truth.labels(windows_of(interactions, log.truth, name), interactions.catalogue, edits=edits)
        return {action: int((labels == action).sum()) for action in np.unique(labels)}

    assert set(count("setup", 0)) == {"update"}
    assert set(count("edit_1", 0)) == {"update", "expand", "add"}
    assert set(count("edit_1", 1)) == {"update"}
    assert set(count("edit_2", 1)) == {"update", "expand"}
    assert set(count("test_2", 0)) == {"update", "expand", "add"}
    assert set(count("test_2", 1)) == {"update", "expand"}
    assert set(count("test_2", 2)) == {"update"}


def test_exactly_one_topic_in_five_drifts(tmp_path):
    log = drifting_log(dataclasses.replace(one_topic_in_five(), users=200))
    drifting = log.truth.action[:, 0] > 0
    assert set(log.truth.topic[drifting]) == {0}
    assert drifting.sum() == 40
    assert not log.truth.action[:, 1].any()


def test_a_test_slice_after_each_edit_by_option():
    log = drifting_log(dataclasses.replace(SMALL, users=50, test_after_each=True))
    assert log.truth.names == ("setup", "edit_1", "test_1", "edit_2", "test_2")
    assert (np.diff(log.truth.ends) > 0).all()


def test_a_chain_makes_the_next_item_more_predictable_than_popularity(log):
    order = np.lexsort((log.timestamps, log.users))
    user, item = log.users[order], log.items[order]
    follows = user[1:] == user[:-1]
    pairs, counts = np.unique(np.stack([item[:-1][follows], item[1:][follows]]), axis=1, return_counts=True)
    best: dict[str, int] = {}
    for first, count in zip(pairs[0], counts, strict=True):
        best[first] = max(best.get(first, 0), int(count))
    popular = np.unique(item, return_counts=True)[1].max()
    assert sum(best.values()) / follows.sum() > 5 * popular / len(item)


def test_a_topic_that_does_not_exist_or_drifts_two_ways_is_refused():
    for drift in (Drift(stable=(5,)), Drift(expand=(0,), add=(0,))):
        with pytest.raises(ConfigError, match="topics 0 to 4 once each"):
            SyntheticConfig(first=drift)
    with pytest.raises(ConfigError, match="setup_length"):
        SyntheticConfig(setup_length=(9, 3))


def test_windows_of_another_log_have_no_truth(log, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("user_id,item_id,timestamp\n" + "".join(f"stranger,i{k},{k}\n" for k in range(12)))
    another = read_log(path)
    with pytest.raises(InputError, match="stranger"):
        log.truth.labels(cut_windows(another, sliding()), another.catalogue)
