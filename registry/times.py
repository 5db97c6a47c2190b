"""How a time is shown to a person: UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utc_text"]


def utc_text(seconds: float) -> str:
    """Epoch seconds as text, such as `2026-05-01 12:00:00 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
