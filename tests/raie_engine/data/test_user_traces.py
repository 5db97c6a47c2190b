"""A blob is looked at for what is in it: ids in a catalogue, rows in windows, also where they are packed in another."""

from __future__ import annotations

import numpy as np
import pytest

from raie.engine.bytes.arrays import pack
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.user_traces import Traces, traces_of
from raie.engine.data.windows import Windows
from raie.engine.edit.erasing import chunk_without, windows_without
from raie.engine.regions.buffer import AddBuffer


def _windows(*users: int) -> Windows:
    n = len(users)
    return Windows(np.ones((n, 3), np.int32), np.ones(n, np.int32), np.array(users, np.int32), np.arange(n))


def test_windows_are_found_alone_and_packed_in_a_buffer_and_in_what_holds_that() -> None:
    windows = _windows(3, 3, 5)
    buffer = AddBuffer(windows, np.zeros((3, 2), np.float32), "space").to_bytes()
    packed = pack({"kind": "prepared_edit"}, {"inner": np.frombuffer(buffer, np.uint8)})
    for data in (windows.to_bytes(), buffer, packed):
        assert traces_of(data) == Traces({}, {3: 2, 5: 1})


def test_a_chunk_of_the_catalogue_names_its_users_and_a_placeholder_hides_one() -> None:
    older = Catalogue(("u1",), ("i1",))
    chunk = older.extend(["u2", "u3"], ["i2"]).chunk_since(older)
    assert traces_of(chunk).users == {1: "u2", 2: "u3"}
    without = chunk_without(chunk, {"u3"})
    assert traces_of(without).users == {1: "u2", 2: "(erased user 2)"}
    assert chunk_without(chunk, {"nobody"}) == chunk
    assert Catalogue.from_chunks([older.chunk_since(Catalogue()), without]).items == ("i1", "i2")


def test_windows_without_a_user_are_those_of_the_others() -> None:
    assert windows_without(_windows(3, 5, 3), [3]).user.tolist() == [5]
    assert len(windows_without(_windows(3, 3), [3])) == 0


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b'{"users": 3}', b"x" * 40, b"\xff" * 8 + b"{" * 9])
def test_other_bytes_name_nobody(data: bytes) -> None:
    assert traces_of(data) == Traces()
