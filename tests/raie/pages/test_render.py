"""What every page has: escaping, a policy that names its scripts, nothing from elsewhere, colours that can be read."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

import pytest

from raie.pages import render as rendering
from raie.pages.render import render, visible

CSS = files("raie.pages").joinpath("page.css").read_text(encoding="utf-8")
PALETTE = dict(re.findall(r"--(\w+): light-dark\((#\w{6}, #\w{6})\)", CSS))
READ = ("ink", "soft", "accent", "good", "warn", "bad")
GROUNDS = ("paper", "card", "wash")


@pytest.fixture
def page(monkeypatch):
    """Renders a template that is given as text."""
    source = rendering._source

    def of(template, **values):
        monkeypatch.setattr(rendering, "_source", lambda name: template if name == "test.html" else source(name))
        rendering._environment.cache_clear()
        return render("test.html", **values)

    yield of
    rendering._environment.cache_clear()


def test_a_users_text_is_escaped_and_cannot_turn_what_stands_beside_it(page):
    html = page('{% extends "base.html" %}{% block content %}{{ text }}{% endblock %}', text="<b>\u202egnp\x00")
    assert "&lt;b&gt;\ufffdgnp\ufffd" in html
    assert "<b>" not in html


def test_the_policy_lets_exactly_the_scripts_of_the_page_run_and_loads_nothing(page):
    html = page('{% extends "base.html" %}')
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts}
    assert scripts
    assert digests == set(re.findall(r"'sha256-[^']+'", policy))
    assert policy.startswith("default-src 'none'; ")


def test_a_page_names_no_address(page):
    assert not re.search(r"https?://|url\(|@import|src=", page('{% extends "base.html" %}'))


def test_a_number_is_no_text_to_be_cleaned():
    assert visible(3) == 3
    assert visible("a\ud800") == "a\ufffd"


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_can_be_read_on_every_ground(scheme):
    colours = {name: pair.split(", ")[scheme] for name, pair in PALETTE.items()}
    low = {
        (text, ground): contrast(colours[text], colours[ground])
        for text in READ
        for ground in GROUNDS
        if contrast(colours[text], colours[ground]) < 4.5
    }
    assert not low


@pytest.mark.parametrize("name", ["page.css", "report.css"])
def test_a_style_names_colours_by_their_role_alone(name):
    style = files("raie.pages").joinpath(name).read_text(encoding="utf-8")
    rules = re.sub(r"--\w+: light-dark\(.*\);", "", style)
    assert not re.findall(
        r"#[0-9a-f]{3,8}\b|rgba?\(|(?:fill|color|stroke): *(?!var|none|light|inherit)[a-z]+", rules
    )
    assert set(re.findall(r"var\(--(\w+)\)", rules)) <= set(PALETTE)


def contrast(text: str, ground: str) -> float:
    """The contrast ratio of WCAG 2 of two colours."""
    high, low = sorted((luminance(text), luminance(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
