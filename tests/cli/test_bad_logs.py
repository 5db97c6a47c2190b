"""Every log that cannot be used ends in code 3 and one line, through the command a user would type."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Raie
from tests.cli.trained import refused
from tests.raie_engine.data.test_bad_logs import CASES

# What no option can choose: click refuses the choice itself, and .dat has columns of its own.
OPTIONS = {"min_rating": "--min-rating"}
THROUGH_COMMANDS = {name: case for name, case in CASES.items() if case[2].keys() <= OPTIONS.keys()}


@pytest.mark.parametrize("case", THROUGH_COMMANDS)
def test_a_log_that_cannot_be_used_ends_in_code_3_and_one_line(raie: Raie, tmp_path: Path, case: str) -> None:
    name, content, options, _ = CASES[case]
    log = tmp_path / name
    log.write_bytes(content if isinstance(content, bytes) else content.encode())
    chosen = [part for option, value in options.items() for part in (OPTIONS[option], str(value))]
    ran = raie("data", "describe", str(log), *chosen)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.count("\n") == 1
    assert str(log) in ran.err


def test_a_log_that_is_not_there_is_no_bug_of_ours(raie: Raie, tmp_path: Path) -> None:
    assert raie("data", "describe", "absent.csv").code == 3
    assert raie("data", "describe", str(tmp_path)).code == 3


@pytest.mark.parametrize("option", ["--rating-column", "--title-column"])
def test_a_named_column_that_is_not_there_is_refused(raie: Raie, tmp_path: Path, option: str) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n1,2,3\n")
    assert raie("init").code == 0
    for command in (("data", "describe"), ("setup",)):
        refused(raie(*command, "log.csv", option, "nope"), 3, ["'nope'", option])


def test_an_unknown_way_with_duplicates_is_wrong_usage(raie: Raie) -> None:
    assert raie("data", "describe", "log.csv", "--duplicates", "ignore").code == 2
