"""What a text may repeat of a URL: no secret, in no spelling, and nothing raises over a text that is no URL."""

from __future__ import annotations

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from raie.registry.db.shown_url import shown, userinfo_of
from raie.registry.hiding import hiding

secrets = st.text(st.characters(), min_size=6, max_size=20).map(lambda text: f"Kx{text.strip()}Qz")


def lower_escapes(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text)


@given(
    secrets, st.sampled_from(["http://ada:{}@host:9", "https://{}@host", "http://host/?api_key={}", "ada:{}@host"])
)
def test_no_spelling_of_a_secret_stays_in_a_text(secret: str, form: str) -> None:
    url = form.format(quote(secret, safe="", errors="replace"))
    plain = secret.encode(errors="replace").decode()
    spellings = [plain, quote(plain), quote(plain, safe=""), quote_plus(plain), html.escape(plain)]
    spellings += [json.dumps(plain)[1:-1], repr(plain)[1:-1], lower_escapes(quote(plain, safe=""))]
    hide = hiding(url)
    for spelling in spellings:
        assert spelling not in hide(f"could not connect with {spelling} to it")
    assert "Kx" not in shown(url)


def test_the_pieces_that_a_parser_cuts_a_password_into_are_hidden_too() -> None:
    hide = hiding("http://ada:hun/ter2@127.0.0.1:9")
    assert (
        hide("Port could not be cast to integer value as 'hun'")
        == "Port could not be cast to integer value as '***'"
    )
    assert "ter2" not in hide("/ter2@127.0.0.1:9/api refused")
    header = base64.b64encode(b"ada:secret").decode()
    assert header not in hiding("http://ada:secret@host")(f"sent Authorization: Basic {header}")


def test_a_url_of_another_place_loses_its_user_in_a_text_too() -> None:
    hide = hiding("http://host")
    assert hide("at http://bob:pw@elsewhere/x?token=t1 and more") == "at http://***@elsewhere/x?token=*** and more"
    assert hide("in sqlite:////home/me@corp/mlflow.db") == "in sqlite:////home/me@corp/mlflow.db"
    assert hiding("http://host", ["t0ken", None, ""])("a t0ken") == "a ***"


@given(st.text(), st.text())
def test_nothing_raises_over_any_text(url: str, text: str) -> None:
    shown(url)
    userinfo_of(url)
    hiding(url, [text])(text)
