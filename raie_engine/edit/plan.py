"""The edit plan as a value: what an edit will do to each region, and where each window goes.

It prints, hashes and travels as bytes. Legend: n new windows, m pending windows of the Add buffer, d
dimensions. Angles in radians.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Ints
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.errors import DamagedArtifact, InputError
from raie.engine.regions.gate import Action
from raie.engine.regions.region_map import RegionMap

__all__ = ["PENDING", "EditPlan", "Operation", "region_summary"]

PENDING = -1
"""In place of a region id: the window is in the Add buffer after the edit."""


@dataclass(frozen=True)
class Operation:
    """What the edit does to one region, and the region's state after it.

    update, expand, add: windows it trains on, by what the gate called them. centre [d] of norm 1; radius,
    max_radius in radians; count: windows so far. centre_shift: angle between the old and the new centre;
    radius_before: None for an added region; nearest: for an added region the existing one whose adapter it
    starts from, else itself.
    """

    region: int
    action: Action
    update: int
    expand: int
    add: int
    centre: tuple[float, ...]
    radius: float
    max_radius: float
    concentration: float
    count: int
    centre_shift: float
    radius_before: float | None
    nearest: int

    @property
    def windows(self) -> int:
        """How many windows the region trains on, those from the buffer among them."""
        return self.update + self.expand + self.add


_ARRAYS = {
    "decided_action": np.int8,
    "action": np.int8,
    "region": np.int32,
    "buffer_action": np.int8,
    "buffer_region": np.int32,
}
DECIDED_REGION = "decided_region"
"""An array of stored plans that follows from the others."""
_AXES = {name: "m" if name.startswith("buffer") else "n" for name in (*_ARRAYS, DECIDED_REGION)}


@dataclass(frozen=True, eq=False)
class EditPlan:
    """What an edit does to each region, and where each window goes.

    parent: snapshot id. space, region_map, windows, buffer: digests of what the plan was made from. gate,
    parameters: the gate's name and every number the plan depends on. operations: one per touched region, by
    region id.

    decided_action int8 [n]: what the gate said. action int8 [n], region int32 [n]: after the Add buffer was read; -1 is
    pending. buffer_action int8 [m], buffer_region int32 [m]: the same for pending windows. Windows of a region without
    an operation are left out: too few came, or the caller excluded the region.
    """

    parent: str
    seed: int
    space: str
    region_map: str
    windows: str
    buffer: str
    gate: str
    parameters: Mapping[str, Any]
    operations: tuple[Operation, ...]
    decided_action: npt.NDArray[np.int8]
    action: npt.NDArray[np.int8]
    region: Ints
    buffer_action: npt.NDArray[np.int8]
    buffer_region: Ints

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EditPlan) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def touched(self) -> tuple[int, ...]:
        """Ids of the regions with an operation, ascending."""
        return tuple(operation.region for operation in self.operations)

    @property
    def added(self) -> tuple[int, ...]:
        """Ids of the regions that the edit adds, ascending."""
        return tuple(o.region for o in self.operations if o.action is Action.ADD)

    @property
    def pending(self) -> int:
        """Windows in the Add buffer after the edit."""
        return int((self.region == PENDING).sum() + (self.buffer_region == PENDING).sum())

    @property
    def left(self) -> npt.NDArray[np.int64]:
        """Rows of the new windows that belong to a region the edit does not touch."""
        return np.flatnonzero((self.region != PENDING) & ~np.isin(self.region, self.touched))

    def operation(self, region: int) -> Operation:
        """The operation on a region.

        Args:
            region: its id.

        Returns:
            The operation.

        Raises:
            InputError: when the plan does not touch it.
        """
        for operation in self.operations:
            if operation.region == region:
                return operation
        raise InputError(f"expected one of the touched regions {list(self.touched)}, found {region}")

    def rows(self, region: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows a touched region trains on: of the new windows, and of the buffer the plan was made from.

        Args:
            region: its id.

        Returns:
            Row numbers, int64, of the new windows and of the buffer.
        """
        self.operation(region)
        return np.flatnonzero(self.region == region), np.flatnonzero(self.buffer_region == region)

    def to_bytes(self) -> bytes:
        """Lossless bytes, equal in any process."""
        header = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in _ARRAYS}
        header["operations"] = [dataclasses.asdict(operation) for operation in self.operations]
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return pack({"kind": "edit_plan", **header}, arrays | {DECIDED_REGION: self._decided_region})

    @property
    def _decided_region(self) -> Ints:
        """The region int32 [n] that the gate named for each new window, -1 for Add: only Add windows are moved later."""
        return np.where(self.decided_action == Action.ADD, PENDING, self.region).astype(np.int32)

    @classmethod
    def from_bytes(cls, data: bytes) -> EditPlan:
        """The plan that `to_bytes` wrote.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        header, arrays = unpack(data, "edit_plan", {**_ARRAYS, DECIDED_REGION: np.int32}, _AXES)
        del header["kind"], arrays[DECIDED_REGION]
        try:
            operations = tuple(
                Operation(**{**fields, "action": Action(fields["action"]), "centre": tuple(fields["centre"])})
                for fields in header.pop("operations")
            )
            values: dict[str, Any] = {**header, **arrays}
            plan = cls(operations=operations, **values)
            _require_types(plan)
            return plan
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedArtifact(f"expected an edit plan, found another header ({error}); plan again") from error

    @cached_property
    def digest(self) -> str:
        """sha256 of `to_bytes`: the plan's identity."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


