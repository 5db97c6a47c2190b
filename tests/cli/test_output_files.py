"""Files that commands write where the user says: whole or not at all, and nothing else than regular files."""

from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from raie.errors import RaieError
from raie.key_files import write_pair
from raie.output_files import require_free, whole_file
from raie.workspace import Workspace
from tests.cli.conftest import Raie


def write(path: Path, data: bytes, *, replace: bool = False) -> None:
    with whole_file(path, replace=replace) as file:
        file.write(data)


def what_is(name: str) -> tuple[int, int]:
    status = os.lstat(name)
    return status.st_ino, status.st_mode


def test_an_export_writes_over_a_file_only_where_it_is_told_to(raie: Raie, workspace: Workspace) -> None:
    kept = Path("audit.jsonl")
    kept.write_text("yesterday's\n")
    kept.chmod(0o600)
    ran = raie("audit", "export", "audit.jsonl")
    assert (ran.code, kept.read_text()) == (1, "yesterday's\n")
    assert "--force" in ran.err
    assert raie("audit", "export", "audit.jsonl", "--force").code == 0
    assert json.loads(kept.read_text().splitlines()[0])["id"] == 1
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600, "what was private stays private"


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["plain", "forced"])
def test_no_command_replaces_a_link_a_pipe_or_a_device(
    raie: Raie, workspace: Workspace, force: tuple[str, ...]
) -> None:
    Path("target.csv").write_text("kept")
    Path("link.csv").symlink_to("target.csv")
    Path("dangling.csv").symlink_to("nowhere.csv")
    os.mkfifo("pipe.csv")
    names = ("link.csv", "dangling.csv", "pipe.csv")
    before = [what_is(name) for name in names]
    for name, kind in (
        ("link.csv", "a link"),
        ("dangling.csv", "a link"),
        ("pipe.csv", "a pipe"),
        (os.devnull, "a device"),
    ):
        commands = [("audit", "export", name, *force)]
        commands += [("data", "synth", name, *force)] if name.endswith(".csv") else []
        commands += [("keys", "generate", name, "--unencrypted")] if not force else []
        for command in commands:
            ran = raie(*command)
            assert (ran.code, ran.out) == (1, ""), command
            assert f"found {kind}" in ran.err
    assert [what_is(name) for name in names] == before
    assert Path("target.csv").read_text() == "kept"
    assert not Path("nowhere.csv").exists()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_an_export_to_the_name_of_standard_output_is_an_export_to_standard_output(
    raie: Raie, workspace: Workspace
) -> None:
    assert raie("audit", "export", "/dev/stdout").out == raie("audit", "export").out != ""


def test_a_workspace_is_not_made_through_a_link(raie: Raie) -> None:
    Path("raie.toml").symlink_to("elsewhere.toml")
    ran = raie("init")
    assert (ran.code, ran.out) == (1, "")
    assert not Path("elsewhere.toml").exists()


def broken(path: Path, *, replace: bool) -> None:
    with whole_file(path, replace=replace) as file:
        file.write(b"half of it")
        raise ValueError("half")


def test_a_block_that_fails_leaves_no_file_and_the_old_one_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    for name, replace in (("old", True), ("new", False)):
        with pytest.raises(ValueError, match="half"):
            broken(tmp_path / name, replace=replace)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def overtaken(path: Path, *, replace: bool, by: Callable[[Path], object]) -> None:
    with whole_file(path, replace=replace) as file:
        file.write(b"ours")
        by(path)


def test_a_file_that_somebody_writes_in_the_meantime_is_not_lost(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    with pytest.raises(RaieError, match="found one"):
        overtaken(theirs, replace=False, by=lambda path: path.write_bytes(b"theirs"))
    with pytest.raises(RaieError, match="a link"):
        overtaken(tmp_path / "link", replace=True, by=lambda path: path.symlink_to(theirs))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "theirs": b"theirs",
        "link": b"theirs",
    }


def test_the_bytes_are_synced_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((tmp_path / "file").exists())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write(tmp_path / "file", b"data")
    assert synced == [False, True], "the bytes, and then the folder that names them"


def test_a_new_file_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "file", b"")
        write_pair(tmp_path / "key", b"secret", b"public")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"file": 0o640, "key": 0o600, "key.pub": 0o640}


def test_a_key_whose_public_half_cannot_be_written_leaves_no_private_one(tmp_path: Path) -> None:
    (tmp_path / "key.pub").symlink_to("elsewhere")
    with pytest.raises(RaieError, match="a link"):
        write_pair(tmp_path / "key", b"secret", b"public")
    assert [path.name for path in tmp_path.iterdir()] == ["key.pub"]


def test_a_name_as_long_as_the_file_system_takes_is_written_too(tmp_path: Path) -> None:
    write(tmp_path / ("n" * 255), b"data")
    require_free(tmp_path / "another", replace=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"data"]


def test_a_file_too_large_for_its_disk_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            write(tmp_path / "file", b"more than ten bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
