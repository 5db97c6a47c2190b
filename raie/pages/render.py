"""A page as one HTML document: styles and scripts inside it, every value escaped, nothing loaded from elsewhere.

The document's own policy names its scripts by digest: a browser runs no other, whatever text stands in the page. The same
values give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from raie.registry.times import utc_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["render", "visible"]

# What turns the direction of text, ends a line unseen or has no UTF-8; a page shows a mark in its place.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def render(
    template: str,
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    **values: Any,
) -> str:
    """The document of a template that extends base.html.

    Args:
        template: The name of a file in this folder.
        styles: Further style sheets of this folder, after page.css.
        scripts: Further scripts of this folder, after page.js.
        values: What the template shows; a name that it has and nobody gives is an error.

    Returns:
        The HTML, which ends with a new line.
    """
    all_scripts = ("page.js", *scripts)
    document = _environment().get_template(template)
    return document.render(
        styles=("page.css", *styles), scripts=all_scripts, policy=_policy(all_scripts), source=_markup, **values
    )


def visible(value: Any) -> Any:
    """The value; in plain text each character that could hide or turn other text is replaced by a mark."""
    return _HIDDEN.sub("\ufffd", value) if type(value) is str else value


@cache
def _environment() -> Environment:
    """The templates of this folder, compiled once in a process."""
    # Whoever only lists or promotes renders nothing.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    pages = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=visible,
        loader=FunctionLoader(_source),
    )
    pages.filters |= {
        "compact_json": _compact_json,
        "degrees": _degrees,
        "fixed": _fixed,
        "share": _share,
        "short": _short,
        "signed": _signed,
        "utc_text": utc_text,
        "whole": _whole,
    }
    return pages


def _source(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _markup(name: str) -> Markup:
    """A style sheet or a script of this folder as it is: inside its element nothing is escaped."""
    from markupsafe import Markup

    return Markup(_source(name))


def _compact_json(value: Any) -> Markup:
    """A value as JSON for a script element of data: it holds no `<`, so no text of a user ends the element."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _policy(scripts: Sequence[str]) -> str:
    """What a browser may do with the page: run exactly these scripts, use the styles inside it, load nothing."""
    digests = [hashlib.sha256(_source(name).encode()).digest() for name in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


def _degrees(radians: float, digits: int = 1) -> str:
    return f"{math.degrees(radians):.{digits}f}°"


def _fixed(number: float, digits: int = 4) -> str:
    return f"{number:.{digits}f}"


def _share(number: float, digits: int = 1) -> str:
    return f"{number:.{digits}%}"


def _short(digest: str) -> str:
    """The first twelve characters of a digest: enough to name it, and to be typed back."""
    return digest[:12]


def _signed(number: float, digits: int = 4) -> str:
    """With its sign, a true minus, so that gains and losses align."""
    return f"{number:+.{digits}f}".replace("-", "−")


def _whole(number: int) -> str:
    return f"{number:,}"
