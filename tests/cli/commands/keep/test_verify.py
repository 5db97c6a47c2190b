"""Making a workspace, bringing its database up to date, checking it and tidying it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raie.migrations import downgrade
from raie.registry import Registry
from raie.workspace import Workspace
from raie.workspace_file import find
from tests.cli.conftest import Raie
from tests.registry.db.revisions import REVISIONS


def test_init_makes_a_workspace_that_the_next_command_works_in(raie: Raie, tmp_path: Path) -> None:
    assert raie("init").code == 0
    assert find().folder == tmp_path
    assert raie("edit", "list").code == 0


def test_init_again_changes_nothing_and_makes_what_is_missing(raie: Raie, tmp_path: Path) -> None:
    raie("init", "--model", "books")
    before = (tmp_path / "raie.toml").read_bytes()
    (tmp_path / ".raie" / "registry.db").unlink()
    assert raie("init").code == 0
    assert (tmp_path / "raie.toml").read_bytes() == before
    assert raie("db", "current", "--json").json["up_to_date"]


def test_init_never_overwrites_what_a_workspace_says(raie: Raie) -> None:
    raie("init")
    ran = raie("init", "--model", "books")
    assert (ran.code, find().model) == (2, "recsys")
    assert "--model" in ran.err


def test_init_makes_the_folder_it_is_given(raie: Raie, tmp_path: Path) -> None:
    assert raie("--workspace", tmp_path / "a" / "b", "init", "--store", "models").code == 0
    assert find(tmp_path / "a" / "b").store == str(tmp_path / "a" / "b" / "models")


def test_a_password_never_reaches_a_file_or_the_terminal(
    raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://ada:s3cret@127.0.0.1:1/raie"
    ran = raie("init", "--database", url)
    assert ran.code == 2
    assert "PGPASSWORD" in ran.err
    monkeypatch.setenv("RAIE_DATABASE_URL", url)
    unreachable = raie("init")
    assert unreachable.code == 6
    assert "s3cret" not in ran.out + ran.err + unreachable.out + unreachable.err
    assert not (tmp_path / "raie.toml").exists(), "a database that cannot be reached left half a workspace"


def test_init_refuses_an_option_that_the_environment_would_silently_overrule(
    raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_STORE", "elsewhere")
    assert raie("init", "--store", "here").code == 2
    assert raie("init").code == 0
    monkeypatch.delenv("RAIE_STORE")
    assert find().store.endswith("elsewhere")


def test_what_init_makes_is_not_taken_by_git_add(raie: Raie, tmp_path: Path) -> None:
    raie("init")
    assert (tmp_path / ".raie" / ".gitignore").read_text() == "*\n"


def test_a_database_of_an_older_revision_is_refused_with_the_command_that_mends_it(
    raie: Raie, workspace: Workspace
) -> None:
    raie("--workspace", "fresh", "init")
    fresh = find(Path("fresh"))
    for revision in ["base", *REVISIONS[:-1]]:
        downgrade(fresh.database, revision)
        ran = raie("--workspace", "fresh", "log")
        assert ran.code == 1
        assert "raie db upgrade" in ran.err
        assert "raie db upgrade" in raie("--workspace", "fresh", "db", "current").out
        assert raie("--workspace", "fresh", "db", "upgrade").code == 0
        assert raie("--workspace", "fresh", "log").code == 0
    assert "already" in raie("--workspace", "fresh", "db", "upgrade").out


def test_a_database_that_is_not_there_is_not_made_by_reading(raie: Raie, workspace: Workspace) -> None:
    file = workspace.folder / ".raie" / "registry.db"
    for name in (file, file.with_name("registry.db-wal"), file.with_name("registry.db-shm")):
        name.unlink(missing_ok=True)
    ran = raie("log")
    assert ran.code == 6
    assert "raie init" in ran.err
    ran = raie("db", "current")
    assert ran.code == 0
    assert ran.out.startswith(f"no database file at {file}, expected revision ")
    assert raie("db", "current", "--json").json["revision"] is None
    assert not file.exists()


def test_a_store_that_nothing_was_put_into_yet_need_not_be_there(
    raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raie("init")
    monkeypatch.setenv("RAIE_STORE", "not yet")
    assert raie("gc", "--dry-run").code == 0
    assert raie("audit", "verify").code == 0
    monkeypatch.setenv("RAIE_STORE", "later")
    assert raie("verify").code == 0
    find().registry().put(b"the first")
    assert list((tmp_path / "later").glob("registries/*/sha256"))


def _damage(registry: Registry, digest: str) -> Path:
    file = next(path for path in Path(".raie/blobs").rglob(digest))
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    return file


def test_verify_is_silent_about_nothing_and_names_what_it_checked(raie: Raie, workspace: Workspace) -> None:
    ran = raie("verify", "--json")
    assert (ran.code, ran.json["ok"], ran.json["damaged"]) == (0, True, [])
    assert raie("verify").code == 0


def test_verify_names_each_damaged_blob_and_the_snapshots_it_affects(raie: Raie, registry: Registry) -> None:
    edited = registry.resolve("recsys", "edit:2")
    flipped, missing = edited.content.regions[1]["lora"], edited.content.backbone["weights"]
    _damage(registry, flipped)
    _damage(registry, missing).unlink()
    ran = raie("verify", "--json")
    assert ran.code == 5
    damaged = {damage["digest"]: damage for damage in ran.json["damaged"]}
    assert set(damaged) == {flipped, missing}
    assert edited.id in damaged[flipped]["snapshots"]
    assert registry.resolve("recsys", "edit:1").id not in damaged[flipped]["snapshots"]
    assert len(damaged[missing]["snapshots"]) == 6
    known = registry.store.iterate()
    assert ran.json["blobs"] == len({blob.digest for blob in known} - {flipped}), "of those that were read back"
    text = raie("verify")
    assert text.code == 5
    assert flipped[:12] in text.out
    assert edited.id[:12] in text.out


def test_verify_finds_a_rewritten_past_with_the_checkpoint_it_printed(raie: Raie, workspace: Workspace) -> None:
    checkpoint = raie("verify", "--json").json["chain_head"]
    raie("promote", "head")
    assert raie("verify", "--checkpoint", checkpoint).code == 0
    number, _, _ = checkpoint.partition(":")
    assert raie("verify", "--checkpoint", f"{number}:{'0' * 64}").code == 5


def test_gc_deletes_only_what_nothing_refers_to_and_only_when_asked(raie: Raie, registry: Registry) -> None:
    orphan = registry.put(b"nobody's")
    assert raie("gc", "--dry-run", "--json").json["deleted"] == [], "younger than the grace period"
    planned = raie("gc", "--dry-run", "--grace", "0", "--json").json
    assert [blob["digest"] for blob in planned["deleted"]] == [orphan]
    assert registry.store.exists(orphan)
    refused = raie("gc", "--grace", "0")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert registry.store.exists(orphan)
    assert raie("gc", "--grace", "0", "--yes").code == 0
    assert not registry.store.exists(orphan)
    assert raie("verify").code == 0
