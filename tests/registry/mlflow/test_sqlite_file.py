"""MLflow's SQLite file, made by real processes that are stopped at any moment: whole or not there, never half made."""

from __future__ import annotations

import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from raie.registry.errors import MlflowUnreachable
from raie.registry.mlflow.client import open_client, quiet_mlflow
from raie.registry.mlflow.sqlite_file import is_made
from tests.registry.mlflow.mlflow_files import half_made, kill_while_it_makes, making, opens

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_half_made_file_counts_as_none_and_one_with_a_record_as_made(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    assert not is_made(file)
    file.touch()
    assert not is_made(file), "an empty file"
    half_made(file)
    assert not is_made(file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO runs VALUES ('a run of somebody')")
    assert is_made(file)


def test_a_half_upgraded_file_with_records_is_left_alone_and_named_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    half_made(file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO runs VALUES ('a run of somebody')")
    with (
        quiet_mlflow(),
        pytest.raises(MlflowUnreachable, match=r"mv mlflow.db mlflow.db.old.*sync --again") as refused,
    ):
        open_client(f"sqlite:///{file}")
    assert "\n" not in str(refused.value)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_process_stopped_at_any_moment_leaves_a_file_that_the_next_one_makes_whole(
    tmp_path: Path, sign: signal.Signals
) -> None:
    file = tmp_path / "mlflow.db"
    for _ in range(3):
        kill_while_it_makes(file, sign, after_s=random.uniform(0, 4))
        assert not file.exists() or opens(file)
    assert opens(file)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.slow
def test_two_first_syncs_at_once_make_one_file(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    processes = [making(file) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert opens(file)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
