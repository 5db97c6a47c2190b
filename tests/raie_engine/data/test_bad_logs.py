"""Every log that cannot be used is refused with one line: what was expected, what was found, what to do."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet
import pytest

from raie.engine.data.interactions import read_log
from raie.engine.data.readers.columns import Columns
from raie.engine.errors import InputError

HEADER = "user_id,item_id,rating,timestamp\n"
GOOD = HEADER + "1,10,5,100\n2,11,4,200\n"
JSON = '{"user_id": 1, "item_id": "a", "rating": 5, "timestamp": 100}\n'

# name of the file, its content, options, words of the message
CASES = {
    "empty file": ("log.csv", "", {}, "empty file"),
    "header only": ("log.csv", HEADER, {}, "no rows"),
    "unknown kind": ("log.xlsx", GOOD, {}, r"\.csv, \.parquet, \.jsonl or \.dat .*found '\.xlsx'"),
    "no kind": ("log", GOOD, {}, "found ''"),
    "missing column": ("log.csv", "user,item_id,timestamp\n1,2,3\n", {}, "found user, item_id, .*--user-column"),
    "missing time column": ("log.csv", "user_id,item_id\n1,2\n", {}, "--time-column"),
    "ragged row": ("log.csv", GOOD + "1,2\n", {}, "row 3: Expected 4 columns, got 2"),
    "not UTF-8 in one row": ("log.csv", GOOD.encode() + b"3,\xff,4,300\n", {}, "row 3: .*UTF8"),
    "not UTF-8": ("log.csv", b"user_id,item_id,timestamp\n\xff\xfe,2,3\n", {}, "UTF8"),
    "text as time": ("log.csv", GOOD + "3,12,4,soon\n", {}, "expected epoch seconds UTC .*found 'soon' in row 3"),
    "clock as time": ("log.csv", HEADER + "3,12,4,12:30:00\n", {}, "found '12:30:00' in row 1"),
    "impossible date": ("log.csv", HEADER + "3,12,4,2010-02-31\n", {}, "2010-02-31"),
    "missing time": ("log.csv", GOOD + "3,12,4,\n", {}, "found none in row 3"),
    "no times at all": ("log.csv", HEADER + "3,12,4,\n", {}, "found none in row 1"),
    "NaN time": ("log.csv", GOOD + "3,12,4,nan\n", {}, "found nan in row 3"),
    "negative time": ("log.csv", GOOD + "3,12,4,-5\n", {}, "found -5 in row 3"),
    "milliseconds": ("log.csv", GOOD + "3,12,4,978300760000\n", {}, "looks like milliseconds, in row 3"),
    "microseconds": ("log.csv", GOOD + "3,12,4,978300760000000\n", {}, "looks like microseconds"),
    "missing user": ("log.csv", GOOD + ",12,4,300\n", {}, "expected user ids in every row, found none in row 3"),
    "quoted empty item": ("log.csv", GOOD + '3,"",4,300\n', {}, "expected item ids in every row, found none in row 3"),
    "duplicates": (
        "log.csv",
        GOOD + "1,10,5,100\n2,11,1,200\n",
        {},
        r"found 2 duplicate rows, the first in row 3 \(user 1, item 10, 1970-01-01T00:01:40Z\); choose --duplicates drop",
    ),
    "threshold without ratings": (
        "log.csv",
        "user_id,item_id,timestamp\n1,2,3\n",
        {"min_rating": 4.0},
        "'rating' .*found user_id, item_id, timestamp.*--rating-column",
    ),
    "text as rating": ("log.csv", GOOD + "3,12,good,300\n", {"min_rating": 4.0}, "number, found 'good' in row 3"),
    "missing rating": ("log.csv", GOOD + "3,12,,300\n", {"min_rating": 4.0}, "rating in every row, found none in row 3"),
    "nothing above the threshold": ("log.csv", GOOD, {"min_rating": 6.0}, "found none among 2 .*lower --min-rating"),
    "unknown duplicates option": ("log.csv", GOOD, {"duplicates": "ignore"}, "error, drop or keep, found 'ignore'"),
    "broken parquet": ("log.parquet", "PAR1 this is not parquet", {}, "expected a readable parquet log"),
    "broken JSON line": ("log.jsonl", JSON + '{"user_id": 2,\n', {}, "one JSON object per line, found in line 2"),
    "JSON list": ("log.jsonl", "[1, 2]\n", {}, r"one JSON object per line, found in line 1: \[1, 2\]"),
    "JSON without a column": ("log.jsonl", '{"user_id": 1}\n', {}, "'item_id' .*--item-column"),
    "JSON of mixed types": ("log.jsonl", JSON + JSON.replace("1,", '"x",', 1), {}, "every user_id .*found 'x' in line 2"),
    "JSON null id": ("log.jsonl", JSON + JSON.replace("1,", "null,", 1), {}, "user ids .*found none in row 2"),
    "JSON list as id": ("log.jsonl", JSON.replace('"a"', "[1]"), {}, "item_id"),
    "no such ratings": ("log.csv", GOOD, {"columns": Columns(rating="nope")}, "'nope' for the rating, found user_id, "),
    "no such ratings in JSON": ("log.jsonl", JSON, {"columns": Columns(rating="nope")}, "'nope' .*--rating-column"),
    "CSV named .dat": ("log.dat", GOOD, {}, "row 1: Expected 7 columns, got 1"),
    "titles in .dat": ("log.dat", "1::Star: Wars::5::100\n", {}, "Expected 7 columns, got 8"),
    "column option on .dat": ("log.dat", "1::2::5::3\n", {"columns": Columns(user="who")}, "'who' .*found user_id"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_log_that_cannot_be_used_is_refused_in_one_clear_line(tmp_path, case):
    name, content, options, words = CASES[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as caught:
        read_log(path, **options)
    assert "\n" not in str(caught.value)
    assert "duplicates" in options or str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_different_errors(tmp_path):
    with pytest.raises(InputError, match="found nothing; check the path"):
        read_log(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="found a folder"):
        read_log(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("user_id", pa.array([1, None, 2]), "user ids in every row, found none in row 2"),
        ("user_id", pa.array([1.0, float("nan"), 2.0]), "user ids in every row, found none in row 2"),
        ("item_id", pa.array([["a"], ["b"], ["c"]]), "expected one id per row"),
        ("timestamp", pa.array([True, False, True]), "expected epoch seconds UTC .*found 'true' in row 1"),
        ("timestamp", pa.array([1.0, 2.0, float("inf")]), "found inf in row 3"),
        ("timestamp", pa.array([1, 2, -3]), "found -3 in row 3"),
    ],
)
def test_a_parquet_column_of_the_wrong_values_is_refused(tmp_path, column, values, words):
    table = {"user_id": pa.array([1, 2, 3]), "item_id": pa.array([1, 2, 3]), "timestamp": pa.array([1, 2, 3])}
    pa.parquet.write_table(pa.table({**table, column: values}), tmp_path / "log.parquet")
    with pytest.raises(InputError, match=words):
        read_log(tmp_path / "log.parquet")


def test_a_rating_column_that_is_not_asked_for_may_hold_anything(tmp_path):
    (tmp_path / "log.csv").write_text(GOOD + "3,12,good,300\n")
    assert len(read_log(tmp_path / "log.csv")) == 3
    assert len(read_log(tmp_path / "log.csv", Columns(rating="rating"))) == 3


def test_the_row_of_a_parsers_message_is_counted_like_any_other_row(tmp_path):
    path = tmp_path / "log.csv"
    rows = []
    for bad in ("1,2\n", "3,12,4,soon\n", "CSV parse error: Row #9\n"):
        path.write_text(GOOD + "\n" + bad)
        with pytest.raises(InputError) as caught:
            read_log(path)
        rows.append(str(caught.value))
    assert all("row 3" in message for message in rows), rows
    assert rows[2].count("Row #9") == 1, "what the file itself says stays as it is"


def test_a_parquet_log_without_the_named_ratings_is_refused(tmp_path):
    table = {"user_id": pa.array([1]), "item_id": pa.array([1]), "timestamp": pa.array([1])}
    pa.parquet.write_table(pa.table(table), tmp_path / "log.parquet")
    with pytest.raises(InputError, match="'nope' for the rating"):
        read_log(tmp_path / "log.parquet", Columns(rating="nope"))
