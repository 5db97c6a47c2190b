"""The site builds without a warning and asks nobody for anything; the page of the database is that of its tables."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raie.registry.db.tables import metadata
from tests.chromium import running_chromium
from tests.docs.markdown import PAGES, ROOT

_SPEC = importlib.util.spec_from_file_location("database_picture", ROOT / "docs" / "database_picture.py")
assert _SPEC is not None
assert _SPEC.loader is not None
database_picture = importlib.util.module_from_spec(_SPEC)
# Dataclasses look their module up by its name.
sys.modules["database_picture"] = database_picture
_SPEC.loader.exec_module(database_picture)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    pytest.importorskip("mkdocs", reason="the extra `docs` builds the site")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_another_server(site: Path) -> None:
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 30
    loads = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:https?:)?//[^>]*>")
    assert {name: loads.findall(text) for name, text in pages.items() if loads.search(text)} == {}
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?https?:|@import", sheets) == []


@pytest.mark.slow
def test_every_page_and_no_mermaid_is_on_the_site(site: Path) -> None:
    named = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in PAGES if "docs" in page.parts}
    assert [page for page in named if not (site / page).is_file()] == []
    assert 'class="mermaid"' not in (site / "database.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_button_turns_the_colours_and_a_browser_asks_no_server(site: Path) -> None:
    scheme = "document.body.getAttribute('data-md-color-scheme')"
    button = "[...document.querySelectorAll('label[for^=__palette]')].find((label) => !label.hidden).click()"
    asked = "performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => /^https?:/.test(name))"
    with running_chromium() as browser, browser.page(site / "index.html", dark=True) as opened:
        assert opened.run(scheme) == "slate"
        turned = []
        for _ in range(3):
            opened.run(button)
            turned.append(opened.run(scheme))
        assert turned == ["default", "slate", "slate"]
        assert opened.run(asked) == []
        assert opened.complaints == []


def test_the_page_of_the_database_is_that_of_its_tables() -> None:
    text = database_picture.PAGE.read_text(encoding="utf-8")
    assert text == database_picture.document(), "run `python docs/database_picture.py`"


def test_the_diagrams_show_every_table_once() -> None:
    shown = [table.name for group in database_picture.GROUPS for table in group.tables]
    assert sorted(shown) == sorted(metadata.tables)


def test_a_drawing_of_the_site_names_every_column() -> None:
    for group in database_picture.GROUPS:
        drawing = database_picture.svg(group)
        for table in group.tables:
            assert [column.name for column in table.columns if f">{column.name}</text>" not in drawing] == []
