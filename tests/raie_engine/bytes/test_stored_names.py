"""Names in stored bytes and JSON are those of every earlier version, whatever the code calls them."""

from __future__ import annotations

import pytest

from raie.engine.bytes.stored_names import STORED, from_stored, to_stored

EARLIER = {
    "adapter": {"touched": 1, "a": 2, "b": 3, "visible": 4, "bias": 5, "backbone": 6},
    "adapter parameters": {"item.a": 1, "item.b": 2, "item.bias": 3},
    "cost": {"seconds": 1, "passes": 2, "parameters": 3},
    "drift report": {"before": 1, "now": 2, "nowhere": 3, "false_alarms": 4},
    "impact report": {"waiting": 1, "passes": 2, "late": 3},
    "method result": {"ahead": 1, "matrix": 2},
    "prepared edit": {"late": 1, "judged_after": 2},
    "region facts": {"passes": 1},
    "slice": {"slice": 1, "judging": 2},
    "step result": {"touched": 1, "passes": 2, "parameters": 3, "seconds": 4},
    "strategy state": {"what followed what": 1, "counts": 2},
    "trained region": {"region": 1, "chosen": 2, "passes": 3},
}


@pytest.mark.parametrize("kind", STORED)
def test_what_an_earlier_version_stored_reads_back_and_is_stored_the_same(kind: str) -> None:
    values = from_stored(kind, EARLIER[kind])
    assert set(STORED[kind]) <= set(values)
    assert to_stored(kind, values) == EARLIER[kind]
    assert list(values.values()) == list(EARLIER[kind].values())
