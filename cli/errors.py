"""The exit code of every error that the command line can meet, and the one error that is its own.

A code is part of the interface: scripts branch on it, so a number never changes its meaning.
"""

from __future__ import annotations

import errno

from raie.errors import ClusterUnreachable, RaieError, UsageError

__all__ = [
    "ATTENTION",
    "BAD_INPUT",
    "CONFLICT",
    "INTEGRITY",
    "INTERRUPTED",
    "OK",
    "REFUSED",
    "TERMINATED",
    "UNREACHABLE",
    "USAGE",
    "Refused",
    "exit_code",
]

OK = 0
REFUSED = 1
USAGE = 2
BAD_INPUT = 3
CONFLICT = 4
INTEGRITY = 5
UNREACHABLE = 6
ATTENTION = 7
INTERRUPTED = 130
TERMINATED = 143


class Refused(RaieError):
    """The user answered no, or a question was needed and nobody was there to be asked."""


def exit_code(error: BaseException) -> int | None:
    """The documented exit code of an error.

    The trees of the registry and of the engine are imported here, after something failed: neither needs torch.

    Args:
        error: Whatever ended a command.

    Returns:
        The code, or None where meeting this error is a bug of ours.
    """
    from raie.engine import errors as engine
    from raie.registry import errors as registry

    # The first line that matches counts, so a special case stands before its base.
    codes: tuple[tuple[type[BaseException], int], ...] = (
        (UsageError, USAGE),
        (ClusterUnreachable, UNREACHABLE),
        (RaieError, REFUSED),
        (engine.ConfigError, USAGE),
        (engine.WrongBackbone, INTEGRITY),
        (engine.DamagedArtifact, INTEGRITY),
        (engine.WorkerLost, REFUSED),
        (engine.EngineError, BAD_INPUT),
        (registry.InvalidValue, USAGE),
        (registry.BlobMissing, INTEGRITY),
        (registry.BlobCorrupt, INTEGRITY),
        (registry.Untrusted, INTEGRITY),
        (registry.ArchiveDamaged, INTEGRITY),
        (registry.Conflict, CONFLICT),
        (registry.EditStateError, CONFLICT),
        (registry.CommitStateUnknown, UNREACHABLE),
        (registry.DatabaseUnreachable, UNREACHABLE),
        (registry.StoreError, UNREACHABLE),
        (registry.MlflowUnreachable, UNREACHABLE),
        (registry.ReceiverUnreachable, UNREACHABLE),
        (registry.RegistryError, REFUSED),
    )
    for kind, code in codes:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError):
        return UNREACHABLE if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS) else REFUSED
    return None
