"""Leases: who holds one, as host:pid:token, and when it is over: by the clock, as far as a clock can be believed.

A lease ends at most its own length from now. One that seems to last much longer was given before the clock went back,
and would otherwise live until the clock is there again. Its owner, if it works, renews it soon by the new clock.
"""

from __future__ import annotations

import os
import secrets
import socket

__all__ = [
    "CLOCKS_APART_S",
    "EDIT_LEASE_S",
    "RELAY_LEASE_S",
    "latest_end",
    "lease_is_over",
    "lease_owner_is_gone",
    "new_lease_owner",
]

EDIT_LEASE_S = 120.0
"""A process that trains renews its lease several times in this time; one that was killed loses it soon after."""

RELAY_LEASE_S = 60.0
"""A relay renews its lease at every step; a step is at most a few requests of 5 s each."""

CLOCKS_APART_S = 600.0
"""Machines whose clocks differ by less see each other's leases as they are."""


def new_lease_owner() -> str:
    """A name for this process as the owner of leases: host:pid:token."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def lease_owner_is_gone(lease_owner: str) -> bool:
    """Whether a lease's owner, host:pid:token, was a process of this machine that no longer runs."""
    host, _, rest = lease_owner.rpartition(":")[0].rpartition(":")
    if os.name != "posix" or host != socket.gethostname() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def latest_end(length_s: float, now: float) -> float:
    """The latest time at which a lease that is given now can end, by any machine's clock."""
    return now + length_s + CLOCKS_APART_S


def lease_is_over(expires_at: float, length_s: float, now: float) -> bool:
    """Whether a lease of this length has ended, or cannot have been given."""
    return not now <= expires_at <= latest_end(length_s, now)
