"""`raie report`: the page that a reviewer opens, the markdown of a pull request, and what regions are about."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from raie.edits.workflow import open_view
from raie.engine.edit.impact import knowing_rows_of
from raie.engine.evaluation.metrics import mean_metrics, ranks
from raie.registry import Author, Registry
from raie.review.locality import locality
from raie.review.markdown import markdown, quoted
from raie.review.page import page
from raie.review.review import review
from raie.snapshots.changed_users import ChangedUser, ChangedUsers
from raie.snapshots.recommend import ScoredItem
from raie.workspace import Workspace
from raie.workspace_file import find
from tests.chromium import running_chromium
from tests.cli import history, trained
from tests.cli.conftest import Raie

EVIL = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title = 'hacked'\">"
SECTIONS = {
    "plan",
    "changes",
    "metrics",
    "locality",
    "map",
    "trade",
    "regions",
    "users",
    "cost",
    "policy",
    "digests",
}
_VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """The elements of a page: every one that begins also ends, and in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [] if tag in _VOID else [tag]
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values[name]) for name in ("href", "src") if name in values]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def written(raie: Raie, *arguments: str) -> str:
    """The page that the command writes."""
    assert raie("report", *arguments, "-o", "page.html", "--force").code == 0
    return Path("page.html").read_text(encoding="utf-8")


