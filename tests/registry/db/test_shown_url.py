"""No text that a URL carries as a secret is ever shown, whatever the URL looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raie.registry.db.shown_url import secrets_in, shown, shown_in, without_secrets

SECRET = "hunter2-very"
PLACES = (
    "postgresql://ada:{}@db/raie",
    "postgresql://ada@db/raie?password={}",
    "postgresql://ada@db/raie?sslmode=require&sslpassword={}&timeout=3",
    "postgresql://db/raie?passwrod={}",
    "postgresql://db/raie?PassWord={}",
    "postgresql://db/raie?options=-c%20my.token%3D{}",
    "postgresql://ada:a/{}@db/raie",
    "postgresql://ada:a?{}@db/raie",
    "postgresql://ada:a@{}@db/raie",
    "https://ada:{}@mlflow.example.org",
    "https://mlflow.example.org/?X-Amz-Security-Token={}",
    "https://mlflow.example.org/#access_token={}",
    "s3://key:{}@models/raie?timeout=5",
    "s3://models/raie?aws_secret_access_key={}",
)


@pytest.mark.parametrize("shape", PLACES)
def test_no_place_in_a_url_shows_a_secret(shape: str) -> None:
    url = shape.format(SECRET)
    assert SECRET not in shown(url)
    assert "***" in shown(url)
    assert any(SECRET in secret for secret in secrets_in(url))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://t0ken@host", "https://***@host"),
        ("http://ada:hun/ter2@127.0.0.1:9", "http://***@127.0.0.1:9"),
        ("http://ada:p@hun/ter2@127.0.0.1:9", "http://***@127.0.0.1:9"),
        ("http://ada:hun ter2@127.0.0.1:9", "http://***@127.0.0.1:9"),
        (
            "postgresql://ada@db/raie?password=secret&sslmode=require",
            "postgresql://ada@db/raie?password=***&sslmode=require",
        ),
        ("ada:secret@host", "***@host"),
    ],
)
def test_a_url_is_shown_without_what_it_carries_as_secret(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_what_is_no_secret_is_still_shown() -> None:
    for url in (
        "sqlite:////home/a@b/registry.db",
        "sqlite:///.raie/registry.db",
        "postgresql://ada@db.example.org:5432/raie?sslmode=verify-full&timeout=60",
        "s3://models/raie?timeout=5",
        "/a/folder",
        "mlruns",
        "",
    ):
        assert shown(url) == url
        assert without_secrets(url) == url
        assert secrets_in(url) == ()
    assert shown("postgresql://ada:x@db:5432/raie?host=h") == "postgresql://ada:***@db:5432/raie?host=h"


def test_a_file_keeps_what_a_connection_needs_and_no_secret() -> None:
    url = "postgresql://ada:pw@db/raie?password=pw&options=-c%20lock_timeout%3D9&sslpassword=pw&sslmode=require"
    assert without_secrets(url) == "postgresql://ada@db/raie?options=-c%20lock_timeout%3D9&sslmode=require"
    assert without_secrets("postgresql://db/raie?options=-c%20my.token%3Dpw") == "postgresql://db/raie"


def test_a_url_within_a_message_is_shown_without_its_secret() -> None:
    said = f"could not reach 'postgresql://ada:{SECRET}@db/raie?x={SECRET}', tried https://m/?token={SECRET} too"
    assert shown_in(said) == "could not reach 'postgresql://ada:***@db/raie?x=***', tried https://m/?token=*** too"


@given(st.text(max_size=40))
def test_any_text_is_shown_without_an_error(text: str) -> None:
    for url in (text, f"postgresql://{text}", f"postgresql://a:{text}@h/d?x={text}"):
        assert isinstance(shown(url), str)
        assert isinstance(without_secrets(url), str)
        assert isinstance(secrets_in(url), tuple)
