"""JSON with one form for each value, so that a digest of it means something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from raie.registry.errors import InvalidValue

__all__ = ["canonical_json", "parse_json"]


def canonical_json(value: Any) -> bytes:
    """The one JSON form of a value: sorted keys, no spaces, UTF-8.

    Raises InvalidValue for NaN, infinity, lone surrogates, keys that are not text and types JSON does not have.
    """
    try:
        _check_keys([value])
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"Expected a value with a JSON form, found one without: {error}") from error


_LEAVES = {str, int, float, bool, type(None)}


def _check_keys(value: Any) -> None:
    """Refuses keys that are not text: json would turn 1 and "1" into the same key and lose one of them."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidValue(f"Expected text as every JSON key, found {key!r:.80}")
        value = value.values()
    # A manifest is mostly leaves, and asking each whether it is a Mapping takes as long as all the rest.
    for item in value:
        if type(item) not in _LEAVES and isinstance(item, list | tuple | Mapping):
            _check_keys(item)


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON document; refuses NaN, infinity and an object that repeats a key.

    Raises InvalidValue.
    """
    try:
        return _DECODER.decode(data if isinstance(data, str) else data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"Expected a JSON document, found bytes that do not parse: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object repeats a key")
    return value


# Made once: json.dumps and json.loads make theirs anew for every value, which takes as long as a small value does.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique_pairs)
