"""`raie snapshot` moves a history between workspaces, and says what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raie.workspace import Workspace
from tests.cli.conftest import Raie
from tests.cli.trained import refused

FILE = "recsys.tar"


@pytest.fixture
def production(raie: Raie, workspace: Workspace) -> str:
    """The folder of another workspace, whose registry is empty."""
    assert raie("--workspace", "production", "init").code == 0
    return "production"


def test_a_snapshot_goes_from_staging_to_production_and_again_changes_nothing(raie: Raie, production: str) -> None:
    made = raie("snapshot", "export", "head", FILE, "--json")
    assert made.code == 0, made.err
    assert made.json["bytes"] == Path(FILE).stat().st_size
    came = raie("--workspace", production, "snapshot", "import", FILE, "--reason", "release", "--json")
    assert came.code == 0, came.err
    assert (came.json["changed"], came.json["snapshots"]) == (True, made.json["snapshots"])
    here, there = (raie(*at, "status", "--json").json for at in ((), ("--workspace", production)))
    assert there["head"] == here["head"]
    assert there["aliases"] == []
    assert raie("--workspace", production, "verify").code == 0
    assert "release" in raie("--workspace", production, "audit", "log").out
    again = raie("--workspace", production, "snapshot", "import", FILE)
    assert again.code == 0
    assert "is here already: nothing was changed" in again.out
    # What arrived can be worked with: promoted and rolled back.
    assert raie("--workspace", production, "promote", "head").code == 0
    assert raie("--workspace", production, "rollback", "5", "--yes").code == 0


def test_a_file_that_does_not_fit_is_one_line_with_its_exit_code(raie: Raie, production: str) -> None:
    assert raie("snapshot", "export", "production", FILE).code == 0
    refused(raie("snapshot", "export", "production", FILE), 1, [f"expected no file {FILE}"])
    refused(raie("snapshot", "export", "nothing", "other.tar"), 1, ["found 'nothing'"])
    at = ("--workspace", production, "snapshot", "import")
    refused(raie(*at, "missing.tar"), 1, ["missing.tar"])
    Path("cut.tar").write_bytes(Path(FILE).read_bytes()[:5000])
    refused(raie(*at, "cut.tar"), 5, ["expected a whole file of `raie snapshot export`".capitalize()])
    refused(raie(*at, FILE, "--signed-by", "release"), 5, ["found signatures by none"])
    assert raie("--workspace", production, "log").out == raie("--workspace", production, "log").out
    assert raie(*at, FILE).code == 0
    assert raie("--workspace", production, "rollback", "2", "--yes").code == 0
    assert raie("snapshot", "export", "head", "newer.tar").code == 0
    refused(raie(*at, "newer.tar"), 4, ["the two registries went apart"])


def test_a_public_key_that_must_have_signed_is_named_by_its_file(
    raie: Raie, production: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_SIGNING_PASSPHRASE", "secret")
    for key in ("release.pem", "other.pem"):
        assert raie("keys", "generate", key).code == 0
    assert raie("sign", "head", "--key", "release.pem").code == 0
    assert raie("snapshot", "export", "head", FILE).code == 0
    at = ("--workspace", production, "snapshot", "import", FILE, "--signed-by")
    assert raie(*at, "other.pem.pub").code == 5
    came = raie(*at, "release.pem.pub")
    assert came.code == 0, came.err
    assert "trusted here: none; 1 by keys that are not trusted here" in came.out
