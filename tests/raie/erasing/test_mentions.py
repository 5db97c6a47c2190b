"""An id is found where a text names the user, and not where a number happens to be the same."""

from __future__ import annotations

import pytest

from raie.erasing.mentions import Mention


@pytest.mark.parametrize(
    ("user", "text", "named"),
    [
        ("visitor-4711", "for visitor-4711, who asked", True),
        ("visitor-4711", "for visitor-47110", False),
        ("visitor-4711", '{"note": "by visitor-4711"}', True),
        ("visitor-4711", '{"visitor-4711": 1}', True),
        ("grüße", '{"user": "gr\\u00fc\\u00dfe"}', True),
        ("17", "request 17", False),
        ("17", "the rows of user 17", True),
        ("17", '{"until": "17", "user": "18"}', False),
        ("17", '{"user": "17"}', True),
        ("17", '{"users": ["16", "17"]}', True),
        ("a.c4", "abc4", False),
        ("visitor-4711", "{visitor-4711", True),
    ],
)
def test_an_id_is_a_word_of_its_own_and_a_short_one_is_said_to_be_a_users(
    user: str, text: str, named: bool
) -> None:
    assert Mention(user).in_text(text) is named
