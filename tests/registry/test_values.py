"""One value has one canonical form, and nothing that is not a value gets in."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raie.registry import Content, Digest, InvalidValue, Manifest, RegionChange, canonical_json, digest_of
from raie.registry.canonical import parse_json
from raie.registry.values import check_digest, check_name
from tests.registry.strategies import contents, digests

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
A, B, C = (digest_of(text.encode()) for text in "abc")


def encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(JSON.filter(encodable))
def test_canonical_json_reads_back_as_the_same_value(value: Any) -> None:
    assert parse_json(canonical_json(value)) == value


@given(st.dictionaries(st.text().filter(encodable), st.integers()))
def test_the_order_in_which_keys_were_added_changes_nothing(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_canonical_json_is_these_bytes_forever() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,2.5,null]}'.encode()


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, [-math.inf], {1: "a"}, {"a": {2: 1}}, "\ud800", {1, 2}, b"x"]
)
def test_what_has_no_json_form_is_refused_before_it_is_stored(value: Any) -> None:
    with pytest.raises(InvalidValue):
        canonical_json(value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":1,"a":2}', "{", "", b"\xff", "[" * 100_000])
def test_json_that_two_readers_would_read_differently_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidValue):
        parse_json(text)


@given(contents())
def test_a_content_reads_back_equal_and_with_the_same_digest(content: Content) -> None:
    again = Content.from_json(json.loads(canonical_json(content.to_json())))
    assert again == content
    assert again.digest == content.digest
    assert pickle.loads(pickle.dumps(content)) == content


@given(contents(), contents())
def test_two_contents_have_one_digest_only_if_they_are_equal(a: Content, b: Content) -> None:
    assert (a.digest == b.digest) == (a == b)


@given(contents(), st.none() | digests())
def test_a_manifest_reads_back_and_its_id_is_the_sha256_of_its_bytes(
    content: Content, parent: Digest | None
) -> None:
    manifest = Manifest("recsys", parent, content)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert digest_of(manifest.to_bytes()) == manifest.id


def test_a_snapshot_id_is_the_same_in_any_process_and_any_version() -> None:
    content = Content({"weights": A}, B, {"catalogue": (C,)}, {2: {"state": A}, 10: {"state": B}})
    manifest = Manifest("recsys", None, content)
    assert (
        manifest.to_bytes()
        == (
            f'{{"content":{{"backbone":{{"weights":"{A}"}},"regions":{{"10":{{"state":"{B}"}},"2":{{"state":"{A}"}}}},'
            f'"shared":{{"catalogue":["{C}"]}},"space":"{B}"}},"format":1,"model":"recsys","parent":null}}'
        ).encode()
    )
    assert manifest.id == "90fe17fc71c793c8a6902e46dfdb75a75b69a187397ea18df03429018fc80c6c"


def test_a_content_is_the_same_whatever_order_its_parts_were_given_in() -> None:
    first = Content({"weights": A, "config": B}, C, {"a": (A,), "b": (B,)}, {1: {"x": A, "y": B}, 0: {"x": C}})
    second = Content({"config": B, "weights": A}, C, {"b": (B,), "a": (A,)}, {0: {"x": C}, 1: {"y": B, "x": A}})
    assert list(first.regions) == [0, 1]
    assert first.digest == second.digest


def test_a_content_names_every_blob_it_needs() -> None:
    content = Content({"weights": A}, B, {"catalogue": (C, A)}, {0: {"state": digest_of(b"d")}})
    assert content.blobs() == {A, B, C, digest_of(b"d")}


@pytest.mark.parametrize(
    "broken",
    [
        {"backbone": {"weights": "../../etc/passwd"}},
        {"space": A.upper()},
        {"shared": {"catalogue": [A[:-1]]}},
        {"shared": {"catalogue": A}},
        {"shared": {"": [A]}},
        {"regions": {"-1": {"state": A}}},
        {"regions": {"01": {"state": A}}},
        {"regions": {"99999999999": {"state": A}}},
        {"regions": {"1": [A]}},
        {"regions": []},
        {"more": 1},
    ],
)
def test_a_content_of_another_shape_is_refused_in_one_line(broken: dict[str, Any]) -> None:
    value = Content({"weights": A}, B, {"catalogue": (C,)}, {0: {"state": A}}).to_json() | broken
    with pytest.raises(InvalidValue) as refused:
        Content.from_json(value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("change", [b" ", b"\n", b'{"format":1}', b"null", b"[]"])
def test_a_manifest_spelt_another_way_is_refused_for_it_would_have_two_ids(change: bytes) -> None:
    data = Manifest("recsys", None, Content({"weights": A}, B)).to_bytes()
    with pytest.raises(InvalidValue):
        Manifest.from_bytes(data + change if change.isspace() else change)


def test_a_manifest_of_a_newer_format_says_to_upgrade() -> None:
    data = Manifest("recsys", None, Content({"weights": A}, B)).to_bytes().replace(b'"format":1', b'"format":2')
    with pytest.raises(InvalidValue, match="upgrade raie"):
        Manifest.from_bytes(data)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(InvalidValue):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\0b", "a" * 201, "\ud800", 7, None])
def test_a_name_nobody_could_type_or_a_database_not_hold_is_refused(name: Any) -> None:
    with pytest.raises(InvalidValue):
        check_name(name, "model name")


@pytest.mark.parametrize("name", ["recsys", "Köln; DROP TABLE models", "a'b\"c", "%s", "日本", "../x"])
def test_any_printable_name_is_a_name(name: str) -> None:
    assert check_name(name, "model name") == name


@pytest.mark.parametrize("what", ["an alias", "a model name"])
def test_a_name_of_the_wrong_length_is_called_by_its_right_article(what: str) -> None:
    with pytest.raises(InvalidValue, match=f"^Expected {what} of 1 to 200 characters"):
        check_name("", what.partition(" ")[2])


@pytest.mark.parametrize("text", ["", "a" * 63, "g" * 64, "A" * 64, "a" * 64 + "\n", 5, None, "a/" * 32])
def test_only_64_lower_case_hexadecimal_characters_are_a_digest(text: Any) -> None:
    with pytest.raises(InvalidValue):
        check_digest(text)


@pytest.mark.parametrize(
    "bad", [{"radius": math.nan}, {"region": -1}, {"region": True}, {"metrics": {"loss": math.inf}}]
)
def test_a_change_with_a_number_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        RegionChange(**{"region": 1, "action": "update"} | bad)
