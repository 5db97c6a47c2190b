"""What the page of a history holds is what the registry holds: each change against its parent, each text once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from raie.pages import history_data as data_of_page
from raie.pages.history_data import PublishedPages, history_data, metric_rows
from raie.registry import Author, Registry
from raie.registry.db.engine import reading
from raie.registry.edits.whole_history import whole_history
from tests.cli import history as small
from tests.raie.long_history import long_history


def changes_of(data, number):
    """The changes of a snapshot as (region, action, version before, version)."""
    changes, texts = data["changes"], data["texts"]
    return [
        (changes["region"][n], texts[changes["action"][n]], changes["before"][n], changes["version"][n])
        for n in range(changes["start"][number], changes["start"][number + 1])
    ]


def test_a_change_says_what_the_parent_held(any_database: Registry) -> None:
    small.make(any_database)
    with reading(any_database.engine) as connection:
        data = history_data(whole_history(connection, small.MODEL))
    edits = data["snapshots"]["edit"]
    assert edits == [1, 2, 3, 4, 5, 6]
    assert changes_of(data, 0) == [(region, "setup", 0, 1) for region in range(3)]
    assert changes_of(data, 2) == [(0, "update", 1, 2), (3, "add", 0, 1)]
    assert changes_of(data, 3) == [(0, "replace", 1, 2)], "a cherry-pick is compared with its own parent"
    assert changes_of(data, 5) == [(1, "revert", 2, 1)]
    assert data["snapshots"]["parent"] == [-1, 0, 1, 1, 2, 4]
    assert (data["head"], data["aliases"]) == (5, {"production": 3, "staging": 4})
    assert (data["undoes"], data["undone_by"]) == ({5: (2,)}, {1: 6})
    assert [data["texts"][move[0]] for move in data["moves"]] == ["production", "production", "staging"]
    names = {data["texts"][name]: (before, after) for name, before, after, *_ in data["metrics"][0]}
    assert names == {"ndcg": (0.1, 0.125)}


def test_a_region_that_is_gone_has_no_version_and_one_that_comes_back_is_added(local_registry: Registry) -> None:
    small.set_up(local_registry)
    small.edit(local_registry, [3])
    for number in (2, 3):
        local_registry.rollback_edit(small.MODEL, number, author=Author("ada"))
    with reading(local_registry.engine) as connection:
        data = history_data(whole_history(connection, small.MODEL))
    assert changes_of(data, 2) == [(3, "retire", 1, 0)]
    assert changes_of(data, 3) == [(3, "revert", 0, 1)]
    assert data["snapshots"]["same"] == [0, 1, 0, 1], "equal contents score the same"


def test_the_data_is_small_and_the_same_for_the_same_history() -> None:
    history = long_history(300)
    text = json.dumps(history_data(history))
    assert text == json.dumps(history_data(long_history(300)))
    assert len(text) < 300 * 700
    assert text.count("drift in two regions after the holiday") == 1


def test_beyond_a_size_the_metrics_of_the_oldest_edits_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_of_page, "METRICS_BYTES", 1000)
    data = history_data(long_history(60))
    assert 0 < data["metrics_from"] < 60
    assert sorted(data["metrics"]) == list(range(data["metrics_from"], 60))


def test_an_edit_without_a_snapshot_is_listed_beside_the_others() -> None:
    history = long_history(4)
    aborted = replace(history.edits[4], number=5, result=None, state="aborted", close_reason="a worker died")
    data = history_data(replace(history, edits=history.edits | {5: aborted}))
    ((number, _, state, *_, why),) = data["other_edits"]
    assert (number, data["texts"][state], data["texts"][why]) == (5, "aborted", "a worker died")


def test_the_pages_of_mlflow_are_those_of_snapshots_that_are_shown() -> None:
    history = long_history(3)
    versions = {history.snapshots[1].id: ("2", "7", "abc"), "0" * 64: ("9", "7", "def")}
    data = history_data(history, PublishedPages("http://pages/", "films", versions))
    assert data["mlflow"] == {"address": "http://pages/", "model": "films", "versions": {1: ["2", "7", "abc"]}}


def test_metrics_are_pairs_with_intervals_where_the_report_has_them() -> None:
    report = {
        "adaptation": {
            "windows": 40,
            "before": {"Recall@10": 0.25, "NDCG@10": None},
            "after": {"Recall@10": 0.5, "NDCG@10": 0.1},
            "changes": {"Recall@10": {"mean": 0.25, "low": 0.125, "high": 0.375}},
        },
        "ndcg": {"before": 0.1, "after": 0.2},
        "holdout": {"MRR": 0.3, "name": "text"},
        "loss": 1.5,
        "accepted": True,
        "regions": [{"region": 1}],
    }
    assert metric_rows(report) == [
        ("adaptation Recall@10", 0.25, 0.5, 0.125, 0.375),
        ("ndcg", 0.1, 0.2, None, None),
        ("holdout MRR", None, 0.3, None, None),
        ("loss", None, 1.5, None, None),
    ]
