"""What a plan for an edit would do, as plain numbers: region by region, without arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raie.engine.data.interactions import Interactions, between
from raie.engine.edit.drift_report import DriftReport
from raie.engine.edit.pipeline import PreparedEdit, pending_after
from raie.engine.edit.plan import region_summary
from raie.engine.model import ModelView
from raie.engine.regions.gate import Action

__all__ = ["PlanSummary", "RegionPlan", "summarize"]

_UNTOUCHED = "untouched"


@dataclass(frozen=True)
class RegionPlan:
    """What a plan would do to one region.

    Attributes:
        action: UPDATE, EXPAND or ADD of RegionAction, or "untouched".
        update, expand, add: Windows by the gate's decision; of an untouched region those that the plan leaves out.
        centre_shift: Radians.
        radius_before, radius_after: Radians; None before a region is added.
        starts_from: The region whose adapter an added region begins with.
    """

    region: int
    action: str
    update: int
    expand: int
    add: int
    centre_shift: float
    radius_before: float | None
    radius_after: float
    count_after: int
    starts_from: int

    @property
    def touched(self) -> bool:
        """Whether the region gets another adapter."""
        return self.action != _UNTOUCHED


@dataclass(frozen=True)
class PlanSummary:
    """What a plan would do.

    Attributes:
        plan: The plan's digest.
        windows: New windows; `held_out` of them are kept for validation.
        decided: Windows by the gate's decision: update, expand, add.
        rows: Rows of the log after the base's watermark; `late` came too late to be read.
        pending_before, pending_after: Windows in the Add buffer.
        left_out: Windows that no touched region takes.
        drifted: The regions that the plan is confined to; None for all.
        after, until: Epoch seconds: the watermark before and after the edit.
    """

    plan: str
    gate: str
    seed: int
    windows: int
    held_out: int
    decided: Mapping[str, int]
    new_items: int
    rows: int
    late: int
    pending_before: int
    pending_after: int
    left_out: int
    drifted: tuple[int, ...] | None
    known: Mapping[str, Any]
    after: int
    until: int
    regions: tuple[RegionPlan, ...]


def summarize(
    view: ModelView,
    interactions: Interactions,
    prepared: PreparedEdit,
    drift: DriftReport | None,
    known: Mapping[str, Any],
) -> PlanSummary:
    """The summary of what was prepared on a snapshot for the new rows of a log."""
    plan, after, until = prepared.plan, view.watermark.timestamp, prepared.watermark.timestamp
    return PlanSummary(
        plan=plan.digest,
        gate=plan.gate,
        seed=plan.seed,
        windows=len(prepared.windows),
        held_out=int((prepared.windows.timestamp > prepared.train_until).sum()),
        decided={action.name.lower(): int((plan.decided_action == action).sum()) for action in Action},
        new_items=len(prepared.item_rows),
        rows=len(between(interactions, after, until)),
        late=prepared.late,
        pending_before=len(view.buffer),
        pending_after=pending_after(view, prepared),
        left_out=len(plan.left),
        drifted=None if drift is None else drift.drifted,
        known=known,
        after=after,
        until=until,
        regions=tuple(RegionPlan(**row) for row in region_summary(view.region_map, plan)),
    )
