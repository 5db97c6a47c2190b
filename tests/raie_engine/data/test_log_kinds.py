"""Logs as other people write them: each is read as the log it is, with a line that says so, or refused in one line."""

from __future__ import annotations

import bz2
import gzip
import json
import time

import pyarrow as pa
import pyarrow.parquet
import pytest

from raie.engine.data.interactions import read_log
from raie.engine.data.readers import delimited, jsonl, parquet
from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.files import read_raw, stream_raw
from raie.engine.data.readers.settings import LogSettings
from raie.engine.errors import InputError

ROWS = [
    ("007", "0001", 1_704_067_200),
    ("7", "0001", 1_704_067_260),
    ("7", "A", 1_704_067_320),
    ("42", "1", 1_704_067_380),
]
NAMES = ("user_id", "item_id", "timestamp")


def text(rows=ROWS, header=NAMES, separator=",", rating=None) -> str:
    if rating is not None:
        rows = [(user, item, rating, at) for user, item, at in rows]
    return "".join(separator.join(map(str, row)) + "\n" for row in ([header] if header else []) + list(rows))


def objects(rows=ROWS, names=NAMES, **more) -> str:
    return "".join(json.dumps(dict(zip(names, row, strict=True)) | more) + "\n" for row in rows)


PLAIN = text().encode()
MOVIELENS, AMAZON = ("userId", "movieId", "rating", "timestamp"), ("reviewerID", "asin", "unixReviewTime")
IN_2023 = [(user, item, at * 1000) for user, item, at in ROWS]
UTC = [(user, item, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))) for user, item, at in ROWS]

