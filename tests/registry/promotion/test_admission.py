"""A protected alias lets through what passes its policy when it is moved, and is loaded only as it was moved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from raie.registry import (
    AliasConflict,
    AuditEvent,
    Author,
    InvalidValue,
    NotFound,
    PromotionRefused,
    Registry,
    Snapshot,
    Untrusted,
    audit,
    trust,
)
from raie.registry.db import guards, triggers
from raie.registry.db.engine import reading
from raie.registry.maintenance.trust_rows import check
from raie.registry.maintenance.verify import verify
from raie.registry.promotion import signing
from raie.registry.states import AuditAction
from tests.registry.building import MODEL, World
from tests.registry.db.revisions import settle

GOOD, BAD = 0.01, -0.05


def report(retention: float | None, adaptation: float = 0.1, untouched: tuple[int, ...] = ()) -> dict[str, Any]:
    """An impact report as the engine writes it, as far as a policy reads it."""
    return {
        "retention": {"windows": 9, "Recall@10 change": {"mean": retention}},
        "adaptation": {"windows": 9, "Recall@10 change": {"mean": adaptation}},
        "untouched": list(untouched),
    }


class Team(World):
    """A world with shorthands for what people say about trust."""

    def judged(self, region: int, change_of_recall: float | None, actor: str = "ada", **more: Any) -> Snapshot:
        """An edit of one region by somebody, with its impact report."""
        begun = self.begin(author=Author(actor))
        base = self.registry.resolve(self.model, str(begun.base)).content
        content = self.changed(base, {region: f"{begun.number}"})
        whole_report = report(change_of_recall, untouched=tuple(sorted(base.regions.keys() - {region}))) | more
        return self.commit(begun, content, region, **whole_report)

    def ask(self, alias: str = "production", **fields: Any) -> None:
        trust.set_policy(self.registry, self.model, alias, fields, author=Author("owner", "as agreed"))

    def promote(self, ref: str = "head", alias: str = "production", **more: Any) -> Any:
        return self.registry.promote(self.model, ref, alias, Author("grace", "because"), **more)

    def refused(self, ref: str = "head", alias: str = "production", **more: Any) -> tuple[str, ...]:
        """The violations of a promotion that must be refused and must leave nothing behind."""
        before = self.state()
        with pytest.raises(PromotionRefused) as error:
            self.promote(ref, alias, **more)
        assert "\n" not in str(error.value)
        assert self.state() == before
        return error.value.violations

    def state(self) -> Any:
        return self.registry.aliases(self.model), self.registry.edits(self.model), self.events()

    def events(self) -> list[AuditEvent]:
        with reading(self.registry.engine) as connection:
            return list(audit.events(connection))

    def evaluate(self, ref: str, against: str, measured: dict[str, Any]) -> None:
        trust.record_evaluation(
            self.registry, self.model, ref, against, measured, author=Author("carol", "nightly")
        )

    def approve(self, ref: str, actor: str, alias: str = "production") -> None:
        trust.approve(self.registry, self.model, ref, alias, author=Author(actor, "looked at it"))


def beginning(registry: Registry) -> Team:
    """A setup in production, and an edit of region 1 by ada that lost a little on old windows."""
    team = Team(registry)
    team.setup()
    team.promote("edit:1")
    team.judged(1, BAD)
    return team


@pytest.fixture
def team(local_registry: Registry) -> Team:
    """That team in one database, for rules that are the same in each."""
    return beginning(local_registry)


@pytest.fixture
def anywhere(any_database: Registry) -> Team:
    """That team in each database, for what goes through its locks, its triggers or its queries."""
    return beginning(any_database)


def by_hand(registry: Registry, *statements: str) -> None:
    """What the owner of a database can do."""
    with registry.engine.begin() as connection:
        triggers.drop(connection)
        guards.drop(connection)
        for statement in statements:
            connection.execute(text(statement))
        settle(connection)
        triggers.create(connection)
        guards.create(connection)


# --- Metric checks


def test_a_snapshot_that_loses_more_than_the_policy_allows_is_refused_with_the_gate(anywhere: Team) -> None:
    anywhere.ask(retention=-0.01)
    (violation,) = anywhere.refused()
    assert violation.startswith("retention: expected Recall@10 to change by -0.01 or more")
    assert "-0.05 (edit 2)" in violation
    assert "raie evaluate" in violation
    anywhere.ask(retention=-0.1)
    assert anywhere.promote().target == anywhere.head.id
    assert verify(anywhere.registry).ok


def test_a_gain_on_new_items_alone_passes_no_policy_that_asks_for_one_on_known_items(anywhere: Team) -> None:
    anywhere.ask(adaptation=0.0, adaptation_known=0.0)
    (violation,) = anywhere.refused()
    assert violation.startswith("adaptation, known items: expected Recall@10 to change by +0 or more")
    assert "no such window (edit 2)" in violation
    known = {"adaptation_known": {"windows": 3, "Recall@10 change": {"mean": -0.2}}}
    anywhere.evaluate("head", "production", report(GOOD, 0.8354) | known)
    assert "-0.2 (evaluation 1)" in anywhere.refused()[0]
    known["adaptation_known"]["Recall@10 change"] = {"mean": 0.1}
    anywhere.evaluate("head", "production", report(GOOD, 0.1) | known)
    assert anywhere.promote().target == anywhere.head.id
    assert verify(anywhere.registry).ok


def test_every_gate_that_failed_is_named_at_once(team: Team) -> None:
    team.ask(retention=0.0, adaptation=0.5, second_person=True, require_signed=True)
    names = [line.partition(":")[0] for line in team.refused()]
    assert names[:2] == ["retention", "adaptation"]
    assert names[-2:] == ["second person", "signature"]


def test_a_newer_evaluation_takes_the_place_of_an_older_one_for_better_or_worse(anywhere: Team) -> None:
    anywhere.ask(retention=-0.01)
    anywhere.evaluate("head", "production", report(GOOD))
    anywhere.evaluate("head", "edit:2", report(BAD))
    rehearsed = trust.rehearse(anywhere.registry, MODEL, "head", "production")
    assert rehearsed.accepted
    assert "evaluation 1" in rehearsed.checks[0].line
    anywhere.evaluate("head", "production", report(BAD))
    assert "evaluation 3" in anywhere.refused()[0]
    anywhere.evaluate("head", "production", report(None))
    assert "no such window" in anywhere.refused()[0]


def test_an_evaluation_counts_only_against_what_the_alias_serves(team: Team) -> None:
    team.judged(1, GOOD)
    team.ask(retention=0.0)
    # Edit 3 lost nothing against edit 2; against the setup, which is served, nobody has measured it.
    assert "no evaluation against what production serves" in team.refused()[0]
    team.evaluate("head", "production", report(GOOD))
    team.promote()
    assert "no evaluation" in team.refused("edit:2")[0]


def test_a_promotion_in_between_makes_an_evaluation_one_of_something_else(team: Team) -> None:
    team.ask(retention=0.0)
    team.evaluate("head", "production", report(GOOD))
    assert trust.rehearse(team.registry, MODEL, "head", "production").accepted
    team.ask(protected=False)
    team.judged(0, GOOD)
    team.promote("edit:3")
    team.ask(protected=True)
    assert "no evaluation" in team.refused("edit:2")[0]


def test_equal_contents_share_their_evaluations(team: Team) -> None:
    team.ask(retention=0.0)
    team.evaluate("edit:2", "production", report(GOOD))
    team.judged(0, GOOD)
    again = team.registry.rollback_to(MODEL, "edit:2", Author("ada"))
    assert again.id != team.registry.resolve(MODEL, "edit:2").id
    assert team.promote().target == again.id


def test_an_edit_that_was_replayed_on_another_head_is_not_what_was_judged(team: Team) -> None:
    base = team.registry.resolve(MODEL, "edit:2")
    begun = team.begin(base)
    team.judged(0, GOOD)
    landed = team.commit(begun, team.changed(base.content, {2: "late"}), 2, **report(GOOD, untouched=(0, 1)))
    assert landed.parent != base.id
    team.promote("edit:2")
    team.ask(retention=0.0)
    assert "no evaluation" in team.refused()[0]


def test_old_evaluations_are_refused_until_they_are_renewed(team: Team) -> None:
    team.ask(max_age_s=3600.0)
    assert trust.rehearse(team.registry, MODEL, "head", "production").accepted
    by_hand(team.registry, "UPDATE edits SET closed_at = closed_at - 7200")
    assert "0.1 days old (edit 2)" in team.refused()[0]
    team.evaluate("head", "production", report(BAD))
    assert team.promote().target == team.head.id


def test_the_newest_evaluation_is_the_last_one_recorded_whatever_the_clocks_said(
    anywhere: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    anywhere.ask(retention=0.0)
    now = time.time()
    for offset in (3e6, 1e6, 0.0):
        monkeypatch.setattr(time, "time", lambda offset=offset: now + offset)
        anywhere.evaluate("head", "production", report(GOOD))
        anywhere.evaluate("head", "production", report(BAD))
    assert "-0.05 (evaluation 6)" in anywhere.refused()[0], "a clock that was ahead once must not decide for ever"
    anywhere.evaluate("head", "production", report(GOOD))
    assert anywhere.promote().target == anywhere.head.id


def test_an_edit_that_landed_after_an_evaluation_is_newer_though_its_clock_was_behind(
    anywhere: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    anywhere.ask(retention=0.0)
    anywhere.evaluate("head", "production", report(GOOD))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 1e6)
    begun = anywhere.begin(anywhere.registry.resolve(MODEL, "edit:1"), author=Author("ada"))
    anywhere.registry.rollback_to(MODEL, "edit:1", Author("ada"))
    content = anywhere.registry.resolve(MODEL, "edit:2").content
    anywhere.commit(begun, content, 1, **report(BAD))
    assert f"-0.05 (edit {begun.number})" in anywhere.refused()[0]


def test_a_region_that_a_report_calls_untouched_must_be_so_byte_for_byte(team: Team) -> None:
    team.ask(locality=True)
    assert trust.rehearse(team.registry, MODEL, "head", "production").accepted
    team.evaluate("head", "production", report(GOOD, untouched=(0, 1, 2)))
    assert "another region 1 (evaluation 1)" in team.refused()[0]
    team.evaluate("head", "production", {"retention": "no such thing", "untouched": "all"})
    assert "no word of what was left untouched" in team.refused()[0]


def test_the_first_promotion_has_nothing_to_be_compared_with(local_registry: Registry) -> None:
    team = Team(local_registry)
    team.setup()
    team.ask(retention=0.0, adaptation=0.0, locality=True, max_age_s=60.0)
    assert team.promote("edit:1").source is None
    team.ask("canary", second_person=True)
    assert "no approval" in team.refused("edit:1", "canary")[0]


def test_the_same_content_again_has_nothing_to_be_compared_with_either(team: Team) -> None:
    team.ask(retention=0.5, locality=True, max_age_s=60.0)
    again = team.registry.rollback_to(MODEL, "edit:1", Author("ada"))
    assert team.promote().target == again.id
    assert trust.rehearse(team.registry, MODEL, "production", "production").accepted


# --- People


def test_nobody_approves_what_he_made_himself(team: Team) -> None:
    team.ask(second_person=True)
    assert "no approval" in team.refused()[0]
    team.approve("head", "ada")
    assert "other than ada, found approval by ada" in team.refused()[0]
    team.approve("head", "bob", alias="staging")
    team.approve("edit:1", "bob")
    assert team.refused(), "an approval is of one snapshot for one alias"
    team.approve("head", "bob")
    assert team.promote().target == team.head.id


def test_whoever_made_a_region_of_it_is_an_author_though_somebody_else_made_the_last_edit(anywhere: Team) -> None:
    anywhere.judged(0, GOOD, actor="bob")
    anywhere.ask(second_person=True)
    anywhere.approve("head", "ada")
    assert "other than ada and bob" in anywhere.refused()[0]
    anywhere.approve("head", "grace")
    assert anywhere.promote().target == anywhere.head.id, "who promotes may be who approved"


def test_an_approval_needs_a_reason_and_is_given_once(team: Team) -> None:
    with pytest.raises(InvalidValue, match="reason"):
        trust.approve(team.registry, MODEL, "head", "production", author=Author("bob", " "))
    with pytest.raises(NotFound):
        trust.approve(team.registry, MODEL, "edit:9", "production", author=Author("bob", "x"))
    first = trust.approve(team.registry, MODEL, "head", "production", author=Author("bob", "once"))
    assert trust.approve(team.registry, MODEL, "head", "production", author=Author("bob", "twice")) == first
    assert [event.action for event in team.events()].count("approve") == 1


def test_an_author_in_other_letters_does_not_approve(team: Team) -> None:
    team.ask(second_person=True)
    for name in ("Ada", "\uff41\uff44\uff41"):
        team.approve("head", name)
        assert team.refused(), name
    team.approve("head", "bob")
    assert team.promote().target == team.head.id


def test_an_approval_that_is_taken_back_counts_no_more_until_it_is_given_again(anywhere: Team) -> None:
    registry = anywhere.registry
    anywhere.ask(second_person=True)
    anywhere.approve("head", "bob")
    taken = trust.withdraw(registry, MODEL, "head", "production", author=Author("Bob", "looked again"))
    assert taken.withdrawn
    assert trust.withdraw(registry, MODEL, "head", "production", author=Author("bob", "again")) == taken
    assert "no approval" in anywhere.refused()[0]
    anywhere.approve("head", "grace")
    trust.withdraw(registry, MODEL, "head", "production", author=Author("grace", "me too"))
    anywhere.approve("head", "bob")
    assert anywhere.promote().target == anywhere.head.id
    actions = [event.action for event in anywhere.events() if event.action in ("approve", "withdraw")]
    assert actions == ["approve", "withdraw", "approve", "withdraw", "approve"]
    assert verify(registry).ok


def test_nobody_takes_back_what_somebody_else_approved(team: Team) -> None:
    team.approve("head", "bob")
    with pytest.raises(NotFound, match="by ada, found approval by bob; only who gave one takes it back"):
        trust.withdraw(team.registry, MODEL, "head", "production", author=Author("ada", "no"))
    with pytest.raises(InvalidValue, match="reason"):
        trust.withdraw(team.registry, MODEL, "head", "production", author=Author("bob", " "))


# --- Overrides


def test_an_override_needs_a_policy_that_allows_it_and_a_reason_and_stays_in_the_audit(anywhere: Team) -> None:
    anywhere.ask(retention=0.0)
    assert anywhere.refused(override=True)
    anywhere.ask(override=True)
    with pytest.raises(PromotionRefused, match="--override --reason"):
        anywhere.promote()
    with pytest.raises(InvalidValue, match="reason for the override"):
        anywhere.registry.promote(MODEL, "head", "production", Author("grace", " "), override=True)
    served = anywhere.registry.resolve(MODEL, "production").id
    anywhere.promote(override=True)
    logged, moved = anywhere.events()[-2:]
    assert (logged.action, logged.subject, logged.source, logged.target) == (
        "override",
        "alias:production",
        served,
        anywhere.head.id,
    )
    assert logged.reason.startswith("because (in spite of retention: expected")
    assert moved.action == "promote"
    assert verify(anywhere.registry).ok


def test_an_override_of_nothing_is_an_ordinary_promotion(team: Team) -> None:
    team.ask(retention=-0.5, override=True)
    team.promote(override=True)
    assert "override" not in [event.action for event in team.events()]


def test_a_signature_is_never_overridden(team: Team) -> None:
    team.ask(retention=0.0, require_signed=True, override=True)
    assert len(team.refused(override=True)) == 2


# --- Compositions


def test_a_cherry_pick_must_show_what_every_snapshot_must(anywhere: Team) -> None:
    anywhere.ask(retention=-0.01, second_person=True)
    anywhere.promote("production", "trial")
    before, blobs = anywhere.state(), sorted(blob.digest for blob in anywhere.registry.store.iterate())
    with pytest.raises(PromotionRefused):
        anywhere.registry.promote_region(MODEL, 1, 2, "production", Author("grace"))
    assert (anywhere.state(), sorted(blob.digest for blob in anywhere.registry.store.iterate())) == (before, blobs)
    anywhere.judged(0, GOOD)
    picked, _ = anywhere.registry.promote_region(MODEL, 0, 2, "trial", Author("grace"))
    assert not trust.rehearse_region(anywhere.registry, MODEL, 0, 2, "production", author=Author("grace")).accepted
    anywhere.evaluate("trial", "production", report(GOOD))
    anywhere.approve("trial", "grace")
    assert anywhere.refused("trial"), "grace picked it herself"
    anywhere.approve("trial", "bob")
    served, move = anywhere.registry.promote_region(MODEL, 0, 2, "production", Author("grace"))
    assert (served.id, move.target) == (picked.id, picked.id)
    assert verify(anywhere.registry).ok


def test_a_cherry_pick_can_be_overridden_like_any_other(team: Team) -> None:
    team.ask(retention=0.0, override=True)
    team.judged(0, GOOD)
    served, _ = team.registry.promote_region(MODEL, 0, 2, "production", Author("grace", "urgent"), override=True)
    assert team.registry.resolve(MODEL, "production").id == served.id
    assert [event.action for event in team.events()[-3:]] == [AuditAction.CHERRY_PICK, "override", "promote"]


# --- Signatures


def test_only_a_signature_by_a_trusted_key_lets_a_snapshot_through(team: Team) -> None:
    release, stranger = signing.generate(), signing.generate()
    team.ask(require_signed=True)
    assert "found none" in team.refused()[0]
    trust.sign(team.registry, MODEL, "head", stranger, author=Author("eve"))
    assert "found none" in team.refused()[0]
    trust.trust_key(team.registry, MODEL, release.key, "release", author=Author("owner"))
    trust.sign(team.registry, MODEL, "edit:1", release, author=Author("ci"))
    assert team.refused(), "a signature is of one snapshot"
    trust.sign(team.registry, MODEL, "head", release, author=Author("ci"))
    assert team.promote().target == team.head.id
    assert verify(team.registry).ok
    assert verify(team.registry).trust.signatures == 3


def test_what_an_alias_serves_is_checked_again_whenever_it_is_loaded(anywhere: Team) -> None:
    release = signing.generate()
    trust.trust_key(anywhere.registry, MODEL, release.key, "release", author=Author("owner"))
    signed = trust.sign(anywhere.registry, MODEL, "head", release, author=Author("ci"))
    anywhere.ask(require_signed=True)
    anywhere.promote()
    assert anywhere.registry.resolve(MODEL, "production").id == signed.snapshot
    trust.revoke_key(anywhere.registry, MODEL, "release", author=Author("owner", "lost laptop"))
    with pytest.raises(Untrusted, match="raie sign"):
        anywhere.registry.resolve(MODEL, "production")
    assert any("requires a trusted signature" in problem for problem in verify(anywhere.registry).trust.problems)
    assert anywhere.registry.resolve(MODEL, signed.snapshot).id == signed.snapshot, "by its id nothing is promised"
    with pytest.raises(Untrusted):
        trust.servable(anywhere.registry, MODEL, signed.snapshot)
    again = signing.generate()
    trust.trust_key(anywhere.registry, MODEL, again.key, "release", author=Author("owner"))
    trust.sign(anywhere.registry, MODEL, "production", again, author=Author("ci"))
    assert anywhere.registry.resolve(MODEL, "production").id == signed.snapshot
    assert trust.servable(anywhere.registry, MODEL, signed.snapshot).id == signed.snapshot


MOVED = "UPDATE aliases SET snapshot = (SELECT result FROM edits WHERE number = 2) WHERE name = 'production'"
LOGGED = (
    "INSERT INTO alias_moves (model, alias, source, target, actor, reason, at) "
    "SELECT model, 'production', NULL, result, 'ada', '', 1 FROM edits WHERE number = 2"
)


def test_a_row_that_was_moved_by_hand_is_noticed_at_the_next_load(team: Team) -> None:
    team.ask(locality=True)
    by_hand(team.registry, MOVED)
    with pytest.raises(Untrusted, match="moved by hand"):
        team.registry.resolve(MODEL, "production")
    assert any("its log says" in problem for problem in verify(team.registry).references)


def test_a_row_moved_by_hand_with_its_log_is_not_in_the_audit(anywhere: Team) -> None:
    release = signing.generate()
    trust.trust_key(anywhere.registry, MODEL, release.key, "release", author=Author("owner"))
    trust.sign(anywhere.registry, MODEL, "production", release, author=Author("ci"))
    anywhere.ask(require_signed=True)
    assert anywhere.registry.resolve(MODEL, "production").edit == 1
    by_hand(anywhere.registry, MOVED, LOGGED)
    with pytest.raises(Untrusted, match="where the audit says"):
        anywhere.registry.resolve(MODEL, "production")
    assert any("move 2 of an alias" in problem for problem in verify(anywhere.registry).trust.problems)


def test_a_move_that_was_undone_by_hand_with_its_log_is_noticed_at_the_next_load(anywhere: Team) -> None:
    anywhere.ask(locality=True)
    anywhere.evaluate("head", "production", report(GOOD, untouched=(0, 2)))
    anywhere.promote()
    by_hand(
        anywhere.registry,
        "UPDATE aliases SET snapshot = (SELECT source FROM alias_moves WHERE id = 2)",
        "DELETE FROM alias_moves WHERE id = 2",
    )
    with pytest.raises(Untrusted, match="where the audit says"):
        anywhere.registry.resolve(MODEL, "production")


TAMPERED = {
    "UPDATE signatures SET signature = '00' || substr(signature, 3)": "is not valid",
    "UPDATE signatures SET actor = 'eve'": "signature of",
    "UPDATE policies SET policy = replace(policy, 'true', 'false')": "policy 1 of 'production'",
    "UPDATE policies SET policy = '{}'": "upgrade raie",
    "UPDATE approvals SET actor = 'bob'": "approval of",
    "UPDATE evaluations SET report = '{}'": "evaluation 1",
    "UPDATE key_events SET name = 'other'": "word 1 on key 'other'",
    "DELETE FROM audit_events WHERE action = 'approve'": "approval of",
}


def test_verify_names_every_word_of_trust_that_was_changed_by_hand(anywhere: Team) -> None:
    release = signing.generate()
    trust.trust_key(anywhere.registry, MODEL, release.key, "release", author=Author("owner"))
    trust.sign(anywhere.registry, MODEL, "head", release, author=Author("ci"))
    anywhere.approve("head", "ada")
    anywhere.evaluate("head", "production", report(GOOD))
    anywhere.ask(require_signed=True, second_person=True)
    trust.sign(anywhere.registry, MODEL, "production", release, author=Author("ci"))
    assert verify(anywhere.registry).ok
    for statement, problem in TAMPERED.items():
        with anywhere.registry.engine.connect() as connection:
            triggers.drop(connection)
            connection.execute(text(statement))
            lines = check(connection).problems
            connection.rollback()
        assert any(problem in line for line in lines), (statement, lines)
    assert verify(anywhere.registry).ok


# --- Keys


def test_a_key_is_trusted_under_one_name_and_revoked_by_it_or_by_its_first_characters(team: Team) -> None:
    registry, a, b = team.registry, "a" * 64, "ab" * 32
    first = trust.trust_key(registry, MODEL, a, "release", author=Author("owner", "CI"))
    assert trust.trust_key(registry, MODEL, a, "release", author=Author("owner")) == first
    with pytest.raises(InvalidValue, match="no other trusted key"):
        trust.trust_key(registry, MODEL, b, "release", author=Author("owner"))
    trust.trust_key(registry, MODEL, b, "laptop", author=Author("owner"))
    for name in ("nobody", "aa", "b" * 64):
        with pytest.raises(NotFound, match="raie keys list"):
            trust.revoke_key(registry, MODEL, name, author=Author("owner"))
    assert trust.revoke_key(registry, MODEL, "abab", author=Author("owner")).name == "laptop"
    revoked = trust.revoke_key(registry, MODEL, "release", author=Author("owner"))
    assert trust.revoke_key(registry, MODEL, "release", author=Author("owner")) == revoked
    trust.trust_key(registry, MODEL, b, "release", author=Author("owner"))
    assert [(event.key, event.name, event.trusted) for event in trust.keys(registry, MODEL)] == [
        (a, "release", False),
        (b, "release", True),
    ]
    logged = [event.action for event in team.events() if event.subject.startswith("key:")]
    assert logged == ["trust key", "trust key", "revoke key", "revoke key", "trust key"]


def test_signing_again_with_the_same_key_is_the_same_signature(team: Team) -> None:
    release = signing.generate()
    first = trust.sign(team.registry, MODEL, "head", release, author=Author("ci", "once"))
    assert trust.sign(team.registry, MODEL, "head", release, author=Author("ci", "twice")) == first
    trust.sign(team.registry, MODEL, "head", signing.generate(), author=Author("ci"))
    assert len(trust.signatures(team.registry, MODEL, "head")) == 2


# --- Policies


def test_a_policy_is_changed_field_by_field_and_every_version_is_kept(anywhere: Team) -> None:
    anywhere.ask(retention=-0.01)
    anywhere.ask(second_person=True)
    anywhere.ask(second_person=True)
    versions = trust.policies(anywhere.registry, MODEL, "production")
    assert [(v.version, v.policy.retention, v.policy.second_person) for v in versions] == [
        (2, -0.01, True),
        (1, -0.01, False),
    ]
    logged = [event for event in anywhere.events() if event.action == "policy"]
    assert [event.subject for event in logged] == ["policy:1 of alias:production", "policy:2 of alias:production"]
    assert logged[1].source == logged[0].target
    with pytest.raises(InvalidValue):
        anywhere.ask(quorum=3)
    with pytest.raises(InvalidValue):
        anywhere.ask("head", locality=True)
    with pytest.raises(NotFound):
        trust.set_policy(anywhere.registry, "nobody", "production", {}, author=Author("owner"))


def test_an_alias_without_a_policy_or_with_a_lifted_one_moves_as_ever(team: Team) -> None:
    team.ask(retention=0.9)
    team.ask(protected=False)
    assert team.promote("edit:2").target == team.head.id
    assert team.promote("edit:2", "staging").source is None
    assert trust.rehearse(team.registry, MODEL, "edit:1", "production").checks == ()


def test_moving_an_alias_where_it_is_already_asks_nothing(team: Team) -> None:
    moved = team.registry.alias_history(MODEL, "production")[0]
    team.ask(require_signed=True)
    assert team.promote("edit:1") == moved


# --- Races


def test_of_a_policy_and_a_promotion_at_once_neither_gets_around_the_other(anywhere: Team) -> None:
    """Whatever comes first, production is moved only under the policy of that moment."""
    outcomes: list[str] = []

    def attempt(name: str, act: Callable[[], Any]) -> None:
        try:
            act()
            outcomes.append(name)
        except PromotionRefused:
            outcomes.append("refused")

    for _ in range(4):
        anywhere.ask(protected=False)
        anywhere.promote("edit:1")
        outcomes.clear()
        acts = {
            "promoted": lambda: anywhere.promote("edit:2"),
            "set": lambda: anywhere.ask(protected=True, retention=0.9),
        }
        threads = [threading.Thread(target=attempt, args=pair) for pair in acts.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        order = [event.action for event in anywhere.events()[-2:]]
        if "refused" in outcomes:
            assert order[-1] == "policy"
            assert anywhere.registry.aliases(MODEL)[0].snapshot == anywhere.registry.resolve(MODEL, "edit:1").id
        else:
            assert order == ["promote", "policy"]


def test_an_evaluation_is_void_once_another_promotion_moved_the_alias_first(team: Team) -> None:
    team.ask(retention=0.0)
    team.evaluate("head", "production", report(GOOD))
    team.judged(0, GOOD)
    team.evaluate("edit:3", "production", report(GOOD))
    team.promote("edit:3")
    assert "no evaluation" in team.refused("edit:2")[0]
    with pytest.raises(AliasConflict):
        team.promote("edit:2", expected="edit:1")
