"""The tutorial, typed word for word into an empty folder, gives the output that it shows."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cli.conftest import Raie
from tests.docs.markdown import ROOT, blocks
from tests.docs.transcript import differences, exchanges

PAGE = ROOT / "docs" / "tutorial.md"
ASKED = [exchange for block in blocks(PAGE, "console") for exchange in exchanges(block)]
# Digests and measured numbers are those of one kind of machine; what a line says around them is not.
_NUMBERS = re.compile(r"\b[0-9a-f]{12}\b|[-+]?\d[\d,.]*[%°]?")


@pytest.mark.slow
def test_the_tutorial_typed_word_for_word_prints_what_it_shows(raie: Raie) -> None:
    for exchange in ASKED:
        ran = raie(*shlex.split(exchange.typed)[1:])
        assert ran.code == 0, f"{exchange.typed}: {ran.err}"
        shown = tuple(_NUMBERS.sub("N", line) for line in exchange.shown)
        assert differences(shown, _NUMBERS.sub("N", ran.out)) == [], f"{exchange.typed} printed\n{ran.out}"