_NUMBERS = {"int": (int,), "float": (int, float), "float | None": (int, float, type(None))}


def _require_types(plan: EditPlan) -> None:
    """Raises: TypeError for a header whose values are of other types than the plan's."""
    texts = (plan.parent, plan.space, plan.region_map, plan.windows, plan.buffer, plan.gate)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a digest or a name that is no text")
    if type(plan.seed) is not int or not isinstance(plan.parameters, Mapping):
        raise TypeError("a seed that is no whole number, or parameters that are no object")
    for operation in plan.operations:
        numbers = [(getattr(operation, f.name), _NUMBERS[str(f.type)]) for f in _NUMBER_FIELDS]
        numbers += [(coordinate, _NUMBERS["float"]) for coordinate in operation.centre]
        if not all(type(number) in kinds for number, kinds in numbers):
            raise TypeError(f"an operation that holds something else than numbers: {operation!s:.80}")


_NUMBER_FIELDS = [field for field in dataclasses.fields(Operation) if field.type in _NUMBERS]


def region_summary(region_map: RegionMap, plan: EditPlan) -> list[dict[str, Any]]:
    """One row of plain values per region, existing ones first, for showing a plan.

    Args:
        region_map: of the snapshot.
        plan: of the edit.

    Returns:
        By region "region", "action" ("update", "expand", "add" or "untouched"), windows by decision ("update",
        "expand", "add"; of an untouched region those it leaves out), "centre_shift", "radius_before", "radius_after"
        (radians; radius_before is None for an added region), "count_after" and "starts_from".
    """
    touched = {operation.region: operation for operation in plan.operations}
    rows = []
    for region in sorted({*region_map.ids.tolist(), *touched}):
        operation = touched.get(region)
        if operation is None:
            rows.append(_untouched_row(region_map, plan, region))
            continue
        rows.append(
            {
                "region": region,
                "action": operation.action.name.lower(),
                "update": operation.update,
                "expand": operation.expand,
                "add": operation.add,
                "centre_shift": operation.centre_shift,
                "radius_before": operation.radius_before,
                "radius_after": operation.radius,
                "count_after": operation.count,
                "starts_from": operation.nearest,
            }
        )
    return rows


def _untouched_row(region_map: RegionMap, plan: EditPlan, region: int) -> dict[str, Any]:
    row, here = region_map.position(region), plan.region == region
    radius = float(region_map.radius[row])
    return {
        "region": region,
        "action": "untouched",
        "update": int((plan.action[here] == Action.UPDATE).sum()),
        "expand": int((plan.action[here] == Action.EXPAND).sum()),
        "add": 0,
        "centre_shift": 0.0,
        "radius_before": radius,
        "radius_after": radius,
        "count_after": int(region_map.count[row]),
        "starts_from": region,
    }
