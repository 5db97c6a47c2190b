"""Expiry through the commands: what goes and what stays and why, shown before it happens."""

from __future__ import annotations

import pytest

from raie.registry import Author, Registry, lineage
from raie.workspace import Workspace
from tests.cli.conftest import Raie


def test_a_dry_run_prints_what_goes_with_its_bytes_and_why_the_rest_is_kept(
    raie: Raie, registry: Registry
) -> None:
    report = raie("expire", "--keep-last", "1", "--dry-run", "--json").json
    assert [row["edit"] for row in report["expired"]] == [3, 2, 1]
    assert report["bytes"] == sum(row["bytes"] for row in report["expired"]) > 0
    reasons = {row["edit"]: row["kept_by"] for row in report["kept"]}
    assert reasons == {
        6: ["the head"],
        5: ["alias staging points at it"],
        4: ["alias production points at it"],
    }
    text = raie("expire", "--keep-last", "1", "--dry-run").out
    for part in ("alias production points at it", "3 snapshots would expire", "3 are kept", "frees"):
        assert part in text
    assert registry.resolve("recsys", "edit:1").expired is None


def test_nothing_expires_without_a_rule_or_without_a_yes(raie: Raie, registry: Registry) -> None:
    assert raie("expire").code == 2
    assert raie("expire", "--keep-last", "0", "--yes").code == 2
    refused = raie("expire", "--keep-last", "1")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert all(entry.snapshot.expired is None for entry in lineage.history(registry, "recsys"))


def test_what_gc_deletes_after_an_expiry_is_what_the_expiry_promised(raie: Raie, registry: Registry) -> None:
    expired = raie("expire", "--keep-last", "1", "--reason", "disk", "--yes", "--json").json
    removed = raie("gc", "--grace", "0", "--yes", "--json").json
    assert removed["bytes"] == expired["bytes"]
    assert raie("verify", "--json").json["expired_snapshots"] == 3
    again = raie("expire", "--keep-last", "1", "--yes", "--json").json
    assert (again["expired"], again["bytes"]) == ([], 0)


def test_days_keep_what_is_young(raie: Raie, workspace: Workspace) -> None:
    report = raie("expire", "--keep-days", "1", "--dry-run", "--json").json
    assert report["expired"] == []
    assert "younger than 1 days" in report["kept"][-1]["kept_by"]


def test_an_expired_snapshot_can_be_looked_at_and_is_refused_where_it_would_be_used(
    raie: Raie, registry: Registry
) -> None:
    first = registry.resolve("recsys", "edit:1").id
    raie("expire", "--keep-last", "1", "--reason", "disk", "--yes")
    raie("gc", "--grace", "0", "--yes")
    for command in (
        ("promote", "edit:1"),
        ("rollback", "--to", "edit:1"),
        ("evaluate", "log.csv", "--ref", "edit:1"),
    ):
        ran = raie(*command)
        assert ran.code == 1
        assert f"{first[:12]} with its blobs, found that it expired at" in ran.err
        assert "by ada: disk (keep-last 1, keep-days 0)" in ran.err
    for command in (("lineage", "edit:1"), ("edit", "diff", "edit:1", "head"), ("regions", "list", "edit:1")):
        ran = raie(*command)
        assert ran.code == 0
        assert f"expired  {first[:12]} at 20" in ran.out
        assert "by ada: disk" in ran.out
    assert raie("lineage", "edit:1", "--json").json["expired"]["reason"] == "disk (keep-last 1, keep-days 0)"
    assert list(raie("edit", "diff", "edit:1", "head", "--json").json["expired"]) == [first]
    assert raie("regions", "list", "edit:1", "--json").json["expired"]["actor"] == "ada"
    drawn = raie("log")
    assert drawn.code == 0
    assert sum("expired" in line for line in drawn.out.splitlines()) == 3
    assert [row["expired"] is None for row in raie("log", "--json").json["snapshots"]] == [True] * 3 + [False] * 3
    assert raie("edit", "show", "2").code == 0


def test_gc_says_what_it_keeps_and_why(raie: Raie, registry: Registry) -> None:
    registry.put(b"young")
    planned = raie("gc", "--dry-run", "--json").json
    assert (planned["deleted"], [blob["size"] for blob in planned["kept"]]) == ([], [5])
    assert planned["kept"][0]["reason"] == "younger than the grace period"
    assert "kept 1 blobs (5 B): younger than the grace period" in raie("gc", "--dry-run").out
    number = registry.begin("recsys", "edit", seed=1, author=Author("ada")).number
    recorded = registry.put(b"recorded")
    registry.record_checkpoint("recsys", number, "region 1", {"lora": recorded})
    reasons = {blob["reason"] for blob in raie("gc", "--dry-run", "--grace", "0", "--json").json["kept"]}
    assert reasons == {"an open edit recorded it"}


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "x"])
def test_days_that_are_none_are_refused(raie: Raie, workspace: Workspace, text: str) -> None:
    assert raie("expire", "--keep-days", text, "--yes").code == 2
