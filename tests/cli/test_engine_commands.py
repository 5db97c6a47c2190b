"""What plan, apply, evaluate, recommend, describe and setup show: the same as text and as JSON, and nothing else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from raie import evaluate
from raie.cli import main
from raie.engine.strategies import LearnedState, State, Strategy, TaskData
from raie.logs import describe
from tests.cli import trained
from tests.cli.conftest import Raie, Ran
from tests.cli.trained import FIRST, LOG, MODEL, SECOND, SETUP, refused

ROOT = Path(__file__).resolve().parents[2]
UNTIL = ("--until", FIRST)
APPLY = ("edit", "apply", LOG, *UNTIL, "--workers", "1")
METRICS = {"Recall@5", "Recall@10", "Recall@20", "NDCG@5", "NDCG@10", "NDCG@20"}
PLAN = {
    "base",
    "plan",
    "gate",
    "seed",
    "windows",
    "judged",
    "decided",
    "drifted",
    "new_items",
    "known",
    "late",
    "waiting_before",
    "waiting_after",
    "left_out",
    "rows",
    "after",
    "until",
    "idle",
    "regions",
    "estimated_seconds",
}
PLANNED_REGION = {
    "region",
    "action",
    "update",
    "expand",
    "add",
    "centre_shift",
    "radius_before",
    "radius_after",
    "count_after",
    "starts_from",
}
IMPACT = {
    "version",
    "gate",
    "retention",
    "adaptation",
    "adaptation_known",
    "known",
    "regions",
    "untouched",
    "untouched_identical",
    "rejected",
    "waiting",
    "late",
    "passes",
    "seconds",
    "mixture",
}


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a workspace, with its bytes."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_plan_changes_no_byte_of_the_workspace(raie: Raie, ready: Path) -> None:
    before = files(ready)
    assert raie("edit", "plan", LOG, *UNTIL).code == 0
    assert raie("edit", "apply", LOG, *UNTIL, "--dry-run").code == 0
    assert files(ready) == before


def without_time(text: str) -> str:
    """A plan without its estimate, which is measured anew each time."""
    assert re.search(r"takes about \d+ (s|min)$", text.strip())
    return re.sub(r"takes about .*", "", text)


def test_a_dry_run_is_the_plan(raie: Raie, ready: Path) -> None:
    planned, dry = raie("edit", "plan", LOG, *UNTIL), raie(*APPLY, "--dry-run")
    assert (planned.err, dry.err) == ("", "")
    assert without_time(planned.out) == without_time(dry.out)
    of_plan, of_dry = raie("edit", "plan", LOG, *UNTIL, "--json").json, raie(*APPLY, "--dry-run", "--json").json
    assert of_plan | {"estimated_seconds": 0} == of_dry | {"estimated_seconds": 0}


def test_a_plan_says_per_region_what_would_happen(raie: Raie, ready: Path) -> None:
    shown = raie("edit", "plan", LOG, *UNTIL, "--json").json
    assert set(shown) == PLAN
    assert all(set(region) == PLANNED_REGION for region in shown["regions"])
    assert shown["base"] == trained.head_of(ready)
    assert sum(shown["decided"].values()) == shown["windows"]
    for action in ("update", "expand"):
        assert sum(region[action] for region in shown["regions"]) == shown["decided"][action]
    text = raie("edit", "plan", LOG, *UNTIL).out
    assert shown["plan"][:12] in text
    assert f"{shown['windows']:,} new windows" in text
    for region in shown["regions"]:
        assert re.search(rf"^ +{region['region']}  {region['action']} ", text, re.MULTILINE)


def test_an_edit_does_what_its_plan_said(raie: Raie, ready: Path) -> None:
    planned = raie("edit", "plan", LOG, *UNTIL, "--json").json
    ran = raie(*APPLY, "--reason", "May", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert set(ran.json["report"]) == IMPACT
    assert "what scores are made of, fitted on " in raie("edit", "show", "2").out
    assert ran.json["parent"] == planned["base"]
    assert ran.json["report"]["gate"] == planned["decided"]
    shown = raie("edit", "show", "2", "--json").json
    actions = {operation["region"]: operation["action"] for operation in shown["operations"]}
    assert actions == {
        region["region"]: region["action"] for region in planned["regions"] if region["action"] != "untouched"
    }
    assert (shown["reason"], shown["who"] if "who" in shown else shown["actor"]) == ("May", "ada")
    assert trained.head_of(ready) == ran.json["id"]


def test_a_second_edit_takes_only_what_is_new(raie: Raie, edited: Path) -> None:
    before = trained.state(edited)
    for command in (("edit", "plan"), ("edit", "apply")):
        idle = raie(*command, LOG, *UNTIL)
        assert (idle.code, idle.out) == (0, "nothing new to edit\n")
        assert idle.err.splitlines()[-1].startswith("note: expected")
        refused(raie(*command, LOG, *UNTIL, "--fail-if-idle"), 3, ["after the watermark"])
    assert raie("edit", "apply", LOG, *UNTIL, "--json").json == {"snapshot": None, "drifted": None}
    assert raie("edit", "plan", LOG, *UNTIL, "--json").json == {"idle": True, "drifted": None}
    assert trained.state(edited) == before
    shown = raie("edit", "plan", LOG, "--until", SECOND, "--json").json
    whole = raie("edit", "plan", LOG, "--json").json
    assert 0 < shown["windows"] < whole["windows"]


def test_an_edit_that_no_region_has_windows_for_uses_no_row_up(raie: Raie, ready: Path) -> None:
    soon, before = ("--until", "2024-04-30T06:00:00Z"), trained.state(ready)
    planned = raie("edit", "plan", LOG, *soon, "--json").json
    assert (planned["idle"], planned["windows"] > 0) == (True, True)
    why = "fewer than gate.min_windows new windows reach each region: nothing to edit yet"
    assert raie("edit", "plan", LOG, *soon).out.endswith(f"{why}, and `raie edit apply` would change nothing\n")
    applied = raie("edit", "apply", LOG, *soon)
    assert (applied.code, applied.out) == (0, f"{why}, and nothing was changed\n")
    assert raie("edit", "apply", LOG, *soon, "--json").json == {"snapshot": None, "drifted": None}
    assert raie("edit", "apply", LOG, *soon, "--fail-if-idle").code == 3
    assert trained.state(ready) == before
    later = raie("edit", "plan", LOG, *UNTIL, "--json").json
    assert (later["after"], later["idle"]) == (SETUP, False), "their rows are still to come"
    assert later["rows"] > planned["rows"] > 0


def test_rows_of_the_future_are_refused_where_they_would_move_the_watermark(raie: Raie, ready: Path) -> None:
    with (ready / LOG).open("a", encoding="utf-8") as file:
        file.write("u00007,t0-core-00,99999999999\n")
    before = trained.state(ready)
    for command in (("edit", "plan", LOG), ("edit", "apply", LOG), ("edit", "plan", LOG, "--only-drifted")):
        refused(raie(*command), 3, ["found 1 after tomorrow", "5138-11-16T09:46:39Z", "--until"])
    refused(raie("--workspace", str(ready), "setup", LOG), 3, ["found 1 after tomorrow"])
    assert trained.state(ready) == before
    assert raie("edit", "plan", LOG, *UNTIL).code == 0


def test_options_that_the_set_up_fixed_are_told_where_raie_toml_has_others(raie: Raie, ready: Path) -> None:
    text = (ready / "raie.toml").read_text(encoding="utf-8")
    left_open = "\n[engine.windows]\nlength = 0\nstride = 0\n"
    (ready / "raie.toml").write_text(text.replace("epochs = 20", "epochs = 8") + left_open, encoding="utf-8")
    ran = raie("edit", "plan", LOG, *UNTIL, "--json")
    expected = "note: raie.toml has engine.edit.epochs = 8, but this model was set up with 20, which counts\n"
    assert (ran.code, ran.err) == (0, expected)
    (ready / "raie.toml").write_text(text.replace("epochs = 20", "epocs = 8"), encoding="utf-8")
    refused(raie("edit", "plan", LOG, *UNTIL), 2, ["edit.epocs"])


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("2024-01-05", ["--until 2024-01-05T00:00:00Z", "name a later time"]),
    ],
)
def test_where_nothing_is_new_the_reason_is_told_with_dates(
    raie: Raie, ready: Path, until: str, words: list[str]
) -> None:
    refused(
        raie("edit", "plan", LOG, "--until", until, "--fail-if-idle"), 3, [f"after the watermark {SETUP}", *words]
    )


def test_another_seed_is_another_plan_and_the_same_seed_the_same(raie: Raie, ready: Path) -> None:
    first, again, another = (
        raie("edit", "plan", LOG, *UNTIL, "--seed", seed, "--json").json["plan"] for seed in ("7", "7", "8")
    )
    assert first == again != another


def test_evaluate_measures_every_model_on_the_same_windows(raie: Raie, edited: Path) -> None:
    ran = raie("evaluate", LOG, "--against", "edit:1", "--json")
    assert (ran.code, ran.err) == (0, "")
    expected = {
        "snapshot",
        "new_windows",
        "setup_windows",
        "models",
        "change",
        "against",
        "comparison",
        "evaluation",
    }
    assert set(ran.json) == expected | {"known", "coverage", "cold"}
    covered = ran.json["coverage"]
    assert covered["evaluated"] == covered["interactions"] - covered["first"] == ran.json["new_windows"]
    assert covered["outside_windows"] == 0
    head, base = trained.head_of(edited)[:12], trained.opened(edited).resolve(MODEL, "edit:1").id[:12]
    assert list(ran.json["models"]) == ["never edited", head, base]
    assert all(set(part) == METRICS for model in ran.json["models"].values() for part in model.values())
    assert set(ran.json["change"]) == {"mean", "low", "high"}
    text = raie("evaluate", LOG, "--against", "edit:1").out
    for name, model in ran.json["models"].items():
        assert re.search(rf"^{name} .*{model['set-up']['Recall@10']:.4f}", text, re.MULTILINE)


def test_evaluate_trains_the_strategies_to_compare_with(raie: Raie, edited: Path) -> None:
    shown = raie("evaluate", LOG, "--ref", "edit:2", "--strategies", "--json").json
    assert {"global LoRA", "global LoRA + replay"} < set(shown["models"])


def test_the_strategies_to_compare_with_learn_from_every_edit_since_the_set_up(
    raie: Raie, edited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert raie("edit", "apply", LOG, "--until", SECOND, "--workers", "1").code == 0
    edits_seen: list[int] = []
    peer = evaluate.STRATEGIES["global-lora"]

    def counted(state: State, task_data: TaskData) -> LearnedState:
        edits_seen.append(task_data.number)
        assert bool(state) == (task_data.number > 1), "each continues from what it learned in the edit before"
        return peer.learn(state, task_data)

    monkeypatch.setitem(
        cast(dict[str, Strategy], evaluate.STRATEGIES), "global-lora", replace(peer, learn=counted)
    )
    assert raie("evaluate", LOG, "--ref", "edit:3", "--strategies", "--json").code == 0
    assert edits_seen == [1, 2]
    assert raie("rollback", "3", "--yes").code == 0
    refused(raie("evaluate", LOG, "--strategies"), 2, ["--ref", "edit 4, a rollback"])


def test_recommend_takes_repeats_as_learned_unless_told(raie: Raie, ready: Path) -> None:
    items = "t0-core-00,t0-core-01"
    (shown,) = raie("recommend", "--items", items, "--top", "5", "--json").json["recommendations"]
    assert set(shown) == {"user", "region", "ignored", "context", "items"}
    assert (shown["user"], shown["context"]) == (None, items.split(","))
    assert len(shown["items"]) == 5
    scores = [item["score"] for item in shown["items"]]
    assert scores == sorted(scores, reverse=True)
    learned, without, indifferent = (
        raie("recommend", "--items", items, "--top", "999", *flags, "--json").json["recommendations"][0]["items"]
        for flags in ([], ["--exclude-seen"], ["--keep-seen"])
    )
    every = {item["item"] for item in learned}
    assert every == {item["item"] for item in indifferent}
    assert every - {item["item"] for item in without} == set(items.split(","))
    assert [item for item in learned if item["item"] not in items.split(",")] == without
    assert learned != indifferent, "a term for what was seen is there, or is not"


def test_recommend_takes_users_of_a_log_in_the_order_they_are_named(raie: Raie, ready: Path) -> None:
    ran = raie("recommend", LOG, "--user", "u00007", "--user", "u00003", "--json")
    assert [row["user"] for row in ran.json["recommendations"]] == ["u00007", "u00003"]
    rows = [line.split(",") for line in (ready / LOG).read_text(encoding="utf-8").splitlines()]
    last = [item for user, item, _ in rows if user == "u00007"][-20:]
    context = ran.json["recommendations"][0]["context"]
    assert context == [item for item in last if item in context], "in their order, without what no setup has seen"


def test_describe_and_setup_are_json_too(raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = raie("data", "describe", LOG, "--cut", SETUP, "--json")
    assert (described.code, described.err) == (0, "")
    assert {"rows", "users", "items", "digest", "history", "slices", "warnings", "first_at"} <= set(described.json)
    monkeypatch.setenv("RAIE_MODEL", "another")
    ran = raie("setup", LOG, "--until", SETUP, "--json")
    assert (ran.code, ran.err) == (0, "")
    report = ran.json["report"]
    expected = {"interactions", "windows", "length", "backbone", "regions", "holdout", "mixture", "known"}
    assert set(report) == expected
    mixture = report["mixture"]
    assert set(mixture) == {"windows", "NDCG@10", "chosen", "parts", "repeats", "again"}
    assert all(set(part) == {"power", "scale", "worth", "alone"} for part in mixture["parts"].values())
    shown = raie("edit", "show", "1").out
    assert (
        f"scores    fitted on {mixture['windows']:,} validation windows: NDCG@10 {mixture['NDCG@10']:.4f}" in shown
    )
    assert report["length"]["length"] == described.json["learned"]["length"]["length"]
    assert ran.json["parent"] is None


def test_a_model_that_holds_nothing_out_is_measured_without_nan_in_its_json(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.another_without_holdout(ready, monkeypatch)
    for command in (
        ["setup", LOG, "--until", SETUP],
        ["evaluate", LOG, *UNTIL],
        list(APPLY),
        ["evaluate", LOG],
    ):
        ran = raie(*command, "--json")
        assert (ran.code, ran.err) == (0, ""), command
        assert isinstance(ran.json, dict)
    assert ran.json["setup_windows"] == 0
    assert set(ran.json["models"]["never edited"]["set-up"].values()) == {None}
    assert raie("evaluate", LOG).code == 0
    assert raie("edit", "show", "2").code == 0


class Terminal:
    """A terminal of the kernel's own, for stderr."""

    def __init__(self) -> None:
        self.reader, writer = pty.openpty()
        self.stream = os.fdopen(writer, "w", encoding="utf-8")

    def rendered(self) -> str:
        """What was written to it, without colors and movements of the cursor; the stream is closed."""
        self.stream.close()
        parts = []
        try:
            while part := os.read(self.reader, 65536):
                parts.append(part)
        except OSError:
            pass  # how a terminal says that nobody writes to it any more
        os.close(self.reader)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(parts).decode())


