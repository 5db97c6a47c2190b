"""A workspace from Python: what it opens, what it returns, and that the command line gives the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

import raie as api
from raie.engine.errors import InputError, UnknownItem
from raie.errors import RaieError, UsageError, WorkspaceError
from raie.workspace import Workspace
from tests.cli.conftest import Raie

ROOT = Path(__file__).resolve().parents[2]
USERS = ["u00042", "u00007"]


# --- Opening


def test_importing_and_opening_import_nothing_heavy(shop: Workspace) -> None:
    code = (
        "import sys, raie; imported = {*sys.modules}; raie.open(sys.argv[1]); raie.__version__; "
        "names = lambda modules: sorted({name.partition('.')[0] for name in modules} & set(sys.argv[2:])); "
        "print(names(imported), names(sys.modules))"
    )
    heavy = ["torch", "numpy", "pandas", "pyarrow", "mlflow", "sqlalchemy", "boto3", "click"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(shop.folder), *heavy], capture_output=True, text=True, check=True
    )
    # The rules of a database's address are the registry's, whose other parts stand on SQLAlchemy.
    assert done.stdout.strip() == "[] []"


def test_a_workspace_is_opened_by_its_folder_by_its_file_by_the_environment_or_from_inside(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.open(shop.folder) == api.open(str(shop.folder / "raie.toml")) == shop
    with pytest.raises(WorkspaceError, match="raie init"):
        api.open()
    monkeypatch.setenv("RAIE_WORKSPACE", str(shop.folder))
    assert api.open() == shop
    monkeypatch.delenv("RAIE_WORKSPACE")
    (shop.folder / "inside").mkdir()
    monkeypatch.chdir(shop.folder / "inside")
    assert api.open() == shop


def test_creating_makes_what_init_makes_and_a_second_time_changes_nothing(raie: Raie, tmp_path: Path) -> None:
    made = api.create(tmp_path / "here", model="films")
    assert raie("--workspace", str(tmp_path / "there"), "init", "--model", "films").code == 0
    assert (made.folder / "raie.toml").read_bytes() == (tmp_path / "there" / "raie.toml").read_bytes()
    assert api.create(made.folder) == made
    with pytest.raises(UsageError, match="exists already"):
        api.create(made.folder, model="books")


def test_a_workspace_is_shown_without_the_address_of_its_database(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "recsys", "postgresql://ada:secret@host/raie", "s3://models", "sqlite:///m.db")
    assert "secret" not in repr(workspace)
    assert "host" not in repr(workspace)


# --- Recommending


def test_the_command_line_recommends_what_the_api_does(raie: Raie, shop: Workspace) -> None:
    frame = shop["production"].recommend("log.csv", k=4, users=USERS)
    asked = ["recommend", "log.csv", "--user", USERS[0], "--user", USERS[1], "--top", "4", "--ref", "production"]
    answers = raie("--workspace", str(shop.folder), *asked, "--json").json["recommendations"]
    assert [answer["user"] for answer in answers] == USERS
    rows = [
        (answer["user"], rank, best["item"], best["score"], answer["region"])
        for answer in answers
        for rank, best in enumerate(answer["items"], start=1)
    ]
    assert list(frame.itertuples(index=False, name=None)) == rows
    assert list(frame.columns) == ["user", "rank", "item", "score", "region"]


def test_a_dataframe_may_come_in_any_order_with_times_of_any_kind_and_other_names(shop: Workspace) -> None:
    production, events = shop["production"], pandas.read_csv("log.csv")
    expected = production.recommend("log.csv", k=3, users=USERS)
    shuffled = events.sample(frac=1.0, random_state=1)
    shuffled["timestamp"] = pandas.to_datetime(shuffled["timestamp"], unit="s")
    renamed = shuffled.rename(columns={"user_id": "user", "item_id": "item", "timestamp": "time"})
    for frame in (shuffled, renamed):
        assert production.recommend(frame, k=3, users=USERS).equals(expected)


def test_every_user_is_answered_where_none_is_named(shop: Workspace) -> None:
    events = pandas.read_csv("log.csv")
    answers = shop["head"].recommend(events, k=1)
    assert sorted(answers["user"]) == sorted(events["user_id"].unique())
    assert set(answers["rank"]) == {1}


def test_what_cannot_be_recommended_to_is_refused_with_its_name(shop: Workspace) -> None:
    head = shop["head"]
    with pytest.raises(InputError, match="'nobody'"):
        head.recommend("log.csv", users=["nobody"])
    with pytest.raises(InputError, match="'nobody'"):
        head.recommend({"u00042": ["t0-core-00"]}, users=["nobody"])
    with pytest.raises(InputError, match="'ada'"):
        head.recommend({"ada": [], "u00042": ["t0-core-00"]})
    with pytest.raises(InputError, match="column of items, item_id or item, found user_id, thing"):
        head.recommend(pandas.DataFrame({"user_id": ["ada"], "thing": ["t0-core-00"]}))
    with pytest.raises(UnknownItem):
        head.recommend_after(["never seen"])
    with pytest.raises(InputError, match="k of 1 or more"):
        head.recommend({"ada": ["t0-core-00"]}, k=0)


def test_a_user_of_unknown_items_gets_what_is_popular_and_a_region_that_is_missing(shop: Workspace) -> None:
    head, events = shop["head"], {"ada": ["never seen"], "u00042": ["t0-core-00"]}
    ada, known = head.recommendations(events, k=3)
    assert (ada.region, ada.context, ada.ignored, len(ada.items)) == (None, (), 1, 3)
    frame = head.recommend(events, k=3)
    assert frame["region"].isna().tolist() == [True] * 3 + [False] * 3
    assert set(frame["region"].dropna()) == {known.region}
    assert head.recommend({"u00042": ["t0-core-00"]}, k=3)["region"].dtype == "int64"


def test_a_snapshot_stays_the_same_when_its_alias_moves(shop: Workspace) -> None:
    before = shop["production"]
    answer = before.recommend("log.csv", k=3, users=USERS)
    shop.promote("edit:1", reason="back")
    assert shop["production"].id != before.id
    assert before.recommend("log.csv", k=3, users=USERS).equals(answer)


# --- Training


def test_a_setup_from_python_is_the_snapshot_of_the_command_line(raie: Raie, shop: Workspace) -> None:
    text = "\n[engine]\nregions = { regions = 5 }\n"
    text += "backbone = { dim = 16, layers = 1, epochs = 8, learning_rate = 0.01 }\n"
    assert raie("--workspace", "twin", "init").code == 0
    with Path("twin/raie.toml").open("a", encoding="utf-8") as file:
        file.write(text)
    until = shop.edit_record(1).edit.parameters["until"]
    ran = raie("--workspace", "twin", "setup", "log.csv", "--until", until, "--json")
    assert ran.json["id"] == shop["edit:1"].id


def test_an_edit_says_how_far_it_is_and_prints_nothing(shop: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    shop.rollback(to="edit:1")
    stages: list[tuple[str, int, int]] = []
    notes: list[str] = []
    Path("log.tsv").write_text(Path("log.csv").read_text().replace(",", "\t").replace("user_id", "userId", 1))
    result = shop.edit(
        "log.tsv",
        until=shop.edit_record(2).edit.parameters["until"],
        reading={"user": "userId"},
        progress=lambda *stage: stages.append(stage),
        on_note=notes.append,
    )
    assert result is not None
    assert (result.number, result.snapshot.parent) == (shop.edits(limit=1)[0].number, result.edit.base)
    assert repr(result).startswith(f"EditResult(number={result.number}, kind='edit', snapshot='{result.id[:12]}'")
    assert {"regions", "evaluating the candidate"} <= {stage for stage, done, total in stages if done == total}
    assert capfd.readouterr() == ("", "")


def test_a_plan_names_the_touched_regions_and_changes_nothing(shop: Workspace) -> None:
    before = shop.edits()
    planned = shop.plan("log.csv")
    assert "touched={" in repr(planned)
    assert {region.action for region in planned.summary.regions} <= {"update", "expand", "add", "untouched"}
    assert planned.summary.windows == len(planned.prepared.windows)
    assert shop.edits() == before


def test_arguments_that_contradict_each_other_are_refused(shop: Workspace) -> None:
    with pytest.raises(UsageError, match="both or neither"):
        shop.rollback()
    with pytest.raises(UsageError, match="both or neither"):
        shop.rollback(2, to="head")
    with pytest.raises(UsageError, match="found 'colour': known here are user, item"):
        shop.plan("log.csv", reading={"colour": "red"})
    with pytest.raises(UsageError, match="--against"):
        shop.record_evaluation(shop.evaluate("log.csv", ref="edit:1"))


def test_windows_are_counted_as_they_are_scored(shop: Workspace) -> None:
    steps: list[tuple[str, int, int]] = []
    measured = shop.evaluate("log.csv", ref="edit:1", progress=lambda *step: steps.append(step))
    windows = measured.new_windows + measured.setup_windows
    assert {(stage, total) for stage, _, total in steps} == {("scoring windows", len(measured.models) * windows)}
    steps.clear()
    drift = shop.drift("log.csv", ref="edit:1", progress=lambda *step: steps.append(step))
    total = drift.report.before + drift.report.now
    assert steps[-1] == ("scoring windows", total, total)


# --- The house


def test_the_api_prints_nothing_and_every_error_of_its_own_has_one_root() -> None:
    printing = [
        f"{path.name}:{node.lineno}"
        for path in sorted((ROOT / "raie").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input")
    ]
    assert printing == []
    assert issubclass(UsageError, RaieError)
    assert issubclass(WorkspaceError, RaieError)


def test_the_registry_names_no_module_that_joins_it_with_the_engine() -> None:
    named = [
        path.name
        for path in sorted((ROOT / "registry").rglob("*.py"))
        if any(module in path.read_text(encoding="utf-8") for module in ("raie.serve", "raie.engine"))
    ]
    assert named == []
