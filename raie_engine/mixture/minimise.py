"""The minimum of a smooth function of a few numbers.

torch's optimisers are not used: the first of them imports a compiler, which takes seconds.
Source: L-BFGS (Liu and Nocedal 1989), with a line search for the weak Wolfe conditions (Lewis and Overton 2013).
Legend: p numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

__all__ = ["minimised"]

Function = Callable[[Tensor], tuple[float, Tensor]]
"""From numbers [p] to a value and its slope [p]."""

LEAST_GAIN, LEAST_SLOPE = 1e-9, 1e-7
"""A step that gains less, or a slope that is flatter everywhere, ends the search."""
DECREASE, CURVATURE = 1e-4, 0.9
MOST_TRIALS = 25


def minimised(function: Function, start: Tensor, most: int) -> Tensor:
    """The numbers at which a function is least, as far as so many steps reach.

    Args:
        function: of numbers; bounded below.
        start: float64 [p].
        most: steps.

    Returns:
        float64 [p]; no worse than `start`.
    """
    numbers, (value, slope) = start, function(start)
    steps: list[tuple[Tensor, Tensor]] = []
    for _ in range(most):
        if float(slope.abs().max()) <= LEAST_SLOPE:
            break
        direction = -_curved(slope, steps)
        step, (lower, new_slope) = _step(function, numbers, value, slope, direction)
        moved, turned = step * direction, new_slope - slope
        if float(moved @ turned) > 0:
            steps.append((moved, turned))
        gain, numbers, value, slope = value - lower, numbers + moved, lower, new_slope
        if gain < LEAST_GAIN:
            break
    return numbers


def _curved(slope: Tensor, steps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The slope [p] times the inverse of the curvature that the steps so far have shown."""
    if not steps:
        return slope / max(1.0, float(slope.abs().sum()))
    shares = []
    for moved, turned in reversed(steps):
        shares.append(moved @ slope / (moved @ turned))
        slope = slope - shares[-1] * turned
    moved, turned = steps[-1]
    slope = slope * (moved @ turned) / (turned @ turned)
    for (moved, turned), share in zip(steps, reversed(shares), strict=True):
        slope = slope + (share - turned @ slope / (moved @ turned)) * moved
    return slope


def _step(
    function: Function, numbers: Tensor, value: float, slope: Tensor, direction: Tensor
) -> tuple[float, tuple[float, Tensor]]:
    """How far to go along a direction, and what is found there: 0 where no step goes down."""
    down, low, high, step = float(slope @ direction), 0.0, float("inf"), 1.0
    best = 0.0, (value, slope)
    for _ in range(MOST_TRIALS):
        found = function(numbers + step * direction)
        if not found[0] <= value + DECREASE * step * down:
            high = step
        else:
            best = step, found
            if float(found[1] @ direction) >= CURVATURE * down:
                break
            low = step
        step = (low + high) / 2 if high < float("inf") else 2 * low
    return best