def test_the_page_has_every_section_and_loads_nothing(raie: Raie, workspace: Workspace) -> None:
    text = written(raie, "--database-only")
    read = Reader(text)
    assert read.open == []
    assert set(read.ids) == {*SECTIONS, "content", "scheme"}
    assert {link for link in read.links if not link.startswith("#")} == set()
    assert {link[1:] for link in read.links} == {*SECTIONS, "content"}
    assert not re.search(r"https?:|//[a-z]", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


def test_a_snapshot_is_compared_with_what_production_serves_or_else_with_its_parent(
    raie: Raie, workspace: Workspace
) -> None:
    shown = raie("report", "--database-only", "--json").json
    assert (shown["against"], shown["against_name"]) == (
        raie("show", "production", "--json").json["id"],
        "production",
    )
    raie("promote", "head")
    shown = raie("report", "--database-only", "--json", "--force").json
    assert (shown["against"], shown["against_name"]) == (raie("show", "edit:5", "--json").json["id"], "parent")
    shown = raie("report", "5", "--against", "staging", "--database-only", "--json", "--force").json
    assert (shown["alias"], shown["file"]) == ("staging", "report.html")
    first = raie("report", "edit:1", "--against", "edit:1", "--database-only", "--markdown")
    assert "Untouched regions: 0, 1, 2." in first.out


def test_a_first_snapshot_is_shown_alone(raie: Raie, workspace: Workspace, registry: Registry) -> None:
    registry.promote(history.MODEL, "edit:1", "production", author=Author("ada"))
    text = written(raie, "edit:1", "--database-only")
    assert "nothing: it is the first snapshot" in text
    assert "There is no snapshot before this one." in text


def test_the_same_records_give_the_same_bytes(raie: Raie, workspace: Workspace) -> None:
    assert written(raie, "--database-only") == written(raie, "--database-only")
    assert (
        raie("report", "--database-only", "--markdown").out == raie("report", "--database-only", "--markdown").out
    )


def test_the_database_alone_answers_without_the_store_and_without_torch(workspace: Workspace) -> None:
    shutil.rmtree(workspace.store.removeprefix("file://"))
    script = (
        "import sys; from raie.cli import main; code = main.run(['report', '--database-only', '-o', 'p.html']); "
        "sys.exit(code or ('torch' in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=workspace.folder, timeout=60, check=True)
    assert (workspace.folder / "p.html").stat().st_size > 10_000


def test_an_expired_snapshot_is_shown_and_says_that_it_cannot_be_served(raie: Raie, workspace: Workspace) -> None:
    assert raie("expire", "--keep-last", "1", "--reason", "old", "--yes").code == 0
    text = written(raie, "edit:3", "--against", "edit:2")
    assert "The snapshot has expired: it cannot be served." in text
    assert text.count("the snapshot has expired") >= 2


def test_an_existing_file_is_replaced_only_by_force_and_a_failure_writes_nothing(
    raie: Raie, workspace: Workspace
) -> None:
    Path("kept.html").write_text("mine", encoding="utf-8")
    trained.refused(raie("report", "--database-only", "-o", "kept.html"), 1, ["kept.html", "--force"])
    assert Path("kept.html").read_text(encoding="utf-8") == "mine"
    trained.refused(raie("report", "99", "-o", "none.html"), 1)
    trained.refused(raie("report", "-o", "no/such/none.html", "--database-only"), 1, ["no/such"])
    assert not list(Path().glob("*none.html*"))
    assert not list(Path().glob(".raie-*.partial"))


def test_what_belongs_to_users_is_refused_without_them(raie: Raie, workspace: Workspace) -> None:
    trained.refused(raie("report", "--top", "3"), 2, ["--users LOG", "--top"])


def test_what_only_the_other_snapshot_holds_is_a_warning(raie: Raie, workspace: Workspace) -> None:
    assert "It lacks edit 4, which the other snapshot holds." in written(raie, "--database-only")
    undone = written(raie, "2", "--against", "edit:1", "--database-only")
    assert "Edit 2 was undone by edit 6." in undone


def test_the_checks_of_the_policy_are_shown_and_the_failed_ones_say_what_to_do(
    raie: Raie, workspace: Workspace
) -> None:
    raie("policy", "set", "production", "--retention", "-0.02", "--second-person")
    text = written(raie, "--database-only")
    assert "✗ FAIL" in text
    assert "A promotion would be refused." in text
    shown = raie("report", "--database-only", "--json", "--force").json
    assert shown["passes"] is False
    assert [check["name"] for check in shown["checks"]] == ["retention", "second person"]
    assert "| ✗ **FAIL** | retention |" in raie("report", "--database-only", "--markdown").out


def test_a_users_text_is_text_on_the_page_and_in_markdown(
    raie: Raie, registry: Registry, workspace: Workspace
) -> None:
    history.edit(registry, [1], reason=EVIL, actor="ev|il `x`")
    raie("note", "head", EVIL)
    item = ScoredItem("i1", 1.0, EVIL)
    user = ChangedUser(EVIL, 0, 1, (item,), (replace(item, item="i2"),), 1, 0)
    shown = replace(
        review(workspace, database_only=True), users=ChangedUsers(1, 1, {1: 1}, (user,)), missing={"map": EVIL}
    )
    text = page(replace(shown, locality=None, missing={**shown.missing, "locality": EVIL, "descriptions": EVIL}))
    read = Reader(text)
    assert read.open == []
    assert "img" not in read.tags
    assert read.tags.count("script") == 1
    assert text.count("&lt;script&gt;") > 5
    lines = markdown(shown).splitlines()
    outside = [re.sub(r"(`+).*?(?<!`)\1(?!`)", "", line) for line in lines]
    assert not [line for line in outside if "<" in line or "hacked" in line]
    assert sum(EVIL.replace("|", r"\|") in line for line in lines) >= 3


@pytest.mark.parametrize(
    ("text", "span"), [("a`b", "`` a`b ``"), ("a\n b|c", "`a b\\|c`"), ("", "` `"), ("```", "```` ``` ````")]
)
def test_a_code_span_holds_any_text(text: str, span: str) -> None:
    assert quoted(text) == span


def test_a_report_of_another_client_does_not_stop_the_page(workspace: Workspace, registry: Registry) -> None:
    base = registry.head(history.MODEL)
    assert base is not None
    for report in (
        {"regions": 3, "gate": 1, "passes": "many", "seconds": True, "version": 9},
        {
            "regions": [1, {"region": 0, "before": 1, "after": None, "passes": 1}],
            "gate": {"update": "all"},
            "adaptation": {"windows": 3, "x|y change": {"mean": 0.5}},
        },
    ):
        begun = registry.begin(history.MODEL, "edit", seed=1, author=Author("ada"))
        entry = history.entry(registry, 0, str(report))
        content = replace(base.content, regions={**base.content.regions, 0: entry})
        registry.commit(history.MODEL, begun.number, content, [history.change(0, "update", 10)], report)
        shown = review(workspace, database_only=True)
        assert Reader(page(shown)).open == []
        assert f"edit {begun.number}" in markdown(shown)


def test_regions_without_windows_say_so(raie: Raie, workspace: Workspace) -> None:
    regions = raie("regions", "list", "--describe", "--json").json["regions"]
    assert {region["description"]["missing"] for region in regions} == {
        "the snapshot keeps no windows of this region"
    }
    assert regions[0]["description"]["items"] == []
    assert "description" not in raie("regions", "list", "--json").json["regions"][0]
    assert "keeps no windows" in raie("show", "--describe").out


@pytest.fixture
def one_region(edited: Path, raie: Raie) -> Path:
    """A workspace whose production serves the setup with one region of its first edit."""
    raie("promote", "edit:1")
    assert raie("promote", "--region", "0", "--version", "2").code == 0
    return edited


def test_windows_of_regions_that_no_edit_touched_keep_every_rank_and_score(one_region: Path) -> None:
    workspace = find(one_region)
    shown = review(workspace, "production", against="edit:1")
    proof = shown.locality
    assert proof is not None
    assert 0 < proof.untouched < proof.windows
    assert (proof.ranks_changed, proof.scores_changed) == (0, 0)
    assert shown.difference is not None
    assert set(shown.difference.unchanged) == {1, 2}
    registry = workspace.registry()
    older, newer = (open_view(registry, side) for side in (shown.difference.older, shown.difference.newer))
    before = mean_metrics(ranks(knowing_rows_of(older.router, newer.router).scores, newer.holdout))
    assert proof.retention.before == before
    # What did change does not count as untouched, or the proof would show nothing.
    claimed = locality(older, newer, [0, 1, 2])
    assert claimed.scores_changed > 0
    assert not claimed.holds
    backwards = locality(newer, older, [1, 2])
    assert (backwards.untouched, backwards.holds) == (proof.untouched, True)


def test_the_page_of_an_edit_has_its_measurements_its_map_and_its_regions(raie: Raie, edited: Path) -> None:
    text = written(raie, "head", "--against", "edit:1", "--users", trained.LOG, "--top", "2")
    shown = raie("edit", "show", "2", "--json").json["report"]
    change = shown["adaptation"]["changes"]["Recall@10"]
    for end in ("mean", "low", "high"):
        assert f"{change[end]:+.4f}".replace("-", "−") in text
    assert "Not measured" not in text
    assert f"{shown['passes']:,}" in text
    assert text.count("<figure>") == 3
    said = raie("report", "head", "--against", "edit:1", "--markdown").out
    assert f"{change['mean']:+.4f}".replace("-", "−") in said
    users = raie("diff", "edit:1", "head", "--users", trained.LOG, "--top", "2", "--json").json["users"]
    assert f"{users['changed']} of {users['compared']} users get another top 10" in text
    assert all(example["user"] in text for example in users["examples"])


def test_regions_are_described_by_their_items_and_sizes(raie: Raie, edited: Path) -> None:
    regions = raie("regions", "list", "--describe", "--json").json["regions"]
    view = open_view(find(edited).registry(), find(edited).registry().resolve(trained.MODEL, "head"))
    for region in regions:
        about = region["description"]
        assert about["missing"] is None
        assert about["sizes"][-1] == region["count"]
        assert len(about["sizes"]) == region["version"]
        lifts = [item["lift"] for item in about["items"]]
        assert lifts == sorted(lifts, reverse=True)
        assert min(lifts) > 1
        replay = view.replay(region["region"])
        row = view.catalogue.item_row(about["items"][0]["item"])
        holds = (np.concatenate([replay.items, replay.target[:, None]], axis=1) == row).any(axis=1)
        assert about["items"][0]["share"] == pytest.approx(holds.mean())
    assert raie("show", "--describe", "--json").json["regions"][0]["description"] == regions[0]["description"]
    assert f"{regions[0]['description']['items'][0]['item']} " in raie("regions", "list", "--describe").out


def test_a_browser_shows_the_page_in_both_schemes_without_an_error(
    raie: Raie, registry: Registry, edited: Path
) -> None:
    raie("note", "head", EVIL)
    written(raie, "head", "--against", "edit:1")
    with running_chromium() as browser, browser.page(Path("page.html")) as opened:
        ground = "getComputedStyle(document.body).backgroundColor"
        grounds = {}
        for scheme in ("light", "dark"):
            opened.scheme(scheme)
            grounds[scheme] = opened.run(ground)
        assert len(set(grounds.values())) == 2
        opened.press("Tab", "Tab")  # past the link that skips to the content
        assert opened.run("document.activeElement.id") == "scheme"
        opened.press("Enter")
        assert opened.run(ground) == grounds["light"]
        opened.press("Enter")
        assert opened.run(ground) == grounds["dark"]
        assert opened.run("document.documentElement.scrollWidth <= innerWidth")
        assert opened.run("document.title") == "recsys · edit 2"
        assert opened.run("document.querySelectorAll('svg polygon').length") > 1
        assert opened.run("performance.getEntriesByType('resource').length") == 0
        assert opened.complaints == []
