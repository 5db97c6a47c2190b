"""From decisions to an edit plan, and from a plan to the next region map: pure functions.

Legend: n new windows, m pending windows of the Add buffer, d dimensions. Angles in radians.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Floats, Ints
from raie.engine.config import GateConfig, RegionConfig
from raie.engine.data.windows import Windows
from raie.engine.edit.plan import PENDING, EditPlan, Operation
from raie.engine.errors import InputError
from raie.engine.regions.buffer import AddBuffer
from raie.engine.regions.gate import Action, GateDecisions, gate_from, gate_parameters
from raie.engine.regions.movement import Neighbours, RegionShape, move_region
from raie.engine.regions.new_regions import NewRegion, propose_regions
from raie.engine.regions.region_map import RegionMap, angles

__all__ = [
    "apply_plan",
    "make_plan",
    "next_buffer",
    "without",
]

_ERRORS = 2.0  # standard errors of a share: a region as it was at setup expands by mistake in one edit of forty


@dataclass(frozen=True, eq=False)
class _Pool:
    """Every window of the edit, pending ones first: vectors [m + n, d], action and region so far, which are or were for
    Add, and which count when regions are chosen and moved."""

    vectors: Floats
    action: npt.NDArray[np.int8]
    region: Ints
    adding: npt.NDArray[np.bool_]
    counted: npt.NDArray[np.bool_]


def make_plan(
    region_map: RegionMap,
    decisions: GateDecisions,
    vectors: Floats,
    windows: Windows,
    *,
    space: str,
    buffer: AddBuffer,
    gate: GateConfig,
    regions: RegionConfig,
    seed: int,
    parent: str,
    next_region_id: int,
    only: Collection[int] | None = None,
    carried: npt.NDArray[np.bool_] | None = None,
) -> EditPlan:
    """Turn the gate's decisions on the new windows into a plan; pure, so equal arguments give an equal digest.

    A region is touched when at least gate.min_windows windows reach it and `only`, if given, names it; `only` is how a
    caller leaves regions alone that still predict well (see `drift`). Pending windows form new regions, whose ids
    start at next_region_id, once the buffer holds gate.buffer of them.

    Args:
        region_map: of the snapshot.
        decisions: of the gate, n of them.
        vectors: float32 [n, d], routing vectors of norm 1.
        windows: n new ones.
        space: digest of the routing space.
        buffer: the Add buffer.
        gate: options of the gate.
        regions: options of the regions.
        seed: of everything random in it.
        parent: id of the snapshot that the edit is made from.
        next_region_id: id of the first added region; ids are never used twice.
        only: region ids that may be touched; None for all.
        carried: bool [n], windows of interactions that the last edit has decided on already, and that only train; None
            for none. They touch and move no region, so an edit leaves alone what its own rows do.

    Returns:
        The plan.

    Raises:
        WrongBackbone: for vectors or a buffer of another routing space.
        InputError: for arrays of different lengths or a region id that was used before.

    Source: arXiv 2603.00638, equations 5, 6 and 8.
    """
    region_map.require_space(space)
    region_map.require_space(buffer.space)
    _check(region_map, decisions, vectors, windows, next_region_id)
    pool = _pooled(buffer, decisions, vectors, carried)
    pool, added = _with_added(region_map, pool, gate, regions, seed, next_region_id)
    touched = _touched(region_map, pool.region[pool.counted], gate.min_windows, only)
    pool = _with_fringe(region_map, pool, touched)
    operations = _moved(region_map, touched, pool, gate, regions)
    operations += [_added(new, next_region_id + number) for number, new in enumerate(added)]
    policy, m = gate_from(gate), len(buffer)
    return EditPlan(
        parent=parent,
        seed=seed,
        space=space,
        region_map=region_map.digest,
        windows=windows.digest,
        buffer=buffer.digest,
        gate=policy.name,
        parameters={
            "thresholds": gate_parameters(policy),
            "gate": dataclasses.asdict(gate),
            "regions": dataclasses.asdict(regions),
            "only": None if only is None else sorted(int(region) for region in only),
        },
        operations=tuple(operations),
        decided_action=decisions.action,
        action=pool.action[m:],
        region=pool.region[m:],
        buffer_action=pool.action[:m],
        buffer_region=pool.region[:m],
    )


def apply_plan(region_map: RegionMap, plan: EditPlan) -> RegionMap:
    """The map after the plan; regions without an operation keep their state byte for byte.

    Args:
        region_map: of the snapshot.
        plan: of the edit.

    Returns:
        The next map.

    Raises:
        InputError: when the plan was made from another map.
    """
    if region_map.digest != plan.region_map:
        raise InputError(
            f"expected the region map {plan.region_map[:12]} that the plan was made from, "
            f"found {region_map.digest[:12]}; plan again on the current snapshot"
        )
    kept = ~np.isin(region_map.ids, plan.touched)
    ids = np.concatenate([region_map.ids[kept], np.array(plan.touched, np.int32)])
    order = np.argsort(ids)

    def after(old: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        new = np.array([getattr(o, name) for o in plan.operations], old.dtype).reshape(-1, *old.shape[1:])
        return np.concatenate([old[kept], new])[order]

    return RegionMap(
        ids=ids[order],
        centres=after(region_map.centres, "centre"),
        radius=after(region_map.radius, "radius"),
        max_radius=after(region_map.max_radius, "max_radius"),
        concentration=after(region_map.concentration, "concentration"),
        count=after(region_map.count, "count"),
        space=region_map.space,
    )


def next_buffer(plan: EditPlan, buffer: AddBuffer, windows: Windows, vectors: Floats) -> AddBuffer:
    """The Add buffer after the plan: what stays pending, then what becomes pending.

    Args:
        plan: of the edit.
        buffer: the Add buffer.
        windows: n of them.
        vectors: float32 [n, d], routing vectors of norm 1.

    Returns:
        The next buffer.

    Raises:
        InputError: when the buffer or the windows are not those the plan was made from.
    """
    if (buffer.digest, windows.digest) != (plan.buffer, plan.windows):
        raise InputError(
            "expected the Add buffer and the windows the plan was made from, found others; plan again"
        )
    new = AddBuffer(windows, vectors, plan.space).take(plan.region == PENDING)
    return buffer.take(plan.buffer_region == PENDING).extended(new)


def without(plan: EditPlan, region_ids: Collection[int]) -> EditPlan:
    """The plan without the operations on these regions, for instance those that held-out windows did not confirm.

    The windows of an addition go back to the Add buffer. Another region then stays as it was, and its new windows are
    left out; of its windows those that were pending stay so.

    Args:
        plan: of the edit.
        region_ids: ids of touched regions.

    Returns:
        The plan.

    Raises:
        InputError: for a region that the plan does not touch.
    """
    for region in region_ids:
        plan.operation(region)
    dropped = np.array(sorted(region_ids), np.int32)
    decided_add = plan.decided_action == Action.ADD
    back, buffer_back = np.isin(plan.region, dropped) & decided_add, np.isin(plan.buffer_region, dropped)
    return dataclasses.replace(
        plan,
        operations=tuple(o for o in plan.operations if o.region not in set(region_ids)),
        action=np.where(back, np.int8(Action.ADD), plan.action),
        region=np.where(back, np.int32(PENDING), plan.region),
        buffer_action=np.where(buffer_back, np.int8(Action.ADD), plan.buffer_action),
        buffer_region=np.where(buffer_back, np.int32(PENDING), plan.buffer_region),
    )


def _check(
    region_map: RegionMap, decisions: GateDecisions, vectors: Floats, windows: Windows, next_region_id: int
) -> None:
    if not len(decisions) == len(vectors) == len(windows):
        raise InputError(
            f"expected one decision and one vector per window, found {len(decisions)} decisions, "
            f"{len(vectors)} vectors and {len(windows)} windows"
        )
    if next_region_id <= region_map.ids.max():
        raise InputError(f"expected a next region id above {region_map.ids.max()}, found {next_region_id}")


def _pooled(
    buffer: AddBuffer, decisions: GateDecisions, vectors: Floats, carried: npt.NDArray[np.bool_] | None
) -> _Pool:
    m = len(buffer)
    counted = np.ones(m + len(vectors), bool)
    if carried is not None:
        counted[m:] = ~carried
    action = np.concatenate([np.full(m, Action.ADD, np.int8), decisions.action])
    region = np.concatenate([np.full(m, PENDING, np.int32), decisions.region])
    adding = action == Action.ADD
    # What the last edit left pending of these interactions was not kept: it waits in this form.
    return _Pool(np.concatenate([buffer.vectors, vectors]), action, region, adding, counted | adding)


def _with_added(
    region_map: RegionMap, pool: _Pool, gate: GateConfig, regions: RegionConfig, seed: int, next_region_id: int
) -> tuple[_Pool, tuple[NewRegion, ...]]:
    """The pool with the windows of new regions and of the fringe of old ones assigned, once enough are pending."""
    pending = np.flatnonzero(pool.adding)
    if len(pending) < gate.buffer:
        return pool, ()
    added, fringe = propose_regions(
        region_map,
        pool.vectors[pending],
        regions,
        min_region=gate.min_region,
        max_added=gate.max_added,
        seed=seed,
    )
    region = pool.region.copy()
    region[pending] = fringe
    for number, new in enumerate(added):
        region[pending[new.rows]] = next_region_id + number
    return dataclasses.replace(pool, region=region), added


def _with_fringe(region_map: RegionMap, pool: _Pool, touched: list[int]) -> _Pool:
    """Windows for Add that an existing region takes are its Expand; those of a region left alone stay pending."""
    taken = pool.adding & np.isin(pool.region, region_map.ids)
    refused = taken & ~np.isin(pool.region, touched)
    return dataclasses.replace(
        pool,
        region=np.where(refused, np.int32(PENDING), pool.region),
        action=np.where(taken & ~refused, np.int8(Action.EXPAND), pool.action),
    )


def _touched(region_map: RegionMap, region: Ints, min_windows: int, only: Collection[int] | None) -> list[int]:
    allowed = region_map.ids.tolist() if only is None else sorted(set(only) & set(region_map.ids.tolist()))
    return [candidate for candidate in allowed if int((region == candidate).sum()) >= min_windows]


def _moved(
    region_map: RegionMap, touched: list[int], pool: _Pool, gate: GateConfig, config: RegionConfig
) -> list[Operation]:
    """Operations on existing regions, by id; a later one keeps its distance from where the earlier ones went."""
    centres, radius = region_map.centres.copy(), region_map.radius.copy()
    apart = angles(centres @ centres.T) > radius[:, None] + radius  # [k, k]
    operations = []
    for region in touched:
        row, rows = region_map.position(region), np.flatnonzero((pool.region == region) & pool.counted)
        others = np.arange(len(centres)) != row
        expanding = pool.action[rows] == Action.EXPAND
        add = int(pool.adding[rows].sum())
        expand = int(expanding.sum()) - add
        grow = _clearly_more(expand + add, len(rows), gate.expand_share, int(region_map.count[row]))
        before = RegionShape(
            region_map.centres[row],
            float(region_map.radius[row]),
            float(region_map.max_radius[row]),
            float(region_map.concentration[row]),
            int(region_map.count[row]),
        )
        after = move_region(
            before,
            pool.vectors[rows],
            expanding,
            Neighbours(centres[others], radius[others], apart[row, others]),
            grow=grow,
            movement=gate.movement,
            prior_strength=gate.prior_strength,
            # The gate kept windows beyond the max_quantile out of the region; among the rest q is this quantile.
            level=config.quantile / config.max_quantile,
        )
        centres[row], radius[row] = after.centre, after.radius
        kind = Action.EXPAND if grow else Action.UPDATE
        operations.append(_operation(region, kind, (len(rows) - expand - add, expand, add), after, before, region))
    return operations


def _clearly_more(expanding: int, windows: int, share: float, members: int) -> bool:
    """Whether `found` of the windows are more than `share` of them, by more than chance makes of it.

    The radius is itself a sample of the region's `members`, so chance works on both sides.
    """
    error = math.sqrt(share * (1 - share) * (1 / windows + 1 / max(members, 1)))
    return expanding / windows > share + _ERRORS * error


def _added(new: NewRegion, region: int) -> Operation:
    shape = RegionShape(new.centre, new.radius, new.max_radius, new.concentration, len(new.rows))
    return _operation(region, Action.ADD, (0, 0, len(new.rows)), shape, None, new.nearest)


def _operation(
    region: int,
    action: Action,
    windows: tuple[int, int, int],
    after: RegionShape,
    before: RegionShape | None,
    nearest: int,
) -> Operation:
    """Numbers are rounded to what the map stores, so that the plan says exactly what the map will hold."""
    shift = 0.0 if before is None else float(angles(np.asarray(before.centre @ after.centre)))
    return Operation(
        region,
        action,
        *windows,
        centre=tuple(after.centre.tolist()),
        radius=float(np.float32(after.radius)),
        max_radius=float(np.float32(after.max_radius)),
        concentration=float(np.float32(after.concentration)),
        count=after.count,
        centre_shift=shift,
        radius_before=None if before is None else before.radius,
        nearest=nearest,
    )
