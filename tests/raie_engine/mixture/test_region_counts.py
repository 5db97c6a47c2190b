"""Counts of regions: they add up over edits, fade with the log, and say what the log says where they are few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.config import REGION_PARTS
from raie.engine.data.windows import last_windows
from raie.engine.errors import DamagedArtifact
from raie.engine.mixture.log_counts import count_rows
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.region_counts import (
    NEAR,
    RegionCounts,
    RegionRows,
    count_regions,
    pack_regions,
    region_counts_summed,
    unpack_regions,
)
from raie.engine.mixture.region_parts import NEAR_ROWS, TREND_ROWS, RegionParts
from tests.raie_engine.regions.test_item_space import ITEMS, tasteful_log

HALF_LIFE = 100.0


def rows_of(n: int, seed: int, regions: int = 3, items: int = 12) -> RegionRows:
    """n rows, the last one the newest; some have fewer items before them."""
    generator = np.random.default_rng(seed)
    before = generator.integers(1, items + 1, (n, NEAR.context)).astype(np.int32)
    before[np.arange(NEAR.context) >= generator.integers(1, NEAR.context + 1, n)[:, None]] = 0
    region, item = generator.integers(0, regions, n), generator.integers(1, items + 1, n)
    return RegionRows(region.astype(np.int32), item.astype(np.int32), before, np.arange(n)[::-1])


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 60), cut=st.integers(1, 59), seed=st.integers(0, 99))
def test_counts_of_two_parts_of_a_log_add_up_to_those_of_both(n: int, cut: int, seed: int) -> None:
    rows, cut = rows_of(n, seed), min(cut, n - 1)
    older = replace(rows.of(np.arange(cut)), age=np.arange(cut)[::-1])
    first, second = count_regions(older, HALF_LIFE), count_regions(rows.of(np.arange(cut, n)), HALF_LIFE)
    for region, once in count_regions(rows, HALF_LIFE).items():
        earlier = region_counts_summed(None, first.get(region), cut, HALF_LIFE)
        both = region_counts_summed(earlier, second.get(region), n, HALF_LIFE)
        if region in second:
            np.testing.assert_allclose(both.popularity, once.popularity, rtol=1e-9)
        for name in ("item", "first", "following"):
            assert np.array_equal(getattr(both, name), getattr(once, name))
        np.testing.assert_allclose(both.pairs, once.pairs, rtol=1e-9)


def test_a_region_without_new_rows_keeps_its_bytes() -> None:
    (older, *_) = count_regions(rows_of(40, 1), HALF_LIFE).values()
    assert region_counts_summed(older, None, 10_000, HALF_LIFE) is older


def test_counts_read_back_as_they_were_written_and_damaged_ones_are_refused() -> None:
    counts = count_regions(rows_of(50, 2), HALF_LIFE)
    packed = pack_regions(counts)
    assert pack_regions(unpack_regions(packed)) == packed
    assert pack_regions(unpack_regions(pack_regions({}))) == pack_regions({})
    first = counts[0]
    for damaged in (
        replace(first, popularity=-first.popularity),
        replace(first, item=first.item[::-1].copy()),
        replace(first, first=first.first[::-1].copy()),
        replace(first, half_life=0.0),
        replace(first, rows=-1),
    ):
        with pytest.raises(DamagedArtifact, match="ascending order"):
            RegionCounts.from_bytes(damaged.to_bytes())


LOG = LogParts(count_rows(tasteful_log(), None, ITEMS), ITEMS + 1)
WINDOWS = last_windows([[5, 9, 12], [150], [ITEMS + 7, 5]], 8)


def test_a_region_without_rows_says_what_the_log_says() -> None:
    parts = RegionParts(RegionCounts.empty(0, HALF_LIFE), LOG)
    popularity, short = (parts.lifts(WINDOWS, REGION_PARTS)[name] for name in REGION_PARTS)
    torch.testing.assert_close(popularity, LOG.trend)
    torch.testing.assert_close(short, LOG.lifts(WINDOWS, ("short",))["short"])
    assert set(parts.lifts(WINDOWS, ("wide", "trend"))) == {"wide", "trend"}


def test_lifts_of_a_region_are_its_rows_and_so_many_of_the_log() -> None:
    item = np.array([9, 9, 12], np.int32)
    before = np.array([[5, 0, 0, 0], [5, 12, 0, 0], [9, 5, 0, 0]], np.int32)
    rows = RegionRows(np.zeros(3, np.int32), item, before, np.array([800, 400, 0]))
    parts = RegionParts(count_regions(rows, 100.0)[0], LOG)  # popularity halves in 8 x 100 rows
    lifts, v = parts.lifts(WINDOWS, REGION_PARTS), ITEMS + 1
    expected = LOG.trend[0].double() * TREND_ROWS
    expected[9] += v * (0.5 + 0.5**0.5)
    expected[12] += v
    torch.testing.assert_close(
        lifts["region_popularity"][0].double(), expected / (TREND_ROWS + 0.5 + 0.5**0.5 + 1), rtol=1e-5, atol=1e-6
    )
    # The first window ends with 12, and 9 and 5 before it.
    said = torch.zeros(v, dtype=torch.double)
    said[9] += 0.6 * 1  # after 12, two back
    said[12] += 0.6 * 1  # after 9
    said[9] += 0.6**2 * 2  # after 5, twice
    said[12] += 0.6**2 * 0.6  # after 5, two back
    log = LOG.lifts(WINDOWS, ("short",))["short"][0].double()
    joined = (v * said + NEAR_ROWS * log) / (said.sum() + NEAR_ROWS)
    torch.testing.assert_close(lifts["region_short"][0].double(), joined, rtol=1e-5, atol=1e-6)


def test_a_window_gets_the_bits_it_gets_among_others() -> None:
    parts = RegionParts(count_regions(rows_of(400, 3, 1), HALF_LIFE)[0], LOG)
    together = parts.lifts(WINDOWS, REGION_PARTS)["region_short"]
    for row in range(len(WINDOWS)):
        alone = parts.lifts(WINDOWS.take(slice(row, row + 1)), REGION_PARTS)["region_short"]
        assert torch.equal(alone[0], together[row])
