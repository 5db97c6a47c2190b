"""When a lease is over: by the clock, and only as far as a clock can be believed.

A lease ends at most its own length from now. One that seems to last much longer was given before the clock went back,
and would otherwise live until the clock is there again. Its owner, if it works, renews it soon by the new clock.
"""

from __future__ import annotations

__all__ = ["CLOCKS_APART_S", "latest_end", "lease_is_over"]

CLOCKS_APART_S = 600.0
"""Machines whose clocks differ by less see each other's leases as they are."""


def latest_end(length_s: float, now: float) -> float:
    """The latest time at which a lease that is given now can end, by any machine's clock."""
    return now + length_s + CLOCKS_APART_S


def lease_is_over(expires_at: float, length_s: float, now: float) -> bool:
    """Whether a lease of this length has ended, or cannot have been given."""
    return not now <= expires_at <= latest_end(length_s, now)
