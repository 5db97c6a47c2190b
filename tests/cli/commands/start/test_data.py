"""`raie data synth` makes a log that can be read, and never at the cost of one that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Raie
from tests.cli.trained import refused


def test_a_log_that_is_there_is_written_over_only_by_force(raie: Raie, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\n1,2,3\n")
    refused(raie("data", "synth", "log.csv"), 1, ["log.csv", "found one", "--force"])
    assert log.read_text() == "user_id,item_id,timestamp\n1,2,3\n"
    assert raie("data", "synth", "log.csv", "--force").code == 0
    assert raie("data", "describe", "log.csv", "--json").json["users"] == 1800
    refused(raie("data", "synth", "log.csv"), 1, ["--force"])


@pytest.mark.parametrize("name", ["log", "log.dat", "log.parquet", "log.csv.gz", "csv"])
def test_a_name_under_which_no_command_would_read_the_log_is_wrong_usage(
    raie: Raie, tmp_path: Path, name: str
) -> None:
    refused(raie("data", "synth", name, "--force"), 2, [name, ".csv"])
    assert list(tmp_path.iterdir()) == []
