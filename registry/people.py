"""Who is who: names of people, compared as a reader would, and not by their bytes.

Two spellings are one person where Unicode calls them compatible, or where only case and spaces differ. Two names that
merely look alike are two people, for all that a program can know; whoever reads them is warned.
"""

from __future__ import annotations

import unicodedata

__all__ = ["look_alike", "person_of"]

_DRAWN_AS = {
    # Latin letter -> the letters and digits that are drawn like it: Cyrillic, Greek, Armenian and phonetic ones.
    "a": "\u0430\u0251\u03b1",
    "b": "\u0432\u044c\u03b2",
    "c": "\u0441\u03f2",
    "d": "\u0501",
    "e": "\u0435\u03b5\u04bd",
    "g": "\u0261\u0581",
    "h": "\u04bb\u0570\u043d\u03b7",
    "j": "\u0458\u03f3",
    "k": "\u043a\u03ba",
    "l": "1i|\u0456\u0131\u03b9\u04cf\u0269",
    "m": "\u043c\u03bc",
    "n": "\u0578\u057c",
    "o": "0\u043e\u03bf\u03c3\u0585",
    "p": "\u0440\u03c1",
    "q": "\u051b",
    "r": "\u0433",
    "s": "5\u0455",
    "t": "\u0442\u03c4",
    "u": "\u057d\u03c5",
    "v": "\u0475\u03bd",
    "w": "\u051d\u03c9",
    "x": "\u0445\u03c7",
    "y": "\u0443\u03b3",
}
_LATIN = str.maketrans({letter: latin for latin, alike in _DRAWN_AS.items() for letter in alike})


def person_of(name: str) -> str:
    """The name as it is compared: compatible characters, case and spaces make no difference."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


def look_alike(name: str, another: str) -> bool:
    """Whether two names are different people's, and are drawn so alike that a reader may take one for the other."""
    return person_of(name) != person_of(another) and _skeleton(name) == _skeleton(another)


def _skeleton(name: str) -> str:
    """The name without marks and spaces, each letter as the Latin one that it looks like."""
    apart = unicodedata.normalize("NFKD", person_of(name))
    letters = "".join(letter for letter in apart if unicodedata.category(letter)[0] not in "MZ")
    return letters.translate(_LATIN).replace("rn", "m")
