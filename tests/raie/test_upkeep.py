"""A script looks after a registry as the commands do: checks, tidying, backups, keys and the audit chain."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from raie import trust, upkeep
from raie.errors import UsageError
from raie.registry import InvalidValue, Registry
from raie.registry.maintenance.checkpoints import published
from raie.workspace import Workspace


def test_a_verification_keeps_the_chain_head_that_a_later_one_must_find(workspace: Workspace) -> None:
    report = upkeep.verify(workspace)
    assert (report.ok, report.published) == (True, 0)
    assert upkeep.verify(workspace, checkpoint=report.chain.head).published == 1
    number, _, _ = report.chain.head.partition(":")
    assert not upkeep.verify(workspace, checkpoint=f"{number}:{'0' * 64}").ok
    checked = trust.verify_audit(workspace, checkpoint=report.chain.head)
    assert (checked.ok, checked.report.head, checked.in_mlflow) == (True, report.chain.head, None)
    with pytest.raises(InvalidValue, match="the whole hash"):
        trust.verify_audit(workspace, checkpoint="3:zz")


def test_a_dry_run_deletes_nothing_and_keeps_no_chain_head(workspace: Workspace, registry: Registry) -> None:
    unneeded = registry.put(b"nobody's")
    planned = upkeep.gc(workspace, grace_s=0.0, dry_run=True)
    assert [blob.digest for blob in planned.removed] == [unneeded]
    assert registry.store.exists(unneeded)
    with pytest.raises(UsageError, match="what should be kept"):
        upkeep.expire(workspace)
    assert [verdict.edit for verdict in upkeep.expire(workspace, keep_last=1, dry_run=True).expired] == [3, 2, 1]
    assert published(registry) == []
    assert upkeep.gc(workspace, grace_s=0.0).removed == planned.removed
    assert not registry.store.exists(unneeded)
    assert len(published(registry)) == 1


def test_a_backup_is_restored_beside_the_registry_and_can_only_be_read_there(
    workspace: Workspace, tmp_path: Path
) -> None:
    assert upkeep.schema(workspace).up_to_date
    upkeep.claim(workspace)  # the fixture is a copy, store and all
    made = upkeep.backup(workspace, tmp_path / "monday")
    beside = replace(workspace, database=f"sqlite:///{tmp_path / 'again.db'}")
    assert upkeep.schema(beside).missing == str(tmp_path / "again.db")
    done = upkeep.restore(beside, tmp_path / "monday")
    assert done.restored.backup.digest == made.digest
    assert "is a copy" in str(done.read_only)
    assert upkeep.ownership(workspace).read_only is None
    moved = upkeep.move(beside, "a drill")
    assert moved is not None
    assert moved.epoch.number == 2
    assert upkeep.ownership(workspace).read_only is not None


def test_an_export_and_the_log_hold_the_same_events(workspace: Workspace, tmp_path: Path) -> None:
    stream, file = io.BytesIO(), tmp_path / "audit.jsonl"
    count = trust.export_audit(workspace, stream)
    assert trust.export_audit(workspace, file) == count
    assert file.read_bytes() == stream.getvalue()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["id"] for event in events] == [
        event.id for event in trust.audit_log(workspace, limit=count).events
    ][::-1]
    assert trust.audit_log(workspace, limit=1).more
    assert trust.export_audit(workspace, io.BytesIO(), since=count) == 0


def test_a_key_counts_from_the_moment_it_is_trusted_to_the_moment_it_is_revoked(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAIE_SIGNING_PASSPHRASE", raising=False)
    pair = trust.generate_key(tmp_path / "release.pem", ask=lambda what: "a passphrase")
    assert trust.sign(workspace, "head", pair.private, lambda what: "a passphrase").trusted_as is None
    trust.trust_key(workspace, pair.public, "release")
    assert trust.sign(workspace, "head", pair.private, lambda what: "a passphrase").trusted_as == "release"
    assert trust.revoke_key(workspace, "release", reason="lost").key == pair.key
    assert [(event.name, event.trusted) for event in trust.keys(workspace)] == [("release", False)]


def test_what_reads_or_writes_blobs_reports_each_stage_with_its_total(
    workspace: Workspace, tmp_path: Path
) -> None:
    def stages(work: Callable[..., object]) -> dict[str, int]:
        """The stages that were reported, and the total of each, which no report exceeds."""
        reported: list[tuple[str, int, int]] = []
        work(progress=lambda *step: reported.append(step))
        assert all(0 <= done < total for _, done, total in reported)
        return {stage: total for stage, _, total in reported}

    upkeep.claim(workspace)  # the fixture is a copy, store and all
    count = upkeep.verify(workspace).blobs
    assert stages(workspace.verify) == {"reading blobs back": count}
    needed = len(upkeep.backup(workspace, tmp_path / "monday").blobs)
    backup = partial(upkeep.backup, workspace, tmp_path / "tuesday", blobs=True)
    assert stages(backup) == {"copying blobs": needed}
    again = replace(workspace, database=f"sqlite:///{tmp_path / 'again.db'}", store=str(tmp_path / "again"))
    restore = partial(upkeep.restore, again, tmp_path / "tuesday")
    assert stages(restore) == {"looking for blobs": needed, "copying blobs": needed}
    workspace.registry().put_all([b"nobody's", b"nobody's either"])
    assert stages(partial(upkeep.gc, workspace, grace_s=0.0)) == {"deleting blobs": 2}
