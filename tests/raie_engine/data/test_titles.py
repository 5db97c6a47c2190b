"""Titles of items: from a file beside the log or a column of it, kept with the rows of the catalogue they name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import read_log
from raie.engine.data.readers.columns import Columns
from raie.engine.data.titles import read_titles
from raie.engine.errors import DamagedArtifact, InputError

LOG = "user_id,item_id,timestamp\nann,7,10\nbob,30,20\nann,31,30\n"
TITLES = {"7": "Toy Story (1995)", "31": "Star Wars: Episode IV"}


def as_csv(folder: Path) -> Path:
    path = folder / "items.csv"
    path.write_text("title,item_id\nToy Story (1995),7\n,30\nStar Wars: Episode IV,31\nAnother name,7\n")
    return path


def as_parquet(folder: Path) -> Path:
    table = pa.table({"item_id": [7, 30, 31], "title": ["Toy Story (1995)", None, "Star Wars: Episode IV"]})
    pa.parquet.write_table(table, folder / "items.parquet")
    return folder / "items.parquet"


def as_jsonl(folder: Path) -> Path:
    path = folder / "items.jsonl"
    rows = ['{"item_id": "7", "title": "Toy Story (1995)"}', '{"item_id": "30", "title": null}']
    path.write_text("\n".join([*rows, '{"item_id": "31", "title": "Star Wars: Episode IV"}']))
    return path


def as_dat(folder: Path) -> Path:
    path = folder / "movies.dat"
    rows = [
        "7::Toy Story (1995)::Animation",
        "31::Star Wars: Episode IV::Action|War",
        "7::Another name::Animation",
    ]
    path.write_text("\n".join(rows), encoding="latin-1")
    return path


@pytest.mark.parametrize("write", [as_csv, as_parquet, as_jsonl, as_dat])
def test_a_file_of_any_kind_gives_the_titles_by_item(write, tmp_path):
    assert read_titles(write(tmp_path), Columns()) == TITLES


def test_items_that_a_category_names_and_no_row_holds_have_no_title(tmp_path):
    items = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2]), pa.array(["7", "30", "31"]))
    table = pa.table({"item_id": items, "title": ["Star Wars: Episode IV", "Toy Story (1995)", "Another name"]})
    pa.parquet.write_table(table, tmp_path / "items.parquet")
    assert read_titles(tmp_path / "items.parquet", Columns()) == TITLES


def test_a_letter_of_movielens_is_read_as_it_was_written(tmp_path):
    (tmp_path / "movies.dat").write_bytes("5::Misérables, Les (1995)::Drama\n".encode("latin-1"))
    assert read_titles(tmp_path / "movies.dat", Columns()) == {"5": "Misérables, Les (1995)"}


def test_a_column_of_the_log_gives_them_too(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "user_id,item_id,timestamp,name\na,7,10,Toy Story (1995)\nb,30,20,\na,31,30,Star Wars: Episode IV\n"
    )
    assert read_log(path, Columns(title="name")).catalogue.titles == (
        "Toy Story (1995)",
        "",
        "Star Wars: Episode IV",
    )
    assert read_log(path).catalogue.titles == ()


def test_a_log_read_with_titles_is_the_same_log(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    bare, titled = read_log(tmp_path / "log.csv"), read_log(tmp_path / "log.csv", titles=as_csv(tmp_path))
    assert titled.digest == bare.digest
    assert titled.catalogue.items == bare.catalogue.items == ("7", "30", "31")
    assert titled.catalogue.titles == ("Toy Story (1995)", "", "Star Wars: Episode IV")


def test_a_known_item_keeps_the_title_it_was_learned_with(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    known = Catalogue(("ann",), ("7", "30"), ("Another film",))
    grown = read_log(tmp_path / "log.csv", titles=as_csv(tmp_path), catalogue=known).catalogue
    assert grown.items == ("7", "30", "31")
    assert grown.titles == ("Another film", "", "Star Wars: Episode IV")
    assert read_log(tmp_path / "log.csv", catalogue=known).catalogue.titles == ("Another film",)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["", "", "one", "two"]), max_size=4), max_size=5))
def test_titles_survive_the_chunks_of_a_catalogue(steps):
    states, chunks = [Catalogue()], []
    for number, titles in enumerate(steps):
        names = [f"{number}-{position}" for position in range(len(titles))]
        old = states[-1]
        new = old.extend((), names).with_titles(dict(zip(names, titles, strict=True)), since=len(old.items))
        chunks.append(new.chunk_since(old))
        states.append(new)
    assert Catalogue.from_chunks(chunks) == states[-1]
    wanted = [title for titles in steps for title in titles]
    assert [*states[-1].titles, *[""] * len(wanted)][: len(wanted)] == wanted
    for old in states:
        assert states[-1].first(users=0, items=len(old.items)) == old
    assert all(b'"titles"' not in chunk for chunk, titles in zip(chunks, steps, strict=True) if not any(titles))


def test_more_titles_than_items_are_refused():
    chunk = Catalogue((), ("a",), ("A",)).chunk_since(Catalogue())
    with pytest.raises(DamagedArtifact, match="more titles than items"):
        Catalogue.from_chunks([chunk.replace(b'["A"]', b'["A","B"]')])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("items.csv", "item_id,name\n7,x\n", "--title-column"),
        ("items.csv", "item,title\n7,x\n", "--item-column"),
        ("movies.dat", "7::only a title\n", "item::title::genres"),
        ("items.xlsx", "x", "expected a log named"),
        ("items.csv", "", "0 bytes"),
    ],
)
def test_a_file_without_titles_is_refused_in_one_line(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        read_titles(tmp_path / name, Columns())
    assert "\n" not in str(refused.value)
