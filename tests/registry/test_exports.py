"""What `raie.registry` exports comes from where its table says, once it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from raie import registry


def test_every_export_is_in_the_table_and_can_be_had() -> None:
    assert sorted(name for names in registry._MODULES.values() for name in names) == sorted(registry.__all__)
    assert all(getattr(registry, name) is not None for name in registry.__all__)
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = registry.nothing_of_that_name  # type: ignore[attr-defined]


def test_the_words_of_a_state_cost_no_database_library() -> None:
    script = "import sys, raie.registry.states; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
