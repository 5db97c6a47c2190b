"""What was meant to happen in a synthetic log: which user begins what in which edit, as labels of windows.

Legend: n windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.readers.timestamps import iso
from raie.engine.data.windows import Windows
from raie.engine.errors import InputError

__all__ = ["ADD", "EXPAND", "UPDATE", "Truth"]

_ACTIONS = ("update", "expand", "add")
UPDATE, EXPAND, ADD = range(3)


@dataclass(frozen=True, eq=False)
class Truth:
    """What was meant to happen.

    names: of the slices, in time order.  ends: int64 [slices], the last second of each, in epoch seconds UTC; all
        but the last are the cuts between slices, as `--until` takes them.
    users: external ids.  topic: int [users], each user's own topic.
    action: int8 [users, 2], 0 update, 1 expand, 2 add: what begins for the user in edit 1 and in edit 2.
    """

    names: tuple[str, ...]
    ends: NDArray[np.int64]
    users: tuple[str, ...]
    topic: NDArray[np.int64]
    action: NDArray[np.int8]

    @property
    def cuts(self) -> dict[str, str]:
        """The end of each slice as ISO text, by name: `--until truth.cuts["setup"]`."""
        return {name: iso(int(end)) for name, end in zip(self.names, self.ends, strict=True)}

    @cached_property
    def _row(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.users)}

    def rows(self, windows: Windows, catalogue: Catalogue) -> NDArray[np.int64]:
        """Row in `users` of each window's user, int64 [n].

        Args:
            windows: n of them.
            catalogue: the ids that the model knows.

        Returns:
            int64 [n].

        Raises:
            InputError: for a user of another log.
        """
        row_of = np.array([self._row.get(user, -1) for user in catalogue.users], dtype=np.int64)
        rows = row_of[windows.user]
        if (rows < 0).any():
            user = catalogue.users[windows.user[np.argmax(rows < 0)]]
            raise InputError(f"expected windows of the synthetic log, found user {user!r} of another one")
        return rows

    def labels(self, windows: Windows, catalogue: Catalogue, *, edits: int = 0) -> NDArray[np.str_]:
        """What the gate should say of each window, [n] of "update", "expand" and "add", by user and target's time.

        Args:
            windows: n of them.
            catalogue: the ids that the model knows.
            edits: how many edits the region map has already seen; what began in one of them is an Update by now.

        Returns:
            Labels [n].
        """
        rows = self.rows(windows, catalogue)
        begun = np.array([_edit_of(name) for name in self.names])[np.searchsorted(self.ends, windows.timestamp)]
        expected = np.zeros(len(rows), dtype=np.int8)
        for edit in (1, 2):  # the later of two drifts of one user is the one in effect
            action = self.action[rows, edit - 1]
            expected = np.where((begun >= edit) & (action > 0), np.where(edit > edits, action, UPDATE), expected)
        return np.array(_ACTIONS)[expected]


def _edit_of(name: str) -> int:
    return 0 if name == "setup" else int(name.rpartition("_")[2])
