"""Numbers that are dates in disguise never become the year 1970 in silence."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raie.engine.data.interactions import cut_time, read_log
from raie.engine.data.readers.calendar import calendar_date, calendar_seconds, looks_like_days

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 12, 31))


@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from(["%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S"]))
def test_dates_without_separators_are_the_instants_they_name(moments, form):
    texts = [moment.strftime(form) for moment in moments]
    expected = [int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) for text in texts]
    assert calendar_seconds(np.array(texts, dtype=np.int64)).tolist() == expected
    assert calendar_date(texts[0]) == expected[0]


@pytest.mark.parametrize(
    "number", [20240230, 20241301, 20240100, 20230229, 202401312460, 18991231, 1_704_067_200, 7]
)
def test_a_number_that_is_no_date_stays_what_it_is(number):
    assert calendar_seconds(np.array([number])) is None
    assert calendar_seconds(np.array([20240131, number])) is None
    assert calendar_date(str(number)) is None


def log_of(tmp_path, times):
    rows = "".join(f"u{n % 3},i{n},{at}\n" for n, at in enumerate(times))
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n" + rows)
    return read_log(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("times", "first", "words"),
    [
        (["20240131", "20240201"], 1_706_659_200, "as dates, not as seconds since 1970: 20240131 is 2024-01-31"),
        (["20240131093000", "20240201000000"], 1_706_693_400, "20240131093000 is 2024-01-31T09:30:00Z"),
        (["19753", "19800"], 19753, "1970-01-01T05:30:00Z: they look like days since 1970"),
        (["45322.25", "45400"], 45322, "days of a spreadsheet"),
        (["1", "2", "3"], 1, "days and row numbers"),
        (["1704067200"], 1_704_067_200, None),
    ],
)
def test_what_is_not_plainly_seconds_is_said(tmp_path, times, first, words):
    log = log_of(tmp_path, times)
    assert log.timestamp[0] == first
    assert len(log.reading.notes) == (words is not None)
    assert words is None or words in log.reading.notes[0]


def test_a_cut_may_be_a_date_without_separators(tmp_path):
    assert cut_time(log_of(tmp_path, ["20240131"]), "20240131") == 1_706_659_200


def test_days_of_two_calendars_are_recognised():
    assert looks_like_days(np.array([19_000, 19_900])) == "days since 1970"
    assert looks_like_days(np.array([44_000, 45_900])) == "days of a spreadsheet"
    assert looks_like_days(np.array([0, 19_900])) is None
