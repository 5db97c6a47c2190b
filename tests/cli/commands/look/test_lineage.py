"""`raie lineage --html`: the history as a page in a file, whole or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from raie.registry import Registry
from raie.workspace import Workspace
from tests.cli.conftest import Raie


def data_of(file: str) -> dict:
    source = Path(file).read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', source, re.DOTALL)[1])


def test_the_page_has_every_snapshot_and_the_same_bytes_each_time(raie: Raie, workspace: Workspace) -> None:
    ran = raie("lineage", "--html")
    assert (ran.code, ran.out.split("  ")[0]) == (0, "history.html")
    assert "6 snapshots" in ran.out
    data = data_of("history.html")
    assert (data["model"], data["snapshots"]["edit"], data["opened"]) == ("recsys", [1, 2, 3, 4, 5, 6], -1)
    again = raie("lineage", "--html", "-o", "again.html", "--json").json
    assert again == {"file": "again.html", "snapshots": 6, "edits": 6, "bytes": Path("again.html").stat().st_size}
    assert Path("again.html").read_bytes() == Path("history.html").read_bytes()


def test_the_page_opens_at_a_snapshot_that_is_named(raie: Raie, workspace: Workspace, registry: Registry) -> None:
    assert raie("lineage", "production", "--html").code == 0
    data = data_of("history.html")
    assert data["snapshots"]["id"][data["opened"]] == registry.resolve("recsys", "production").id


def test_a_file_that_is_there_stays_unless_it_may_be_written_over(raie: Raie, workspace: Workspace) -> None:
    Path("history.html").write_text("kept")
    Path("link.html").symlink_to("elsewhere.html")
    ran = raie("lineage", "--html")
    assert (ran.code, Path("history.html").read_text()) == (1, "kept")
    assert "--force" in ran.err
    assert raie("lineage", "--html", "-o", "link.html", "--force").code == 1
    assert raie("lineage", "--html", "--force").code == 0
    assert data_of("history.html")["model"] == "recsys"
    assert raie("lineage", "nowhere", "--html", "-o", "other.html").code == 1
    assert not Path("other.html").exists(), "nothing is left of a page that was not written"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--html", "--region", "1"), "--region"),
        (("--html", "-n", "3"), "--limit"),
        (("-o", "page.html"), "--output"),
        (("--force",), "--force"),
    ],
)
def test_an_option_of_the_other_form_is_refused(
    raie: Raie, workspace: Workspace, arguments: tuple[str, ...], named: str
) -> None:
    ran = raie("lineage", *arguments)
    assert ran.code == 2
    assert named in ran.err
