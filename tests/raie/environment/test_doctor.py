"""The doctor finds what is not well, says what to do, and changes nothing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from raie.environment import machine_checks
from raie.environment.doctor import doctor
from raie.environment.machine_checks import Check, State, disk_checks, extra_checks, package_checks, requirements
from raie.migrations import downgrade, upgrade
from raie.registry import Author, Registry, trust
from raie.registry.promotion import signing
from raie.workspace import Workspace
from raie.workspace_file import draft, find
from tests.cli import history


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a history, made once."""
    folder = tmp_path_factory.mktemp("well")
    (folder / "raie.toml").write_text(draft(None, None, None), encoding="utf-8")
    made = find(folder)
    upgrade(made.database)
    history.make(made.registry())
    return folder


@pytest.fixture
def workspace(_made: Path, tmp_path: Path) -> Workspace:
    """A copy of it."""
    shutil.copytree(_made, tmp_path, dirs_exist_ok=True)
    return find(tmp_path)


def checked(workspace: Workspace | None) -> dict[str, list[Check]]:
    """The checks by name; those of the machine are not what these tests are about, and torch takes long."""
    checks: dict[str, list[Check]] = {}
    for check in doctor(workspace).checks:
        checks.setdefault(check.name, []).append(check)
    return checks


def state(checks: list[Check]) -> list[State]:
    return [check.state for check in checks]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raie.environment.doctor.torch_check", lambda: Check("torch", State.OK, "not asked"))
    for name in ("RAIE_SIGNING_KEY", "RAIE_DATABASE_URL", "RAIE_STORE"):
        monkeypatch.delenv(name, raising=False)


def test_a_workspace_that_is_well_has_no_failure_and_is_not_changed(workspace: Workspace) -> None:
    before = files(workspace.folder)
    diagnosis = doctor(workspace)
    assert not diagnosis.failed
    names = [check.name for check in diagnosis.checks]
    wanted = [
        "python",
        "packages",
        "extras",
        "torch",
        "disk",
        "workspace",
        "options",
        "database",
        "rights",
        "clock",
    ]
    assert list(dict.fromkeys(names)) == [*wanted, "store", "owner", "mlflow", "keys"]
    assert files(workspace.folder) == before


def test_without_a_workspace_the_machine_alone_is_checked() -> None:
    assert set(checked(None)) == {"python", "packages", "extras", "torch", "disk", "workspace"}


def test_a_database_that_is_gone_or_old_fails_and_the_store_is_still_asked(workspace: Workspace) -> None:
    downgrade(workspace.database, "0008")
    checks = checked(workspace)
    assert state(checks["database"]) == [State.FAIL]
    assert "raie db upgrade" in checks["database"][0].text
    assert state(checks["store"]) == [State.OK]
    assert state(checks["rights"] + checks["clock"] + checks["keys"]) == [State.SKIPPED] * 3
    gone = replace(workspace, database="postgresql+psycopg://ada:hunter2@127.0.0.1:1/x")
    (check,) = checked(gone)["database"]
    assert check.state == State.FAIL
    assert "hunter2" not in check.text


def test_a_store_that_is_gone_or_another_registrys_fails(workspace: Workspace, tmp_path: Path) -> None:
    shutil.move(workspace.store, tmp_path / "away")
    (check,) = checked(workspace)["store"]
    assert check.state == State.FAIL
    assert not Path(workspace.store).exists()
    shutil.move(tmp_path / "away", workspace.store)
    (marker,) = Path(workspace.store).rglob("registry.json")
    marker.write_bytes(b"no marker")
    (check,) = checked(workspace)["owner"]
    assert (check.state, "raie registry move" in check.text) == (State.FAIL, True)


def test_an_option_that_is_unknown_fails_by_its_name(workspace: Workspace) -> None:
    (check,) = checked(replace(workspace, engine={"regions": {"region": 4}}))["options"]
    assert (check.state, "regions.region" in check.text) == (State.FAIL, True)


def test_an_extra_that_the_workspace_needs_and_that_is_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "EXTRAS", {"s3": ("no_such_module",), "plots": ("json",)})
    assert extra_checks({}) == [Check("extras", State.OK, "installed: plots; not: s3")]
    (check,) = extra_checks({"s3": "the store"})
    assert (check.state, check.advice) == (State.FAIL, "`pip install 'raie[s3]'`")


def test_a_workspace_that_runs_on_ray_needs_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "EXTRAS", {"ray": ("no_such_module",)})
    assert checked(workspace)["extras"] == [Check("extras", State.OK, "installed: none; not: ray")]
    (check,) = checked(replace(workspace, executor="ray"))["extras"]
    assert (check.state, check.advice) == (State.FAIL, "`pip install 'raie[ray]'`")


def test_every_requirement_of_raie_is_understood_and_an_old_package_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {extra for _, _, extra in requirements()} >= {"", "engine", "mlflow", "s3", "serve"}
    assert state(package_checks()) == [State.OK]
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "8.2.9" if name == "click" else version(name))
    (check,) = package_checks()
    assert (check.state, check.text) == (State.FAIL, "click 8.2.9 is older than 8.3")


@pytest.mark.parametrize(("free", "wanted"), [(10**12, State.OK), (10**9, State.WARN), (10**7, State.FAIL)])
def test_a_disk_that_fills_up_warns_and_a_full_one_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, wanted: State
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=free))
    assert disk_checks({"the store": tmp_path / "not yet"})[0].state == wanted


def test_a_signature_that_is_required_and_that_nobody_can_give_fails(workspace: Workspace) -> None:
    registry = workspace.registry()
    trust.set_policy(registry, workspace.model, "production", {"require_signed": True}, author=Author("owner"))
    (check,) = checked(workspace)["keys"]
    assert (check.state, check.text) == (State.FAIL, "production must be signed, and no key is trusted")
    signer = signing.generate()
    trust.trust_key(registry, workspace.model, signer.key, "release", author=Author("owner"))
    assert state(checked(workspace)["keys"]) == [State.OK]


def test_a_private_key_is_looked_at_and_never_opened(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "release.pem"
    monkeypatch.setenv("RAIE_SIGNING_KEY", str(file))
    assert state(checked(workspace)["keys"])[-1] == State.FAIL
    signer = signing.generate()
    file.write_bytes(b"not opened")
    os.chmod(file, 0o644)
    assert checked(workspace)["keys"][-1].advice == f"`chmod 600 {file}`"
    os.chmod(file, 0o600)
    assert state(checked(workspace)["keys"])[-1] == State.OK
    (tmp_path / "release.pem.pub").write_bytes(signing.public_pem(signer))
    assert state(checked(workspace)["keys"])[-1] == State.WARN
    trust.trust_key(workspace.registry(), workspace.model, signer.key, "release", author=Author("owner"))
    assert state(checked(workspace)["keys"])[-1] == State.OK


def test_every_database_and_store_is_asked(up_to_date: str, store_url: str, workspace: Workspace) -> None:
    registry = Registry.open(up_to_date, store_url)
    registry.put(b"the first")
    url = registry.engine.url.render_as_string(hide_password=False)
    checks = checked(replace(workspace, database=url, store=store_url))
    assert state(checks["rights"])[0] == State.OK
    postgres = registry.engine.dialect.name == "postgresql"
    assert state(checks["store"] + checks["owner"]) == [State.OK, State.OK]
    assert state(checks["clock"]) == [State.OK if postgres else State.SKIPPED]
