"""Where a model's aliases point, and which edit made what is there: for the list of aliases and for the status."""

from __future__ import annotations

from dataclasses import dataclass

from raie.registry import Alias, Registry

__all__ = ["AliasTarget", "alias_targets"]


@dataclass(frozen=True)
class AliasTarget:
    """Where an alias points, and the number of the edit that made the snapshot there."""

    alias: Alias
    edit: int


def alias_targets(registry: Registry, model: str) -> tuple[AliasTarget, ...]:
    """The aliases of a model by name, and where they point.

    Args:
        registry: Where the model lives.
        model: Its name.

    Returns:
        One entry for each alias.

    Raises:
        NotFound: There is no such model.
        Untrusted: A protected alias was moved behind its log, or lacks the signature that its policy requires.
    """
    return tuple(
        AliasTarget(alias, registry.resolve(model, alias.snapshot).edit) for alias in registry.aliases(model)
    )
