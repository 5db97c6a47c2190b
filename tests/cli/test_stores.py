"""A store is tried before anything is trained, and its address is refused before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raie.edits import workflow
from raie.registry import digest_of
from raie.workspace_file import find
from tests.cli import history
from tests.cli.conftest import Raie
from tests.registry.store.s3_habits import Answer, Forward, Habit, Request, a_web_page, as_it_is, error, served

SECRET = "hunter2-very-secret"
ADDRESSES = ["s3:/models/x", "S3://models/x", f"s3://AKIA:{SECRET}@models/x", f"s3://models/x?key={SECRET}"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("source", ["--store", "RAIE_STORE", "raie.toml"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused_wherever_it_stands(
    raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, address: str
) -> None:
    if source == "raie.toml":
        (tmp_path / "raie.toml").write_text(f'store = "{address}"\n', encoding="utf-8")
    if source == "RAIE_STORE":
        monkeypatch.setenv("RAIE_STORE", address)
    before = sorted(tmp_path.rglob("*"))
    commands = [["init", "--store", address]] if source == "--store" else [["init"]]
    if source == "raie.toml":
        commands += [["status"], ["verify"], ["setup", "log.csv"]]
    for command in commands:
        ran = raie(*command)
        assert ran.code == 2
        assert ran.err.startswith("error: Expected")
        assert len(ran.err.splitlines()) == 1
        assert SECRET not in ran.out + ran.err
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def test_init_tries_the_store_and_writes_no_raie_toml_where_it_is_none(
    raie: Raie, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with served(a_web_page(200), s3_folder, monkeypatch):
        ran = raie("init", "--store", s3_url)
    assert (ran.code, len(ran.err.splitlines())) == (6, 1)
    assert "web page" in ran.err
    assert not (tmp_path / "raie.toml").exists()


def test_setup_tries_the_store_before_it_trains(
    raie: Raie, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now: list[Habit] = [as_it_is]
    with served(lambda request, forward: now[0](request, forward), s3_folder, monkeypatch):
        assert raie("init", "--store", s3_url).code == 0
        (tmp_path / "log.csv").write_text(
            "user_id,item_id,timestamp\na,x,1700000001\na,y,1700000002\n", encoding="utf-8"
        )
        now[0] = lambda request, forward: error(501, "NotImplemented") if request.lists else forward(request)
        monkeypatch.setattr(workflow, "_finish_setup", lambda *_: pytest.fail("it trained"))
        ran = raie("setup", "log.csv")
    assert (ran.code, len(ran.err.splitlines())) == (6, 1)
    assert "NotImplemented" in ran.err
    assert find().registry().models() == []


def test_a_reader_s_clone_of_a_workspace_puts_nothing(
    raie: Raie, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def only_reads(request: Request, forward: Forward) -> Answer:
        asked.append(request.method)
        return forward(request) if request.method in ("GET", "HEAD") else error(403, "AccessDenied")

    assert raie("init", "--store", s3_url).code == 0
    history.set_up(find().registry())
    with served(only_reads, s3_folder, monkeypatch):
        assert raie("init").code == 0
    assert "DELETE" not in asked


def test_a_folder_is_tried_too_and_nothing_is_left_in_it(raie: Raie, tmp_path: Path) -> None:
    assert raie("init").code == 0
    assert [path for path in (tmp_path / ".raie" / "blobs").rglob("probe*") if path.is_file()] == []
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    second = tmp_path / "other"
    second.mkdir()
    ran = raie("--workspace", str(second), "init", "--store", str(tmp_path / "file" / "store"))
    assert (ran.code, len(ran.err.splitlines())) == (6, 1)
    assert not (second / "raie.toml").exists()


def test_an_unreadable_blob_is_named_in_a_code_of_its_own(raie: Raie, workspace: object) -> None:
    """Nobody knows whether it is damaged: that is no integrity error, and nothing is well either."""
    digest = digest_of(b"space")
    path = find().registry().store.root / "sha256" / digest[:2] / digest  # type: ignore[attr-defined]
    path.unlink()
    path.symlink_to(path)  # what nobody can open
    ran = raie("verify")
    assert ran.code == 6
    assert f"unreadable  {digest[:12]}" in ran.out
    assert "1 blobs could not be read" in ran.out
    assert [blob["digest"] for blob in raie("verify", "--json").json["unreadable"]] == [digest]
    path.unlink()
    assert raie("verify").code == 5


def test_the_address_of_a_server_is_shown_without_its_password(
    raie: Raie, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://ada:{SECRET}@127.0.0.1:1")
    ran = raie("init", "--store", s3_url)
    assert ran.code == 6
    assert SECRET not in ran.err
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in ran.err.replace("s3://", "")
