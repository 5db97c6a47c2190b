"""The workspace of the command line's tests, used from Python."""

from __future__ import annotations

from tests.cli.conftest import _made, _somewhere_else, raie, registry, workspace

__all__ = ["_made", "_somewhere_else", "raie", "registry", "workspace"]
