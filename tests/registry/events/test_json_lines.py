"""A file of JSON lines grows by whole lines, whatever a crash or a full disk left of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from raie.registry.errors import ReceiverUnreachable
from raie.registry.events.json_lines import append


def test_lines_are_added_behind_each_other(tmp_path: Path) -> None:
    file = tmp_path / "new" / "events.jsonl"
    append(file, [b"1", b"2"])
    append(file, [b"3"])
    assert file.read_bytes() == b"1\n2\n3\n"


@pytest.mark.parametrize("left", [b"", b"1\n", b'1\n{"half": ', b"x" * 200_000, b"1\n" + b"x" * 200_000])
def test_half_a_line_of_a_killed_sender_is_removed(tmp_path: Path, left: bytes) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(left)
    append(file, [b"2"])
    assert file.read_bytes() == (b"1\n2\n" if left.startswith(b"1\n") else b"2\n")


def test_a_disk_that_fills_up_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, real = tmp_path / "events.jsonl", os.pwrite
    append(file, [b"1"])

    def filled(descriptor: int, data: bytes, offset: int) -> int:
        if offset > 4:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:3], offset)

    monkeypatch.setattr(os, "pwrite", filled)
    with pytest.raises(ReceiverUnreachable, match="No space left on device; the events wait"):
        append(file, [b"22222222"])
    monkeypatch.undo()
    assert file.read_bytes() == b"1\n"


def test_senders_at_once_write_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    lines = [b"%d" % number * 500 for number in range(8)]
    threads = [threading.Thread(target=append, args=(file, [line, line])) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = file.read_bytes().splitlines()
    assert sorted(written) == sorted([*lines, *lines])
    assert written[::2] == written[1::2]


def test_what_is_no_file_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "pipe" / "below"):
        with pytest.raises(ReceiverUnreachable, match="the events wait"):
            append(path, [b"1"])
