"""A comparison: what it cuts, who takes part, that it goes on where it stopped, and what it makes of the ranks."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raie.engine.bytes.arrays import pack
from raie.engine.comparison.figures import pictures
from raie.engine.comparison.methods import ABLATIONS, parse_methods
from raie.engine.comparison.protocol import ComparisonProtocol, cut_protocol, task_data_of_edits
from raie.engine.comparison.results import ComparisonResult, Origin, comparison_result
from raie.engine.comparison.runner import run
from raie.engine.comparison.scoring import measured, totals
from raie.engine.comparison.step_results import StepFiles, StepResult, read_blobs
from raie.engine.comparison.tables import (
    coverage_line,
    csv_text,
    headed_tables,
    keeping_table,
    legend,
    markdown,
    results_table,
)
from raie.engine.config import EngineConfig
from raie.engine.errors import ConfigError, DamagedArtifact, InputError
from raie.engine.evaluation.continual import backward_transfer, prequential
from raie.engine.evaluation.coverage import Coverage
from raie.engine.evaluation.metrics import COMPARED_METRICS, per_window
from raie.engine.strategies import STRATEGIES
from tests.raie_engine.travelling import TravellingExecutor
from tests.raie_engine.world import World, small_settings

WHO = parse_methods(["raie", "never", "markov", "global-lora", "global-lora[adapter.rank=2]"])
THREE = (WHO[0], WHO[1], WHO[-1])
SEEDS = (1, 2)


def quiet(stage: str, done: int, total: int) -> None:
    """No progress is shown."""


@pytest.fixture(scope="module")
def protocol(world: World) -> ComparisonProtocol:
    return cut_protocol(world.interactions, world.ends[0], None, 2, small_settings().engine)


@pytest.fixture(scope="module")
def work(protocol: ComparisonProtocol, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a finished comparison."""
    folder = tmp_path_factory.mktemp("work")
    run(protocol, small_settings(3), WHO, SEEDS, folder, workers=1, progress=quiet)
    return folder


@pytest.fixture(scope="module")
def result(protocol: ComparisonProtocol, work: Path) -> ComparisonResult:
    return result_in(protocol, work, "NDCG@10")


def result_in(protocol: ComparisonProtocol, work: Path, metric: str) -> ComparisonResult:
    origin = Origin("log.csv", "a1b2", {"windows": {"length": 10}})
    names = {"never": "never edit", "reference": "RAIE", "metric": metric}
    return comparison_result(origin, protocol, WHO, SEEDS, work, joint=None, **names)


# --- What is cut


def test_nobody_learns_from_a_user_or_a_row_for_evaluation(world: World, protocol: ComparisonProtocol) -> None:
    held_out = protocol.windows.take(protocol.held_out)
    later = set(held_out.user[protocol.slice[protocol.held_out] > 0].tolist())
    asked = set(zip(held_out.user.tolist(), held_out.timestamp.tolist(), strict=True))
    assert later
    for task_data in task_data_of_edits(protocol, world.view):
        for windows in (task_data.new, task_data.validation):
            assert later.isdisjoint(windows.user.tolist())
        for windows in (task_data.new, task_data.validation, task_data.past):
            assert asked.isdisjoint(zip(windows.user.tolist(), windows.timestamp.tolist(), strict=True))
        rows = zip(task_data.rows.user.tolist(), task_data.rows.timestamp.tolist(), strict=True)
        assert asked.isdisjoint(rows)
        assert (task_data.rows.timestamp <= task_data.until).all()


def test_slices_follow_each_other_and_hold_as_many_rows_each(world: World, protocol: ComparisonProtocol) -> None:
    times = world.interactions.timestamp
    rows = np.diff([np.searchsorted(times, end, side="right") for end in protocol.ends])
    assert rows.max() - rows.min() <= 2
    for number, (start, stop) in enumerate(zip(protocol.ends, protocol.ends[1:], strict=False), start=1):
        here = protocol.windows.timestamp[protocol.slice == number]
        assert ((here > start) & (here <= stop)).all()
    assert protocol.scored_rows(1).tolist() == np.flatnonzero(protocol.held_out | (protocol.slice == 2)).tolist()


def test_later_rows_can_be_left_alone(world: World) -> None:
    end = world.ends[2]
    protocol = cut_protocol(world.interactions, world.ends[0], end, 1, small_settings().engine)
    assert protocol.ends[-1] <= end
    assert protocol.windows.timestamp.max() <= end


