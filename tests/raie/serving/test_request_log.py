"""The log of requests: one whole file or a folder of them, no user unless asked for, and no request waits for it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry, Counter

from raie.engine.answers import Answer
from raie.errors import RaieError, UsageError
from raie.serving.request_drift import served_regions
from raie.serving.request_log import RequestLog, read_requests


class Counted:
    """The one metric that the log reports to."""

    def __init__(self) -> None:
        self.log_rows_lost = Counter("lost", "Rows.", registry=CollectorRegistry())


def answer(region: int | None) -> Answer:
    return Answer((), (), (), region, 2, "a" * 64)


def logged(path: Path, *, users: bool, rows: int = 3) -> Counted:
    log, counted = RequestLog(path, users=users), Counted()
    log.metrics = counted  # type: ignore[assignment]
    log.start()
    log.offer([answer(3), answer(None)] * rows, ["ada\ud800", None] * rows)
    log.stop(10)
    return counted


@pytest.mark.parametrize("name", ["requests.parquet", "requests"])
def test_a_log_is_whole_once_the_server_stops_and_names_no_user_unless_asked_to(tmp_path: Path, name: str) -> None:
    logged(tmp_path / name, users=False)
    table = read_requests(tmp_path / name)
    assert table.column_names == ["time", "snapshot", "region", "ignored"]
    assert table["region"].to_pylist() == [3, None] * 3
    logged(tmp_path / f"named-{name}", users=True)
    file = tmp_path / f"named-{name}"
    file = next(file.iterdir()) if file.is_dir() else file
    assert pq.read_table(file)["user"].to_pylist() == ["ada?", None] * 3


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "requests.parquet").touch()
    with pytest.raises(RaieError, match="name a folder"):
        RequestLog(tmp_path / "requests.parquet")


def test_rows_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    log, counted = RequestLog(tmp_path / "requests"), Counted()
    log.metrics = counted  # type: ignore[assignment]
    (tmp_path / "requests").rmdir()
    log.start()
    log.offer([answer(3)] * 7, [None] * 7)
    log.stop(10)
    assert counted.log_rows_lost._value.get() == 7


def test_what_is_no_log_of_requests_is_refused_in_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"region": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("region\n1\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for name, problem in (
        ("other.parquet", "another table"),
        ("text.parquet", "no Parquet file"),
        ("none.parquet", "no such file"),
        ("empty", "no .parquet file"),
    ):
        with pytest.raises(UsageError, match=problem) as error:
            read_requests(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_share_that_moved_by_more_than_three_standard_errors_is_drift() -> None:
    first, second, third = served_regions({0: 400, 1: 400, 2: 200}, {0: 200, 1: 600, 2: 200})
    assert (first.drifted, second.drifted, third.drifted) == (True, True, False)
    assert (first.share_before, first.share_now) == (0.4, 0.2)
    assert first.errors == pytest.approx(-9.759, abs=1e-3)
    assert [region.drifted for region in served_regions({0: 5, 1: 5}, {})] == [False, False]
