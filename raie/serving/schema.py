"""What a client sends and gets: the request's shape, its bounds, and the one line that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from raie.engine.answers import Answer, Query, Wanted

__all__ = [
    "Answered",
    "History",
    "Limits",
    "Problem",
    "RecommendRequest",
    "RecommendResponse",
    "Unprocessable",
    "answered",
    "problem_line",
    "queries_of",
]

_MOST_SECONDS = 2**53
ItemId = Annotated[StrictStr | StrictInt, Field(description="An item id; compared as text.")]
Moment = Annotated[StrictInt, Field(ge=-_MOST_SECONDS, le=_MOST_SECONDS, description="Epoch seconds.")]


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        rows: Histories.
        k: Items per history.
        items: Items in one history, and candidates.
        bytes: Of the body.
        seconds: From the first byte to the answer.
    """

    rows: int = 256
    k: int = 1000
    items: int = 10_000
    bytes: int = 4 * 2**20
    seconds: float = 10.0


class Unprocessable(ValueError):
    """A request whose field cannot be used; its text begins with the path of the field."""


class History(BaseModel):
    """One history, or the user whose stored history it is."""

    model_config = ConfigDict(extra="forbid")

    items: list[ItemId] | None = Field(None, description="Item ids, the oldest first.")
    times: list[Moment] | None = Field(None, description="One for each item, where the backbone reads times.")
    user: StrictStr | StrictInt | None = Field(None, description="Without items: whose stored history is meant.")


class RecommendRequest(BaseModel):
    """Histories, and what is wanted after each of them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"histories": [{"items": ["1193", "661", "914"]}, {"items": []}], "k": 5},
                {"histories": [{"items": [1193, 661], "times": [978300760, 978302109]}], "exclude_seen": True},
                {"histories": [{"user": "42"}], "k": 3, "candidates": ["2355", "595", "1287"]},
            ]
        },
    )

    histories: list[History] = Field(description="One answer for each, in the same order.")
    k: StrictInt = Field(10, ge=1, description="Items per history.")
    exclude_seen: StrictBool | None = Field(
        None,
        description="true leaves out the items of the history, false makes no difference of them, null does what each "
        "region has learned of repeats.",
    )
    candidates: list[ItemId] | None = Field(None, description="The only items that may come; null for all.")


class Answered(BaseModel):
    """What one history gets."""

    items: list[str] = Field(description="The best first.")
    scores: list[float]
    region: int | None = Field(description="The preference region that scored; null for a cold history.")
    snapshot: str = Field(description="The id of the snapshot that answers.")
    ignored: int = Field(description="Items of the history that the snapshot does not know.")
    cold: bool = Field(description="Whether it knows none of them, so that what is popular comes.")


class RecommendResponse(BaseModel):
    """One answer for each history, all from one snapshot."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "answers": [
                        {
                            "items": ["2355", "595"],
                            "scores": [9.502, 7.269],
                            "region": 3,
                            "snapshot": "4db863eb6508" + "0" * 52,
                            "ignored": 0,
                            "cold": False,
                        }
                    ]
                }
            ]
        }
    )

    answers: list[Answered]


class Problem(BaseModel):
    """Why there is no answer, in one line."""

    detail: str = Field(examples=["histories.0.items: expected a list, found 'x'"])


def problem_line(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing that is wrong with a body, as `path: expected ..., found ...`.

    Args:
        errors: As pydantic gives them, the location beginning with "body".
    """
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"body: expected JSON, found none at character {first['loc'][-1]}"
    path = ".".join(_shown(part) for part in first["loc"][1:] if part not in ("str", "int")) or "body"
    expected = (
        str(first["msg"]).replace("Input should be", "expected").replace("Field required", "expected a value")
    )
    if first["type"] == "missing":
        return f"{path}: {expected}, found none"
    if first["type"] == "extra_forbidden":
        return f"{path}: expected no such field, found one"
    return f"{path}: {expected}, found {_brief(first.get('input'))}"


def _shown(part: str | int) -> str:
    """A part of a path, which a client may have named, on one line."""
    return str(part).encode("unicode_escape", "backslashreplace").decode("ascii")[:60]


def _brief(value: Any) -> str:
    """A value on one line, in a few ASCII characters."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = ascii(value) if not isinstance(value, int) or abs(value) < 2**64 else "a larger number"
    return text if len(text) <= 60 else f"{text[:57]}..."


def queries_of(
    request: RecommendRequest,
    limits: Limits,
    stored: Mapping[str, Query] | None,
    *,
    times_needed: bool,
) -> list[Query]:
    """The questions of a request.

    Args:
        request: As it was read.
        limits: What it may ask for.
        stored: User -> stored history; None where none are kept.
        times_needed: Whether the backbone reads times.

    Raises:
        Unprocessable: A field asks for more than is allowed, or contradicts another one.
    """
    _at_most("histories", len(request.histories), limits.rows, "histories")
    _at_most("k", request.k, limits.k, "items")
    candidates = request.candidates
    if candidates is not None:
        _at_most("candidates", len(candidates), limits.items, "items")
    wanted = Wanted(request.k, request.exclude_seen, None if candidates is None else tuple(map(str, candidates)))
    return [
        _query(f"histories.{number}", history, limits, stored, wanted, times_needed=times_needed)
        for number, history in enumerate(request.histories)
    ]


def _query(
    path: str,
    history: History,
    limits: Limits,
    stored: Mapping[str, Query] | None,
    wanted: Wanted,
    *,
    times_needed: bool,
) -> Query:
    if history.items is None:
        if history.user is None:
            raise Unprocessable(f"{path}.items: expected item ids, found none")
        if stored is None:
            raise Unprocessable(
                f"{path}.user: expected items too, found a user alone; this server keeps no histories (--histories LOG)"
            )
        kept = stored.get(str(history.user), Query(()))
        return Query(kept.items, kept.times, wanted)
    _at_most(f"{path}.items", len(history.items), limits.items, "items")
    times = None if history.times is None else tuple(history.times)
    if times is not None and len(times) != len(history.items):
        raise Unprocessable(
            f"{path}.times: expected one time for each of {len(history.items)} items, found {len(times)}"
        )
    if times is None and times_needed and history.items:
        raise Unprocessable(f"{path}.times: expected times, which this model reads, found none")
    return Query(tuple(map(str, history.items)), times, wanted)


def _at_most(path: str, count: int, most: int, what: str) -> None:
    if count > most:
        raise Unprocessable(f"{path}: expected {most} {what} or fewer, found {count}")


def answered(answer: Answer) -> dict[str, Any]:
    """An answer as JSON.

    Args:
        answer: Of one history.
    """
    return {
        "items": answer.items,
        "scores": answer.scores,
        "region": answer.region,
        "snapshot": answer.snapshot,
        "ignored": answer.ignored,
        "cold": answer.cold,
    }
