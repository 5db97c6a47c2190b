"""A transactional registry of model states: immutable snapshots, one head that moves, a log of every move."""

from __future__ import annotations
