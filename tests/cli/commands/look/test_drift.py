"""`raie drift` and edits of drifted regions alone, on a log in which exactly one topic in five drifts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from raie.engine.data.synthetic import Drift, drifting_log, one_topic_in_five, write_csv
from raie.engine.data.synthetic_truth import Truth
from raie.engine.model import ModelView
from raie.engine.regions.gate import Action, GateDecisions, GatePolicy, gate_from
from raie.engine.regions.region_map import RegionMap
from raie.logs.log_reading import read_later_log
from raie.workspace_file import find
from tests.cli.conftest import Raie
from tests.cli.trained import command, state

ENGINE = """
[engine.backbone]
dim = 16
layers = 1
heads = 2
batch = 64
learning_rate = 0.005
epochs = 25
patience = 4

[engine.regions]
regions = 5

[engine.gate]
buffer = 1000

[engine.edit]
shared_epochs = 1
epochs = 1
"""


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A workspace that was set up on the log, and the truth about the log."""
    folder = tmp_path_factory.mktemp("drifting")
    made = drifting_log(replace(one_topic_in_five(), users=600))
    write_csv(made, folder / "log.csv")
    command(folder, "init")
    with (folder / "raie.toml").open("a", encoding="utf-8") as file:
        file.write(ENGINE)
    command(folder, "setup", str(folder / "log.csv"), "--until", made.truth.cuts["setup"])
    return folder, made.truth


def test_where_nothing_drifts_nothing_is_edited(truth: tuple[Path, Truth], raie: Raie, tmp_path: Path) -> None:
    folder, known = truth
    calm = drifting_log(replace(one_topic_in_five(), users=600, first=Drift(stable=(0, 1, 2, 3, 4))))
    write_csv(calm, tmp_path / "calm.csv")  # its setup slice is the same
    arguments = ("apply", str(tmp_path / "calm.csv"), "--until", known.cuts["edit_1"], "--only-drifted")
    before = state(folder)
    ran = raie("--workspace", str(folder), "edit", *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert "no region has drifted" in ran.out
    assert raie("--workspace", str(folder), "edit", *arguments, "--json").json == {"snapshot": None, "drifted": []}
    shown = raie("--workspace", str(folder), "edit", *arguments, "--dry-run").out
    assert "no region has drifted: nothing to edit, and `raie edit apply` would change nothing" in shown
    assert state(folder) == before


@dataclass(frozen=True)
class _Aloof:
    """A gate for which the windows of one region lie too far out."""

    gate: GatePolicy
    region: int
    name: ClassVar[str] = "radius"

    def decide(self, region_map: RegionMap, vectors: np.ndarray) -> GateDecisions:
        seen = self.gate.decide(region_map, vectors)
        here = seen.region == self.region
        action = np.where(here, np.int8(Action.ADD), seen.action)
        return replace(seen, action=action, region=np.where(here, np.int32(-1), seen.region))


def test_where_the_gate_adds_the_windows_of_a_drifted_region_nothing_is_edited_and_the_drift_is_told(
    truth: tuple[Path, Truth], raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, known = truth
    log, until, here = str(folder / "log.csv"), known.cuts["edit_1"], ("--workspace", str(folder))
    before, arguments = state(folder), (*here, "edit", "apply", log, "--until", until, "--only-drifted")
    (drifting,) = raie(*here, "drift", log, "--until", until, "--json").json["drifted"]
    monkeypatch.setattr("raie.engine.edit.pipeline.gate_from", lambda gate: _Aloof(gate_from(gate), drifting))
    assert raie(*arguments, "--json").json == {"snapshot": None, "drifted": [drifting]}
    why = f"drifted regions: {drifting}; but of each, fewer than gate.min_windows new windows are Update or Expand"
    assert raie(*arguments).out == f"{why}: nothing to edit, and nothing was changed\n"
    shown = raie(*arguments, "--dry-run").out
    assert f"{why}: nothing to edit, and `raie edit apply` would change nothing" in shown
    assert state(folder) == before


def test_a_region_that_too_few_reached_shows_dashes_for_what_cannot_be_told(
    truth: tuple[Path, Truth], raie: Raie
) -> None:
    folder, _ = truth
    log, registry = folder / "log.csv", find(folder).registry()
    view = ModelView(registry.resolve("recsys", "edit:1").content, registry.get)
    times = read_later_log(view, log).timestamp
    times = times[times > view.watermark.timestamp].tolist()
    command = ("--workspace", str(folder), "drift", str(log), "--ref", "edit:1", "--until", str(times[0]))
    rows = raie(*command, "--json").json["regions"]
    assert [row["region"] for row in rows] == list(range(5))
    gone = [row for row in rows if not row["windows"]]
    assert len(gone) >= 5 - times.count(times[0])
    assert {(row["share_now"], row["loss"]["now"], row["loss"]["errors"], row["edit"]) for row in gone} == {
        (0.0, None, None, False)
    }
    shown = raie(*command).out
    assert "nan" not in shown
    assert "inf" not in shown
    assert len(re.findall(r"→ 0\.0% +\d\.\d+ → - +- +- +leave", shown)) == len(gone)
    assert "+0.0" not in shown


def test_exactly_the_region_that_drifts_is_edited(truth: tuple[Path, Truth], raie: Raie) -> None:
    folder, known = truth
    log, until, here = str(folder / "log.csv"), known.cuts["edit_1"], ("--workspace", str(folder))
    registry = find(folder).registry()
    before = registry.head("recsys")
    assert before is not None
    (drifting,) = _regions_of_topic(ModelView(before.content, registry.get), known, 0)

    report = raie(*here, "drift", log, "--until", until, "--json").json
    assert report["drifted"] == [drifting]
    assert {row["region"]: row["edit"] for row in report["regions"]} == {r: r == drifting for r in range(5)}
    assert report["false_alarms"] < 0.02
    shown = raie(*here, "drift", log, "--until", until).out
    for row in report["regions"]:
        assert f"{row['loss']['errors']:+.2f}  " in shown, "2.98 is no 3.0, at which a region has drifted"
    assert shown.count("leave") == 4
    assert shown.count("edit") == 1

    plan = raie(*here, "edit", "plan", log, "--until", until, "--only-drifted", "--json").json
    touched = [row["region"] for row in plan["regions"] if row["action"] != "untouched"]
    assert plan["drifted"] == touched == [drifting]
    text = raie(*here, "edit", "apply", log, "--until", until, "--only-drifted", "--dry-run").out
    assert f"drifted regions: {drifting};" in text

    ran = raie(*here, "edit", "apply", log, "--until", until, "--only-drifted", "--workers", "1")
    assert ran.code == 0, ran.err
    after = registry.head("recsys")
    assert after is not None
    changed = [r for r in range(5) if before.content.regions[r] != after.content.regions[r]]
    assert changed == [drifting]


def _regions_of_topic(view: ModelView, truth: Truth, topic: int) -> set[int]:
    """Regions most of whose setup windows are of users of this topic."""
    seen = set()
    for region in view.content.regions:
        windows = view.replay(region)
        if (truth.topic[truth.rows(windows, view.catalogue)] == topic).mean() > 0.5:
            seen.add(region)
    return seen