def test_bars_are_rendered_on_a_terminal_and_nowhere_else(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        assert main.run(list(APPLY)) == 0
    rendered = terminal.rendered()
    stages = [line for line in rendered.replace("\r", "\n").splitlines() if "%" in line]
    for name in ("all touched regions together", "regions", "evaluating the candidate"):
        shown = [int(match[1]) for line in stages if (match := re.search(rf"^{name} .* (\d+)%", line))]
        assert (shown[0], shown[-1]) == (0, 100), rendered
    # Everywhere else in these tests stderr is a file, and every command that succeeds leaves it empty.
    assert raie("edit", "apply", LOG, "--until", SECOND, "--workers", "1").err == ""


def agreed_and_changed(ran: Ran) -> tuple[float, str]:
    """The least share of windows, in percent, on which the gate agrees with the log's truth; and the history."""
    assert (ran.code, ran.err) == (0, "")
    agreed = [float(share) for share in re.findall(r"agrees with the truth on ([\d.]+)%", ran.out)]
    assert len(agreed) == 2
    assert "all is well" in ran.out
    return min(agreed), ran.out[ran.out.index("$ raie log") :]


def test_the_demo_goes_all_the_way_on_the_log_of_fewer_users(raie: Raie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "synthetic_log", partial(describe.synthetic_log, users=350))
    agreed, history = agreed_and_changed(raie("demo"))
    assert agreed >= 70
    for change in ("expanded region", "updated region", "reverted region"):
        assert change in history


@pytest.mark.slow
def test_the_demo_keeps_its_promise(tmp_path: Path) -> None:
    """As `make demo` runs it: Update, Expand and Add happen where the truth of the log has them."""
    ran = subprocess.run(
        [sys.executable, "-m", "raie.cli.main", "demo", "--folder", str(tmp_path / "demo")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    agreed, history = agreed_and_changed(Ran(ran.returncode, ran.stdout, ran.stderr))
    # Contexts reach back before a drift, and what its user was then is no mistake of the gate.
    assert agreed >= 80
    for change in ("expanded region", "updated region", "added region", "reverted region", "retired region"):
        assert change in history
