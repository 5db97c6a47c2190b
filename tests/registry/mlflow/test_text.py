"""Users' text in MLflow: it fits the smallest schema that MLflow has, and its markdown shows it as text."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from raie.registry.mlflow import payload as record
from raie.registry.mlflow.text import DESCRIPTION_LENGTH, TAG_LENGTH, cut, cut_markdown, markdown
from raie.registry.mlflow.upserts import region_parts, regions_of
from raie.registry.mlflow.version_page import PageLinks, version_description
from tests.registry.mlflow.test_payload import change, payload

lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60)
special = st.text(r"\`*_{}[]()#+-.!~|=<>&:/1 a", max_size=40)


def rendered(source: str) -> tuple[str, set[str]]:
    """What a reader sees, and the tags of the page."""
    page = MarkdownIt("commonmark", {"html": True}).render(source)
    tags = set(re.findall(r"</?([a-z0-9]+)", page))
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split()), tags


@given(st.lists(lines | special, min_size=1, max_size=4).map("\n".join))
@example("[click](http://evil) <script>alert(1)</script> ![x](y)")
@example("- a\n1. b\n# c\n===\n> d\n\ta\n| e |\n```")
@example("&#91;x&#93; &lt;b&gt; <http://evil>")
def test_a_reader_sees_the_text_and_nothing_it_could_forge(text: str) -> None:
    seen, tags = rendered(markdown(text))
    assert seen == " ".join(text.split())
    assert tags <= {"p", "br"}


@pytest.mark.parametrize("text", ["see http://evil.example/x", "HTTPS://evil", "www.evil.example", "mailto:x@y.z"])
def test_a_bare_address_is_broken_up_for_pages_that_make_links_of_them(text: str) -> None:
    assert re.search(r"(?<!\\)://|www\.|mailto:", markdown(text), re.IGNORECASE) is None
    assert rendered(markdown(text))[0] == text


@given(st.text(max_size=80), st.integers(30, 90))
def test_what_is_cut_fits_and_says_so(text: str, length: int) -> None:
    short = cut(text, length, " (cut)")
    assert len(short) <= length
    assert short == text or short.endswith("… (cut)")


@given(st.text(r"\[]<&>a", max_size=400), st.integers(40, 200))
def test_markdown_is_never_cut_between_a_character_and_what_escapes_it(text: str, length: int) -> None:
    source = cut_markdown(text, length)
    assert len(source) <= length
    seen, tags = rendered(source)
    assert tags <= {"p", "br"}
    assert " ".join(text.split()).startswith(seen.removesuffix("…").strip())


@pytest.mark.parametrize("reason", ["Changed after the review. " * 400, "[" * 6000, "é\n" * 4000])
def test_a_long_reason_fits_every_field_and_is_whole_in_an_artifact(reason: str) -> None:
    event = payload(changes=[change(region, "update", 2) for region in range(400)])
    event["edit"]["reason"] = reason
    link = "https://mlflow.example.org/#/models/recsys/versions/12?workflowType=machine_learning"
    text = version_description(event, PageLinks("recsys", "1", link, link), {}, None)
    assert len(text) <= DESCRIPTION_LENGTH
    assert "reason.txt of the edit's run" in text
    assert "and 392 more;" in text.splitlines()[0]
    tags = record.edit_tags("recsys", event)
    assert max(map(len, tags.values())) <= TAG_LENGTH
    assert tags["raie.reason"].endswith("… (cut; the whole text is in reason.txt of the edit's run)")
    assert record.full_texts(event) == {"reason.txt": reason}


def test_a_short_reason_stays_whole_and_brings_no_artifact() -> None:
    assert record.edit_tags("recsys", payload())["raie.reason"] == "newer taste"
    assert record.full_texts(payload()) == {}


def test_a_long_reason_of_a_promotion_is_cut_in_the_tag_and_names_the_artifact() -> None:
    move = {"actor": "ada", "at": 0.0, "reason": "y" * 6000}
    note = record.alias_note(move, "production.txt")
    assert len(note) <= TAG_LENGTH
    assert note.endswith("… (cut; the whole text is in production.txt of the version's run)")
    assert record.alias_note(move).endswith("y" * 6000)


@pytest.mark.parametrize("count", [0, 3, 500])
def test_the_regions_of_a_version_are_read_back_from_tags_that_fit(count: int) -> None:
    regions = {str(region): {"version": 2, "model_id": f"m-{region:032d}"} for region in range(count)}
    tags = region_parts(regions)
    assert max(map(len, tags.values())) <= TAG_LENGTH
    assert regions_of(tags) == regions
