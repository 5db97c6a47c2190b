"""Registries as they were made before each had its own part of the store: their objects lie in the store's root."""

from __future__ import annotations

from functools import partial

import migrations
from registry import Registry, audit

__all__ = ["legacy"]


def legacy(database_url: str, store_url: str) -> Registry:
    """A registry that an older raie has initialised, brought to this revision; it holds nothing yet."""
    migrations.upgrade(database_url, "0003", tell=partial(audit.append_upgrade, actor="ada"))
    migrations.upgrade(database_url)
    return Registry.open(database_url, store_url)
