"""The report for an auditor: what served when, who let it through, on what was known then; gaps and overrides marked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import raie as api
from raie.engine.data.watermark import Watermark
from raie.proofs.audit_markdown import audit_markdown
from raie.proofs.audit_page import audit_page
from raie.proofs.audit_report import AuditReport, Period, audit_report
from raie.registry import Author, NotFound, Registry, trust
from raie.registry.db import triggers
from raie.registry.events.openlineage import DataRange
from raie.workspace import Workspace
from tests.chromium import running_chromium
from tests.cli import history
from tests.cli.conftest import Raie

EVIL = "<script>alert(1)</script>"
MODEL = history.MODEL
REPORT = {
    "retention": {"windows": 40, "before": {}, "after": {}, "Recall@10 change": {"mean": 0.01}},
    "untouched": [],
}


def decided(registry: Registry) -> None:
    """Production moves to the head under a policy, approved, evaluated; afterwards all of that changes."""
    policy = {"retention": 0.0, "second_person": True, "override": True}
    trust.set_policy(registry, MODEL, "production", policy, author=Author("olga", "agreed in May"))
    trust.record_evaluation(registry, MODEL, "head", "production", REPORT, author=Author("eve", "weekly"))
    trust.approve(registry, MODEL, "head", "production", author=Author("bob", f"seen {EVIL}"))
    registry.promote(MODEL, "head", "production", author=Author("ada", "release 7"))
    trust.withdraw(registry, MODEL, "head", "production", author=Author("bob", "the log was wrong"))
    trust.set_policy(registry, MODEL, "production", {"retention": 0.5}, author=Author("olga", "stricter"))


def marks(period: Period) -> list[str]:
    return [mark.kind for mark in period.marks]


def test_a_move_is_shown_with_the_policy_checks_and_approvals_of_its_time(
    workspace: Workspace, registry: Registry
) -> None:
    decided(registry)
    made = audit_report(workspace)
    assert [period.snapshot.edit for period in made.periods if period.snapshot] == [2, 4, 6]
    first, _, last = made.periods
    assert (marks(first), marks(last)) == (["no policy"], [])
    assert (first.end, last.end) == (made.periods[1].start, None)
    decision = last.decision
    assert decision is not None
    assert decision.policy is not None
    assert (decision.move.actor, decision.move.reason) == ("ada", "release 7")
    assert (decision.policy.version, decision.policy.policy.retention) == (1, 0.0)
    assert [(check.name, check.passed) for check in decision.checks] == [
        ("retention", True),
        ("second person", True),
    ]
    assert [(given.actor, given.withdrawn) for given in decision.approvals] == [("bob", False)]
    assert [(known.evaluation.source, known.by) for known in decision.evaluations] == [("evaluation 1", "eve")]
    assert (made.chain.ok, made.chain.report.head[:3]) == (True, f"{made.chain.report.events}:")


def test_the_data_of_the_setup_and_of_each_edit_since_is_named(workspace: Workspace, registry: Registry) -> None:
    decided(registry)
    made = audit_report(workspace)
    learned = [period.learned for period in made.periods if period.learned is not None]
    assert [known.edits for known in learned] == [(1, 2), (1, 2, 3), (1, 2, 3, 5)]
    assert [dict(known.rolled_back) for known in learned] == [{}, {}, {2: 6}]
    assert [data.edit.number for data in made.data] == [1, 2, 3, 5]
    assert made.data[0].edit.data_digest == "d" * 64


def with_watermark(registry: Registry, timestamp: int, rows: int) -> None:
    """An edit that consumes the log up to a time."""
    begun = registry.begin(MODEL, "edit", seed=7, author=Author("ada", "weekly"), data_digest="e" * 64)
    base = registry.resolve(MODEL, str(begun.base)).content
    mark = registry.put(Watermark(timestamp, rows).to_bytes())
    content = replace(base, shared={**base.shared, "watermark": (mark,)})
    registry.commit(MODEL, begun.number, content, [history.change(1, "update", 5)])


def test_rows_and_times_of_the_data_are_those_that_the_watermarks_say(
    workspace: Workspace, registry: Registry
) -> None:
    with_watermark(registry, 1000, 400)
    with_watermark(registry, 2000, 550)
    registry.promote(MODEL, "head", "production", Author("ada"))
    data = {data.edit.number: data.rows for data in audit_report(workspace).data}
    assert (data[5], data[7], data[8]) == (None, DataRange(400, None, 1000), DataRange(150, 1000, 2000))


def test_overrides_and_moves_behind_the_audit_are_marked(workspace: Workspace, registry: Registry) -> None:
    decided(registry)
    registry.promote(MODEL, "edit:2", "production", Author("ada", "it burns"), override=True)
    (*_, overridden) = audit_report(workspace).periods
    assert marks(overridden) == ["override"]
    assert "it burns (in spite of retention" in overridden.marks[0].text
    head = registry.resolve(MODEL, "head").id
    with registry.engine.begin() as connection:
        triggers.drop(connection)
        connection.execute(text("UPDATE aliases SET snapshot = :head WHERE name = 'production'"), {"head": head})
    made = audit_report(workspace)
    assert [mark.kind for mark in made.marks] == ["gap"]
    assert f"production points at {head[:12]}" in made.marks[0].text
    assert "▲" in audit_page(made)
    registry.promote(MODEL, "edit:3", "production", Author("ada", "by the book"), override=True)
    (*_, after) = audit_report(workspace).periods
    assert "gap" in marks(after)


def test_only_periods_of_the_asked_time_are_reported(workspace: Workspace, registry: Registry) -> None:
    first, second = audit_report(workspace).periods
    assert second.start is not None
    early = audit_report(workspace, start=0.0, end=second.start)
    assert [period.snapshot and period.snapshot.id for period in early.periods] == [None, first.snapshot.id]  # type: ignore[union-attr]
    assert marks(early.periods[0]) == ["gap"]
    assert audit_report(workspace, start=second.start).periods == (second,)
    assert audit_report(workspace, end=1.0).periods == ()
    with pytest.raises(api.errors.RaieError, match="expected --to after --from"):
        audit_report(workspace, start=2.0, end=1.0)
    with pytest.raises(NotFound, match="'nobody'"):
        audit_report(workspace, "nobody")


def facts(made: AuditReport) -> set[str]:
    """What every form of a report must say."""
    said = {
        made.chain.report.head,
        made.registry,
        "release 7",
        "version 1",
        "evaluation 1 by eve",
        "approved by bob",
    }
    said |= {period.snapshot.id for period in made.periods if period.snapshot}
    return said | {str(data.edit.data_digest) for data in made.data}


def test_page_markdown_and_json_say_the_same_and_render_no_text_of_a_user(
    workspace: Workspace, registry: Registry, raie: Raie
) -> None:
    decided(registry)
    made = audit_report(workspace)
    page, markdown = audit_page(made), audit_markdown(made)
    for shown in (page, markdown):
        assert {fact for fact in facts(made) if fact not in shown} == set()
    assert EVIL not in page
    assert re.search(rf"`[^`\n]*{re.escape(EVIL)}[^`\n]*`", markdown)
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*", page) == []
    value: dict[str, Any] = raie("audit", "report", "--json").json
    assert [period["snapshot"] for period in value["periods"]] == [p.snapshot.id for p in made.periods]  # type: ignore[union-attr]
    assert value["periods"][2]["decision"]["checks"][0]["passed"] is True
    assert [data["digest"] for data in value["data"]] == [data.edit.data_digest for data in made.data]


def test_the_command_writes_one_page_and_a_broken_chain_ends_in_code_5(
    workspace: Workspace, registry: Registry, raie: Raie
) -> None:
    ran = raie("audit", "report", "-o", "audit.html")
    assert (ran.code, ran.out) == (0, "audit.html  2 periods, 2 marked, the chain is whole\n")
    assert Path("audit.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert raie("audit", "report", "-o", "audit.html").code == 1
    assert raie("audit", "report", "--from", "yesterday").code == 2
    with registry.engine.begin() as connection:
        triggers.drop(connection)
        connection.execute(text("UPDATE audit_events SET actor = 'mallory' WHERE id = 4"))
    ran = raie("audit", "report", "--markdown")
    assert ran.code == 5
    assert "event 4 was changed after it was written" in ran.out


def test_an_alias_that_is_gone_still_has_its_history(workspace: Workspace, registry: Registry) -> None:
    trust.set_policy(
        registry, MODEL, "production", {"override": True, "second_person": True}, author=Author("olga")
    )
    registry.rename_alias(MODEL, "production", "live", Author("ada", "one name"), override=True)
    *served, gone = audit_report(workspace).periods
    assert [period.snapshot.edit for period in served if period.snapshot] == [2, 4]
    assert (gone.snapshot, gone.end, marks(gone)) == (None, None, ["gap", "override"])
    (taken_over,) = audit_report(workspace, "live").periods
    assert taken_over.start is not None
    assert taken_over.snapshot == served[-1].snapshot
    registry.delete_alias(MODEL, "live", Author("ada", "the trial is over"))
    first, after = audit_report(workspace, "live").periods
    assert (first.end, marks(after)) == (after.start, ["gap"])
    assert "the trial is over" in audit_page(audit_report(workspace, "live"))


def test_a_browser_shows_the_page_in_both_schemes_no_wider_than_its_window(
    workspace: Workspace, registry: Registry, tmp_path: Path
) -> None:
    decided(registry)
    registry.delete_alias(MODEL, "production", Author("ada", "over"), override=True)
    file = tmp_path / "audit.html"
    file.write_text(audit_page(audit_report(workspace)), encoding="utf-8")
    grounds = set()
    with running_chromium() as browser, browser.page(file, width=1280) as opened:
        for scheme in ("light", "dark"):
            opened.scheme(scheme)
            grounds.add(opened.run("getComputedStyle(document.body).backgroundColor"))
            assert opened.run("document.documentElement.scrollWidth") <= 1280
            assert opened.run(
                "document.querySelector('.wide').scrollWidth <= document.querySelector('.wide').clientWidth"
            )
        assert len(grounds) == 2
        assert opened.run("performance.getEntriesByType('resource').length") == 0
        assert opened.complaints == []