# name of the file, its content, words of the line or note that says what it was read as (None: nothing to say)
READ = {
    "tabs named csv": ("log.csv", text(separator="\t"), "separated by tabs: user_id, item_id, timestamp"),
    "tsv": ("log.tsv", text(separator="\t"), "separated by tabs"),
    "semicolons": ("log.csv", text(separator=";"), "separated by semicolons"),
    "pipes": ("log.csv", text(separator="|"), "separated by pipes"),
    "gzip": ("log.csv.gz", gzip.compress(PLAIN), None),
    "gzip under a plain name": ("log.csv", gzip.compress(PLAIN), None),
    "bzip2": ("log.csv.bz2", bz2.compress(PLAIN), None),
    "zstd": ("log.csv.zst", pa.compress(PLAIN, "zstd", asbytes=True), None),
    "compressed JSONL": ("log.jsonl.gz", gzip.compress(objects().encode()), None),
    "RecBole": (
        "log.inter",
        text(header=("user_id:token", "item_id:token", "rating:float", "timestamp:float"), separator="\t", rating=4.0),
        "RecBole's atomic file",
    ),
    "MovieLens-100K": ("u.data", text(header=None, separator="\t", rating=4), "MovieLens-100K's u.data"),
    "MovieLens' ratings.csv": (
        "ratings.csv",
        text(header=MOVIELENS, rating=4.0),
        "read as MovieLens' ratings.csv: userId, movieId, timestamp",
    ),
    "MovieLens' ratings.dat": ("ratings.dat", text(header=None, separator="::", rating=4), "MovieLens' ratings.dat"),
    "Amazon, 2018": ("reviews.json", objects(names=AMAZON, overall=5.0, helpful=[0]), "Amazon reviews of 2014 or 2018"),
    "Amazon, 2023": ("games.jsonl", objects(IN_2023, ("user_id", "parent_asin", "timestamp")), "Amazon reviews of 2023"),
    "byte order mark": ("log.csv", b"\xef\xbb\xbf" + PLAIN, None),
    "byte order mark in JSONL": ("log.jsonl", b"\xef\xbb\xbf" + objects().encode(), None),
    "byte order mark under gzip": ("log.jsonl.gz", gzip.compress(b"\xef\xbb\xbf" + objects().encode()), None),
    "header in other case": ("log.csv", text(header=("User_ID", "Item_ID", "Timestamp")), "other case or with blanks"),
    "a blank after each comma": ("log.csv", PLAIN.replace(b",", b", "), "other case or with blanks"),
    "times ending in UTC": ("log.csv", text(UTC), None),
    "CRLF": ("log.csv", PLAIN.replace(b"\n", b"\r\n"), None),
    "a column twice that nobody needs": ("log.csv", text([(*r, 1, 2) for r in ROWS], (*NAMES, "x", "x")), None),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_a_log_as_others_write_it_is_read_as_the_log_it_is(tmp_path, case):
    name, content, words = READ[case]
    (tmp_path / "plain.csv").write_bytes(PLAIN)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    log = read_log(tmp_path / name)
    assert log.digest == read_log(tmp_path / "plain.csv").digest
    assert (log.reading.line is None) == (words is None)
    assert (words or "") in (log.reading.line or "")


@pytest.mark.parametrize("case", READ)
def test_what_a_setup_recognised_reads_the_next_log_of_the_same_kind(tmp_path, case):
    name, content, _ = READ[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    first = read_log(path)
    kept = LogSettings().as_read(first.reading)
    again = read_log(path, **vars(LogSettings(Columns(**kept.to_mapping()["columns"]))))
    assert (again.digest, again.catalogue) == (first.digest, first.catalogue)


@pytest.mark.parametrize("case", [*READ, "parquet", "a folder of parts"])
def test_a_log_read_some_rows_at_a_time_is_the_log_read_whole(tmp_path, case, monkeypatch):
    for module, size in ((delimited, "_BLOCK_BYTES"), (jsonl, "_LINES"), (parquet, "_ROWS")):
        monkeypatch.setattr(module, size, 2 if module is not delimited else 120)
    path = tmp_path / READ.get(case, ["log.parquet"])[0]
    if case in READ:
        content = READ[case][1]
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    else:
        users, items, times = zip(*ROWS, strict=True)
        part = path if case == "parquet" else path / "user_id=7" / "part.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        columns = {"item_id": items, "timestamp": times} | ({"user_id": users} if case == "parquet" else {})
        pa.parquet.write_table(pa.table({name: list(values) for name, values in columns.items()}), part)
    whole = read_raw(path, Columns(), with_rating=False)
    parts = list(stream_raw(path, Columns(), with_rating=False))

    def ids(raw, role):
        codes = getattr(raw, role)
        return [codes.texts[code] for code in codes.codes]

    for role in ("user", "item"):
        assert [text for part in parts for text in ids(part, role)] == ids(whole, role)
    assert [at for part in parts for at in part.timestamp.tolist()] == whole.timestamp.tolist()


def test_a_model_of_the_usual_columns_keeps_its_settings_byte_for_byte(tmp_path):
    (tmp_path / "log.csv").write_bytes(PLAIN)
    kept = LogSettings().as_read(read_log(tmp_path / "log.csv").reading)
    assert list(kept.to_mapping()) == ["columns", "min_rating", "duplicates", "titles"]
    assert kept == LogSettings()
    assert LogSettings().changed(separator=";", header=False).to_mapping()["separator"] == ";"


FOUR = [(*row, "Z") for row in ROWS]
TWICE = '{"user_id": "7", "user_id": "8", "item_id": "1", "timestamp": 1704067400}\n'
BEYOND = (
    '{"user_id": 1.0, "item_id": 1, "timestamp": 5}\n{"user_id": 9007199254740993, "item_id": 1, "timestamp": 6}\n'
)

# name of the file, its content, words of the refusal
REFUSED = {
    "no header": ("log.csv", text(header=None, rating=4.0), "data: 007, 0001, 4.0, .*--no-header .*--time-column 4"),
    "no header, tabs": ("log.csv", text(header=None, separator="\t"), r"separated by tabs.*--no-header"),
    "the item column twice": ("log.csv", text(FOUR, (*NAMES, "item_id")), "one column 'item_id', found 2"),
    "two spellings of one column": (
        "log.csv",
        text(FOUR, ("USER_ID", "item_id", "timestamp", "User_Id")),
        "'user_id' for the user",
    ),
    "a key twice in one line": ("log.jsonl", objects() + TWICE, "'user_id' once in a line, found it 2 times in line 5"),
    "a key twice in the first line": ("log.jsonl", TWICE, "one column 'user_id', found 2"),
    "a zip named csv": ("log.csv", b"PK\x03\x04 and more", "a zip archive or a spreadsheet"),
    "UTF-16": ("log.csv", text().encode("utf-16"), "UTF-16; save it as UTF-8"),
    "a NUL byte in an id": ("log.csv", PLAIN.replace(b"A", b"\0"), "item ids of text, found a NUL byte in row 3"),
    "NUL bytes in the header": ("log.csv", PLAIN.replace(b"user", b"us\0r"), "header of text, found NUL bytes"),
    "no gzip after all": ("log.csv.gz", b"\x1f\x8b and no more", "expected a readable csv log"),
    "an empty file under gzip": ("log.csv.gz", gzip.compress(b""), "user_id"),
    "header alone": ("log.tsv", "user_id\titem_id\ttimestamp\n", "a header and no rows"),
    "milliseconds of nobody's layout": ("log.csv", text(IN_2023), "looks like milliseconds"),
    "JSON ids beyond 2^53 among floats": ("log.jsonl", BEYOND, "whole numbers below 9,007,199,254,740,992, .* in row 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_log_that_could_be_read_in_two_ways_is_refused_in_one_line(tmp_path, case):
    name, content, words = REFUSED[case]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as refused:
        read_log(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_file_without_a_header_is_read_by_the_numbers_of_its_columns(tmp_path):
    (tmp_path / "plain.csv").write_bytes(PLAIN)
    (tmp_path / "log.csv").write_text(text(header=None, separator=";", rating=4.0))
    by_number = Columns("1", "2", "4")
    expected = read_log(tmp_path / "plain.csv").digest
    assert read_log(tmp_path / "log.csv", by_number, header=False).digest == expected
    assert read_log(tmp_path / "log.csv", by_number, header=False, separator=";").digest == expected
    with pytest.raises(InputError, match="by number, from 1 to 4, found user_id"):
        read_log(tmp_path / "log.csv", header=False)
    with pytest.raises(InputError, match=r"found 007;0001;4.0;1704067200"):
        read_log(tmp_path / "log.csv", separator=",")


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_ids_that_a_float_cannot_hold_are_refused_before_two_become_one(tmp_path, kind):
    least = {pa.float32(): 2**24, pa.float64(): 2**53}[kind]
    for top, words in ((least - 1, None), (least, "in row 2: its digits are lost")):
        items = pa.array([1.0, float(top)]).cast(kind)
        table = {"user_id": ["a", "b"], "item_id": items, "timestamp": [1_704_067_200, 1_704_067_201]}
        pa.parquet.write_table(pa.table(table), tmp_path / "log.parquet")
        if words is None:
            assert read_log(tmp_path / "log.parquet").catalogue.items == ("1", str(top))
        else:
            with pytest.raises(InputError, match=words):
                read_log(tmp_path / "log.parquet")


def test_an_integer_and_the_same_float_are_one_user_in_jsonl_and_a_note_in_csv(tmp_path):
    lines = '{"user_id": 1, "item_id": 0, "timestamp": 5}\n{"user_id": 1.0, "item_id": 2, "timestamp": 6}\n'
    (tmp_path / "log.jsonl").write_text(lines)
    assert read_log(tmp_path / "log.jsonl").catalogue.users == ("1",)
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n1,0,1704067200\n1.0,0,1704067201\n")
    assert "user_id holds both 1 and 1.0" in read_log(tmp_path / "log.csv").reading.notes[0]


def test_a_column_twice_in_parquet_is_named_where_it_is_needed(tmp_path):
    columns = [pa.array(values) for values in zip(*ROWS, strict=True)]
    for extra, words in (
        ("x", None),
        ("item_id", "one column 'item_id', found 2"),
        ("timestamp", "'timestamp', found 2"),
    ):
        names = [*NAMES, extra, extra] if extra == "x" else [*NAMES, extra]
        arrays = [*columns, *[columns[1]] * (len(names) - 3)]
        pa.parquet.write_table(pa.Table.from_arrays(arrays, names=names), tmp_path / "log.parquet")
        if words is None:
            assert len(read_log(tmp_path / "log.parquet")) == len(ROWS)
        else:
            with pytest.raises(InputError, match=words):
                read_log(tmp_path / "log.parquet")


def test_the_parts_of_a_partitioned_log_are_one_log(tmp_path):
    (tmp_path / "plain.csv").write_bytes(PLAIN)
    for number, (user, item, at) in enumerate(ROWS):
        folder = tmp_path / "log" / f"user_id={user}"
        folder.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(pa.table({"item_id": [item], "timestamp": [at]}), folder / f"part-{number}.parquet")
    (tmp_path / "log" / "_SUCCESS").touch()
    assert read_log(tmp_path / "log").digest == read_log(tmp_path / "plain.csv").digest


def test_titles_of_recboles_items_lie_beside_their_log(tmp_path):
    name, content, _ = READ["RecBole"]
    (tmp_path / name).write_text(content)
    (tmp_path / "log.item").write_text("item_id:token\tgenre:token_seq\n0001\tDrama\n")
    assert read_log(tmp_path / name).catalogue.titles == ()
    (tmp_path / "log.item").write_text("item_id:token\tmovie_title:token_seq\n0001\tToy Story\n")
    log = read_log(tmp_path / name)
    assert log.catalogue.titles == ("Toy Story",)
    assert "titles are read from log.item" in log.reading.notes
    assert LogSettings().as_read(log.reading).titles == str(tmp_path / "log.item")


def test_a_field_of_several_lines_is_one_field(tmp_path):
    pad = "x" * 4000
    rows = [(f"u{n % 3}", f"i{n}", 1_704_067_200 + n, f'"{pad}\n{pad}"') for n in range(1200)]  # beyond one block
    (tmp_path / "log.csv").write_text(text(rows, (*NAMES, "comment")))
    assert len(read_log(tmp_path / "log.csv")) == 1200


def test_a_small_file_that_unpacks_to_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("raie.engine.data.readers.sources.FREE_BYTES", 10_000)
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(PLAIN + b"7,A,1704067400\n" * 200_000))
    with pytest.raises(InputError, match="of gzip that unpack to more than"):
        read_log(tmp_path / "log.csv.gz", duplicates="keep")
