"""The roles of blobs that the registry knows; every other role is a name to it. What is in a blob it never asks."""

from __future__ import annotations

__all__ = ["APPEND_ONLY", "CATALOGUE", "ITEM_ROWS"]

CATALOGUE = "catalogue"
ITEM_ROWS = "item_rows"

APPEND_ONLY = frozenset({CATALOGUE, ITEM_ROWS})
"""Shared parts that are lists of chunks and only ever grow: rows that adapters refer to by position."""
