"""A workspace that an earlier version made opens, is whole, serves the same bits, and goes on."""

from __future__ import annotations

import json
import platform
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import Raie

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


@pytest.fixture(params=["before-one-package"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the workspace of an earlier version, in the current folder."""
    with tarfile.open(SAMPLES / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def same_machine(made_on: dict[str, str]) -> bool:
    """Whether bits can be compared: another processor or another torch may round otherwise."""
    here = (platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.__version__.split("+")[0])
    return here == (made_on["machine"], made_on["cpu"], made_on["torch"])


def scores(answer: dict[str, Any]) -> list[float]:
    return [item["score"] for entry in answer["recommendations"] for item in entry["items"]]


def items(answer: dict[str, Any]) -> list[Any]:
    return [
        (entry["user"], entry["region"], entry["context"], [item["item"] for item in entry["items"]])
        for entry in answer["recommendations"]
    ]


def test_a_workspace_of_an_earlier_version_serves_the_same_bits_once_upgraded(old: Path, raie: Raie) -> None:
    assert raie("db", "upgrade").code == 0
    verified = raie("verify", "--json")
    assert verified.code == 0, verified.out
    expected = json.loads((old / "recommended.json").read_text(encoding="utf-8"))
    exact = same_machine(expected.pop("made_on"))
    assert sorted(expected) == ["edit:1", "production"]
    for ref, before in expected.items():
        users = [term for entry in before["recommendations"] for term in ("--user", entry["user"])]
        ran = raie("recommend", "log.csv", *users, "--top", "10", "--ref", ref, "--json")
        assert ran.code == 0, ran.err
        assert items(ran.json) == items(before)
        assert scores(ran.json) == (scores(before) if exact else pytest.approx(scores(before), rel=1e-4))


@pytest.mark.slow
def test_a_workspace_of_an_earlier_version_takes_another_edit_a_promotion_and_a_rollback(
    old: Path, raie: Raie
) -> None:
    for line in (
        "db upgrade",
        "edit apply log.csv --until 2024-06-29 --workers 1 --reason June",
        "promote edit:3 --reason better",
        "rollback 3 --reason worse",
        "verify",
    ):
        ran = raie(*line.split())
        assert ran.code == 0, (line, ran.err)
    history = raie("log", "--json").json
    assert json.dumps(history).count('"rollback"') == 1