def test_a_log_that_cannot_be_cut_so_often_is_refused(world: World) -> None:
    engine = small_settings().engine
    with pytest.raises(InputError, match="fewer --edits"):
        cut_protocol(world.interactions, world.ends[0], None, 60, engine)
    with pytest.raises(InputError, match="earlier --until"):
        cut_protocol(world.interactions, world.ends[-1] + 10**6, None, 2, engine)


# --- Who takes part


def test_methods_are_named_once_and_carry_their_options() -> None:
    plain, changed = parse_methods(["raie", "raie[gate.policy=paper, edit.replay_ratio=0.5]", "raie"])
    assert (plain.name, plain.options) == ("RAIE", ())
    assert changed.options == (("edit.replay_ratio", 0.5), ("gate.policy", "paper"))
    configured = changed.configured(EngineConfig(seed=9))
    assert (configured.gate.policy, configured.edit.replay_ratio, configured.seed) == ("paper", 0.5, 9)
    assert plain.configured(EngineConfig()) == EngineConfig()
    assert plain.folder_name != changed.folder_name


def test_a_strategy_with_counts_takes_options_too() -> None:
    (method,) = parse_methods(["replay+counts[edit.replay_ratio=0.3]"])
    assert method.name == "Replay + counts [edit.replay_ratio=0.3]"
    assert method.implementation.differs == "counts of the log"


def test_a_method_says_whether_it_replays() -> None:
    every = parse_methods(["raie", "full", "replay", "replay[edit.replay_ratio=0]", "raie[edit.replay_ratio=0.5]"])
    assert [method.replays for method in every] == [True, False, True, False, True]


