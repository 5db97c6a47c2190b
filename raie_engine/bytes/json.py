"""JSON from bytes that anybody may have written: a value, or one error of ours, however it is damaged."""

from __future__ import annotations

import json
import math
from typing import Any

from raie.engine.errors import DamagedArtifact

__all__ = ["parse_json"]


def parse_json(data: bytes | str, what: str) -> Any:
    """The value of a JSON document.

    Args:
        data: anybody may have written it.
        what: what it should be, for the message.

    Returns:
        Plain values.

    Raises:
        DamagedArtifact: for other bytes, for NaN, infinity and numbers beyond a double, and for nesting without end.
    """
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DamagedArtifact(
            f"expected {what} as JSON, found bytes that do not parse ({error!s:.200}); restore the blob"
        ) from error


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text:.20} is beyond a double")
    return number