def test_all_means_every_strategy_and_every_ablation_is_a_configuration() -> None:
    every = parse_methods(["all"], ablations=True)
    assert [method.strategy for method in every][: len(STRATEGIES)] == list(STRATEGIES)
    assert [method.name for method in every][len(STRATEGIES) :] == [f"RAIE {name}" for name in ABLATIONS]
    assert len({method.folder_name for method in every}) == len(every)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rai", "found 'rai'"),
        ("raie+counts", r"found 'raie\+counts'"),
        ("raie[windows.length=5]", "the same for all"),
        ("raie[edit.holdout=0.5]", "the same for all"),
        ("raie[gate.policy]", "with a value"),
        ("raie[gate.polcy=paper]", "unknown option 'gate.polcy'"),
        ("raie[edit.epochs=many]", "must be int"),
        ("raie[edit.epochs=9,edit.epochs=3]", "every option of raie once"),
        ("raie[gate.policy=paper,gate.policy=3]", "every option of raie once"),
    ],
)
def test_what_cannot_take_part_is_refused_before_anything_runs(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_methods([text])


# --- Running


def test_an_interrupted_comparison_ends_as_one_that_was_never_stopped(
    protocol: ComparisonProtocol, work: Path, tmp_path: Path
) -> None:
    class Stopped(Exception):
        """The user's Ctrl-C."""

    cells = len(THREE) * len(SEEDS) * 3

    def until_half(stage: str, done: int, total: int) -> None:
        if stage.startswith("steps,") and done == cells // 2:
            raise Stopped

    with pytest.raises(Stopped):
        run(protocol, small_settings(3), THREE, SEEDS, tmp_path, workers=1, progress=until_half)
    seen: list[tuple[str, int]] = []
    run(
        protocol,
        small_settings(3),
        THREE,
        SEEDS,
        tmp_path,
        workers=1,
        progress=lambda stage, done, total: seen.append((stage.split(",")[0], done)),
    )
    assert [done for stage, done in seen if stage == "steps"] == list(range(cells // 2, cells + 1))
    assert ("backbones", len(SEEDS)) in seen
    assert [done for stage, done in seen if stage == "backbones"] == [len(SEEDS)] * 2, (
        "no backbone is trained again"
    )
    for method in THREE:
        for seed in SEEDS:
            assert_same(StepFiles.of(tmp_path, method, seed), StepFiles.of(work, method, seed))


def test_step_results_are_the_same_however_many_run_side_by_side(
    protocol: ComparisonProtocol, work: Path, tmp_path: Path
) -> None:
    for seed in SEEDS:
        (tmp_path / f"seed-{seed}").mkdir()
        shutil.copy(work / f"seed-{seed}" / "setup.blobs", tmp_path / f"seed-{seed}")
    run(protocol, small_settings(3), WHO[:1], SEEDS, tmp_path, workers=2, progress=quiet)
    for seed in SEEDS:
        assert_same(StepFiles.of(tmp_path, WHO[0], seed), StepFiles.of(work, WHO[0], seed))


def test_step_results_are_the_same_where_each_is_a_task_of_an_executor(
    protocol: ComparisonProtocol, work: Path, tmp_path: Path
) -> None:
    executor, methods = TravellingExecutor(), (WHO[1], WHO[2], WHO[-1])
    run(protocol, small_settings(3), methods, SEEDS[:1], tmp_path, workers=1, progress=quiet, executor=executor)
    for method in methods:
        assert_same(StepFiles.of(tmp_path, method, 1), StepFiles.of(work, method, 1))
    setups, steps = 2, 3 * 3
    assert len(executor.ran) == setups + steps


def assert_same(here: StepFiles, there: StepFiles) -> None:
    assert here.state(2) == there.state(2)
    assert all((here.read(edit).ranks == there.read(edit).ranks).all() for edit in range(3))
    assert not (here.folder / "edit-1.state").exists(), "older states are not kept"


def test_every_seed_has_a_backbone_and_options_change_none(work: Path) -> None:
    read = {
        name: read_blobs(work / name)["backbone/weights"]
        for name in ("seed-1/setup.blobs", "seed-2/setup.blobs", f"seed-1/setup-{WHO[-1].folder_name}.blobs")
    }
    first, second, optioned = read.values()
    assert first != second
    assert first == optioned


def test_a_given_backbone_is_used_by_every_seed(
    protocol: ComparisonProtocol, world: World, tmp_path: Path
) -> None:
    given = world.view.backbone_bytes
    run(protocol, small_settings(), WHO[1:2], [5], tmp_path, workers=1, progress=quiet, backbone=given)
    assert read_blobs(tmp_path / "seed-5" / "setup.blobs")["backbone/weights"] == given[1]


def test_a_damaged_step_result_is_refused(work: Path, tmp_path: Path) -> None:
    whole = StepFiles.of(work, WHO[0], 1).read(1)
    assert StepResult.from_bytes(whole.to_bytes()).touched == whole.touched
    with pytest.raises(DamagedArtifact):
        StepResult.from_bytes(whole.to_bytes()[:-10])
    older = pack({"kind": "cell"}, {"ranks": whole.ranks, "regions": whole.regions})
    with pytest.raises(DamagedArtifact, match="recommended"):
        StepResult.from_bytes(older)
    (tmp_path / "state").write_bytes(b"no blobs")
    with pytest.raises(DamagedArtifact, match="--fresh"):
        read_blobs(tmp_path / "state")


# --- Scoring


def test_the_matrix_holds_the_mean_of_each_slice_and_seed(
    protocol: ComparisonProtocol, work: Path, result: ComparisonResult
) -> None:
    method_result = result.method_results[0]
    for edit in range(3):
        rows = protocol.scored_rows(edit)
        gain = np.mean(
            [per_window(StepFiles.of(work, WHO[0], seed).read(edit).ranks)["NDCG@10"] for seed in SEEDS], axis=0
        )
        here, metric = protocol.slice[rows], COMPARED_METRICS.index("NDCG@10")
        for number in range(4):
            held = (here == number) & protocol.held_out[rows]
            assert method_result.measured.matrix[metric][edit, number] == pytest.approx(gain[held].mean())
        next_slice = here == edit + 1
        assert method_result.measured.prequential[metric][edit] == pytest.approx(gain[next_slice].mean())
    value = method_result.measured.value["NDCG@10"]
    assert value["BWT"].mean == pytest.approx(backward_transfer(method_result.measured.matrix[metric]))
    assert value["prequential"].mean == pytest.approx(prequential(method_result.measured.prequential[metric]))


def test_a_difference_to_itself_is_nothing_and_an_interval_holds_its_value(result: ComparisonResult) -> None:
    for method_result in result.method_results:
        for metric in COMPARED_METRICS:
            for measure, value in method_result.measured.value[metric].items():
                change = method_result.measured.change[metric][measure]
                if method_result.method.name == result.reference and not np.isnan(value.mean):
                    assert (change.mean, change.low, change.high) == (0, 0, 0)
                assert np.isnan(value.mean) or value.low - 1e-9 <= value.mean <= value.high + 1e-9


def test_users_are_drawn_and_not_windows(protocol: ComparisonProtocol, work: Path) -> None:
    """With one user in all there is nothing to draw, however many windows that user has."""
    cells = [[StepFiles.of(work, WHO[0], 1).read(edit) for edit in range(3)]]
    lonely = replace(protocol, windows=replace(protocol.windows, user=np.zeros_like(protocol.windows.user)))
    (measures,) = measured(
        {"it": totals(lonely, cells)}, never="it", joint="it", reference="it", draws=50
    ).values()
    for difference in measures.value["Recall@10"].values():
        assert difference.low == difference.high == pytest.approx(difference.mean)
    assert measures.value["Recall@10"]["intransigence"].mean == 0


def test_regions_that_an_edit_left_alone_changed_no_rank(result: ComparisonResult) -> None:
    by_name = {method_result.method.name: method_result for method_result in result.method_results}
    untouched = by_name["RAIE"].untouched
    assert untouched is not None
    assert untouched[1] == 0
    assert by_name["never edit"].untouched is None
    assert sum(gain.windows for gain in by_name["RAIE"].regions) == (result.protocol.slice > 1).sum()


@pytest.mark.parametrize("metric", ["NDCG@10", "Recall@20"])
def test_regions_gain_in_the_metric_that_was_asked_for(
    protocol: ComparisonProtocol, work: Path, metric: str
) -> None:
    gains = result_in(protocol, work, metric).method_results[0].regions
    total = 0.0
    for edit in (1, 2):
        next_slice = protocol.slice[protocol.scored_rows(edit)] == edit + 1
        after, before = (StepFiles.of(work, method, SEEDS[0]).read(edit).ranks[next_slice] for method in WHO[:2])
        total += (per_window(after)[metric] - per_window(before)[metric]).sum()
    assert {gain.metric for gain in gains} == {metric}
    assert sum(gain.windows * gain.gain.mean for gain in gains) == pytest.approx(total)
    assert total != 0


# --- Telling


def test_tables_name_every_method_and_csv_holds_every_number(result: ComparisonResult) -> None:
    page = markdown(result, "Recall@10")
    for method_result in result.method_results:
        assert f"| {method_result.method.name} |" in page
    for shown in (results_table(result, "NDCG@5"), keeping_table(result, "NDCG@10")):
        headers, rows = shown
        assert {len(row) for row in rows} == {len(headers)}
    best = results_table(result, "Recall@10")[1]
    assert [row[1] for row in best] == sorted((row[1] for row in best), reverse=True)
    read = list(csv.DictReader(io.StringIO(csv_text(result))))
    raie = {(row["metric"], row["measure"]): row["value"] for row in read if row["strategy"] == "RAIE"}
    value = result.method_results[0].measured
    assert float(raie["Recall@10", "prequential"]) == value.value["Recall@10"]["prequential"].mean
    assert float(raie["NDCG@20", "a[2][1]"]) == value.matrix[COMPARED_METRICS.index("NDCG@20")][2, 1]
    assert raie["Recall@10", "intransigence"] == ""
    cost, gain = result.method_results[0].cost, result.method_results[0].regions[0]
    assert [float(raie["", name]) for name in ("seconds", "passes", "parameters")] == list(vars(cost).values())
    for seed, alone in zip(SEEDS, result.method_results[0].by_seed, strict=True):
        assert float(raie["NDCG@10", f"BWT[seed {seed}]"]) == alone.value["NDCG@10"]["BWT"].mean
    assert int(raie["", f"windows[seed 1][region {gain.region}]"]) == gain.windows
    assert float(raie["NDCG@10", f"gain[seed 1][region {gain.region}]"]) == gain.gain.mean
    assert len({(row["strategy"], row["metric"], row["measure"]) for row in read}) == len(read)


def test_tables_have_headings_and_a_legend_for_every_column(result: ComparisonResult) -> None:
    page, said = markdown(result, "Recall@5"), legend(result, "Recall@5")
    assert said in page
    for heading, (headers, _) in headed_tables(result, "Recall@5"):
        assert f"\n## {heading}\n" in page
        for header in set(headers) - {"strategy", "where it differs"}:
            name = header.split()[0] if header.split()[-1] in COMPARED_METRICS else header
            assert name in said.lower() or f"{name}:" in said
    assert "difference to RAIE in Recall@5" in said
    assert "of the full ranking" in said


def test_one_table_has_scores_coverage_and_cost_of_every_method(result: ComparisonResult) -> None:
    headers, rows = results_table(result, "Recall@10")
    assert headers == [
        *("strategy", "next Recall@10", "change", "next NDCG@10", "next MRR"),
        *("final Recall@10", "change", "final NDCG@10", "final MRR"),
        *("evaluated", "catalogue", "seconds", "samples seen", "parameters"),
    ]
    by_name = {row[0]: dict(zip(headers, row, strict=True)) for row in rows}
    for method_result in result.method_results:
        row, measured_ = by_name[method_result.method.name], method_result.measured.value
        assert row["next MRR"] == f"{measured_['MRR']['prequential'].mean:.4f}"
        assert row["final NDCG@10"] == f"{measured_['NDCG@10']['final'].mean:.4f}"
        assert row["catalogue"] == f"{method_result.catalogue_coverage:.0%}"
    coverage = result.protocol.coverage
    evaluated, interactions = (
        sum(getattr(part, name) for part in coverage) for name in ("evaluated", "interactions")
    )
    assert {row["evaluated"] for row in by_name.values()} == {f"{evaluated / interactions:.0%}"}
    counted = replace(result, protocol=replace(result.protocol, coverage=(Coverage(20, 15, 0, 0),) * 3))
    assert results_table(counted, "Recall@10")[1][0][9] == "75%"
    assert (coverage_line(counted) or "").startswith("45 of 60 interactions after the setup are evaluated")
    assert counted.to_mapping()["evaluated"] == {"evaluated": 45, "interactions": 60}
    uncounted = replace(result, protocol=replace(result.protocol, coverage=()))
    assert results_table(uncounted, "Recall@10")[1][0][9] == "-"
    assert coverage_line(uncounted) is None


def test_the_catalogue_that_a_method_covers_is_what_stands_in_anybodys_list(
    protocol: ComparisonProtocol, work: Path, result: ComparisonResult
) -> None:
    never = next(entry for entry in result.method_results if entry.method.name == "never edit")
    steps = [StepFiles.of(work, never.method, seed).read(edit) for seed in SEEDS for edit in range(3)]
    assert never.catalogue_coverage == pytest.approx(
        np.mean([len(step.recommended) / step.items for step in steps])
    )
    assert [step.items for step in steps[:3]] == [protocol.items_by(edit) for edit in range(3)]
    known = protocol.items_by(0)
    for step in steps:
        assert 0 < step.recommended.min() <= step.recommended.max() <= known, "it recommends none that came later"
        assert len(np.unique(step.recommended)) == len(step.recommended)
    assert any(StepFiles.of(work, WHO[0], SEEDS[0]).read(edit).recommended.max() > known for edit in (1, 2)), (
        "RAIE recommends items that came later"
    )


def test_a_comparison_ends_with_the_strategy_to_take(result: ComparisonResult) -> None:
    best = max(result.method_results, key=lambda entry: entry.measured.value["NDCG@10"]["prequential"].mean)
    assert result.choice.best == best.method.name
    assert markdown(result, "Recall@10").rstrip().endswith(result.choice.line)
    assert result.to_mapping()["choice"]["strategy"] == result.choice.chosen
    read = csv.DictReader(io.StringIO(csv_text(result)))
    chosen = {row["strategy"]: float(row["value"]) for row in read if row["measure"] == "chosen"}
    assert [name for name, value in chosen.items() if value] == [result.choice.chosen]


def test_the_whole_result_is_plain_values(result: ComparisonResult) -> None:
    values = json.loads(json.dumps(result.to_mapping()))
    assert [entry["name"] for entry in values["strategies"]] == [entry.name for entry in WHO]
    assert len(values["strategies"][0]["by_seed"]) == len(SEEDS)
    assert values["strategies"][0]["cost"]["passes"] > 0
    assert values["slices"][0]["slice"] == 0
    assert (values["log"], values["log_digest"]) == ("log.csv", "a1b2")
    assert values["engine"] == {"windows": {"length": 10}}
    assert {gain["metric"] for gain in values["strategies"][0]["regions"]} == {"NDCG@10"}


def test_pictures_name_everybody_and_are_the_same_every_time(result: ComparisonResult) -> None:
    drawn = dict(pictures(result, "Recall@10"))
    assert set(drawn) == {
        f"{name}.{kind}"
        for name in ("retention-adaptation", "slices", "cost", "regions")
        for kind in ("png", "svg")
    }
    assert all(data.startswith(b"\x89PNG") for name, data in drawn.items() if name.endswith(".png"))
    picture = drawn["retention-adaptation.svg"].decode()
    assert [
        method_result.method.name
        for method_result in result.method_results
        if method_result.method.name not in picture
    ] == []
    regions = drawn["regions.svg"].decode()
    assert "NDCG@10, gain over" in regions, "the metric of the gains, whatever the other pictures show"
    assert f"first seed ({SEEDS[0]})" in regions
    assert dict(pictures(result, "Recall@10")) == drawn
