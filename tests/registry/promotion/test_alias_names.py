"""An alias is deleted or renamed with a reason, under its policy, and everything that looks at aliases knows of it."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from raie.registry import (
    AliasConflict,
    AliasDeleted,
    Author,
    InvalidValue,
    NotFound,
    PromotionRefused,
    Registry,
    Untrusted,
    audit,
    trust,
)
from raie.registry.db.engine import reading, write
from raie.registry.db.tables import aliases, outbox_events
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import verify
from tests.registry.building import MODEL, World

ADA = Author("ada", "the trial is over")


@pytest.fixture
def world(any_database: Registry) -> World:
    world = World(any_database)
    world.setup()
    world.edit(0, text="a")
    world.registry.promote(MODEL, "edit:1", "staging", Author("bob", "to look at"))
    return world


def names(registry: Registry) -> list[str]:
    return [alias.name for alias in registry.aliases(MODEL)]


def events(registry: Registry) -> list[tuple[str, str, str | None, str | None]]:
    with reading(registry.engine) as connection:
        return [(e.action, e.subject, e.source, e.target) for e in audit.events(connection)]


def test_a_deleted_alias_leaves_its_log_its_audit_event_and_its_event_of_the_outbox(world: World) -> None:
    registry, served = world.registry, world.registry.resolve(MODEL, "staging").id
    move = registry.delete_alias(MODEL, "staging", ADA)
    assert (move.source, move.target, move.actor, move.reason) == (served, None, "ada", "the trial is over")
    assert names(registry) == []
    assert registry.alias_history(MODEL, "staging")[0] == move
    assert events(registry)[-1] == ("delete alias", "alias:staging", served, None)
    with reading(registry.engine) as connection:
        kind = connection.execute(outbox_events.select().order_by(outbox_events.c.id.desc())).first()
    assert kind is not None
    assert kind.kind == "alias_deleted"
    assert verify(registry).ok


def test_whoever_asks_for_a_deleted_alias_learns_who_deleted_it_and_why(world: World) -> None:
    registry = world.registry
    registry.delete_alias(MODEL, "staging", ADA)
    for ask in (lambda: registry.resolve(MODEL, "staging"), lambda: trust.served(registry, MODEL, "staging")):
        with pytest.raises(AliasDeleted, match=r"deleted by ada at .* \(the trial is over\).*`raie promote"):
            ask()
    with pytest.raises(NotFound):
        registry.delete_alias(MODEL, "staging", ADA)


def test_an_alias_that_is_made_again_goes_on_with_its_log(world: World) -> None:
    registry = world.registry
    registry.delete_alias(MODEL, "staging", ADA)
    again = registry.promote(MODEL, "head", "staging", Author("bob"))
    assert (again.source, again.repeated) == (None, False)
    assert [move.target is None for move in registry.alias_history(MODEL, "staging")] == [False, True, False]
    assert registry.resolve(MODEL, "staging").edit == 2
    assert verify(registry).ok


def test_a_renamed_alias_points_where_it_did_and_the_old_name_is_gone(world: World) -> None:
    registry, served = world.registry, world.registry.resolve(MODEL, "staging").id
    move = registry.rename_alias(MODEL, "staging", "candidate", Author("ada", "one name"))
    assert (move.alias, move.source, move.target) == ("candidate", None, served)
    assert move.reason == "renamed from staging: one name"
    assert names(registry) == ["candidate"]
    gone = registry.alias_history(MODEL, "staging")[0]
    assert (gone.source, gone.target, gone.reason) == (served, None, "renamed to candidate: one name")
    assert verify(registry).ok


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("nosuch", "candidate", NotFound),
        ("staging", "staging", AliasConflict),
        ("staging", "production", AliasConflict),
        ("staging", "head", InvalidValue),
        ("staging", "abcd", InvalidValue),
        ("staging", "a b", InvalidValue),
    ],
)
def test_a_rename_that_cannot_be_changes_nothing(
    local_registry: Registry, old: str, new: str, error: type[Exception]
) -> None:
    World(local_registry).setup()
    for alias in ("staging", "production"):
        local_registry.promote(MODEL, "head", alias, Author("bob"))
    before = events(local_registry)
    with pytest.raises(error):
        local_registry.rename_alias(MODEL, old, new, ADA)
    assert names(local_registry) == ["production", "staging"]
    assert events(local_registry) == before


def test_a_reason_is_required(local_registry: Registry) -> None:
    World(local_registry).setup()
    local_registry.promote(MODEL, "head", "staging", Author("bob"))
    with pytest.raises(InvalidValue, match="reason"):
        local_registry.delete_alias(MODEL, "staging", Author("ada", " "))
    with pytest.raises(InvalidValue, match="reason"):
        local_registry.rename_alias(MODEL, "staging", "candidate", Author("ada"))
    assert names(local_registry) == ["staging"]


def test_a_protected_alias_is_kept_until_its_protection_is_lifted(local_registry: Registry) -> None:
    registry = local_registry
    World(registry).setup()
    registry.promote(MODEL, "head", "production", Author("bob"))
    trust.set_policy(registry, MODEL, "production", {"second_person": True}, author=Author("owner"))
    for override in (False, True):
        with pytest.raises(PromotionRefused, match=r"`raie policy set production --unprotected --reason"):
            registry.delete_alias(MODEL, "production", ADA, override=override)
        with pytest.raises(PromotionRefused, match="--unprotected"):
            registry.rename_alias(MODEL, "production", "live", ADA, override=override)
    assert names(registry) == ["production"]
    trust.set_policy(registry, MODEL, "production", {"protected": False}, author=Author("owner"))
    registry.delete_alias(MODEL, "production", ADA)
    assert names(registry) == []


def test_an_override_that_the_policy_allows_is_written_into_the_audit(local_registry: Registry) -> None:
    registry = local_registry
    World(registry).setup()
    registry.promote(MODEL, "head", "production", Author("bob"))
    trust.set_policy(registry, MODEL, "production", {"override": True}, author=Author("owner"))
    with pytest.raises(PromotionRefused, match="--override"):
        registry.delete_alias(MODEL, "production", ADA)
    registry.delete_alias(MODEL, "production", ADA, override=True)
    assert [action for action, *_ in events(registry)[-2:]] == ["override", "delete alias"]
    trust.set_policy(registry, MODEL, "production", {"require_signed": True}, author=Author("owner"))
    assert verify(registry).ok


def test_a_new_name_that_is_protected_asks_what_a_promotion_to_it_asks(local_registry: Registry) -> None:
    registry = local_registry
    World(registry).setup()
    registry.promote(MODEL, "head", "staging", Author("bob"))
    trust.set_policy(registry, MODEL, "production", {"second_person": True}, author=Author("owner"))
    with pytest.raises(PromotionRefused, match="second person"):
        registry.rename_alias(MODEL, "staging", "production", ADA)
    assert names(registry) == ["staging"]
    trust.approve(registry, MODEL, "head", "production", author=Author("grace", "seen"))
    registry.rename_alias(MODEL, "staging", "production", ADA)
    assert names(registry) == ["production"]


def test_an_alias_put_back_by_hand_after_its_deletion_is_noticed(local_registry: Registry) -> None:
    registry = local_registry
    served = World(registry).setup().id
    trust.set_policy(registry, MODEL, "production", {}, author=Author("owner"))
    registry.promote(MODEL, "head", "production", Author("bob"))
    trust.set_policy(registry, MODEL, "production", {"protected": False}, author=Author("owner"))
    registry.delete_alias(MODEL, "production", ADA)
    trust.set_policy(registry, MODEL, "production", {"protected": True}, author=Author("owner"))
    row = {"model": MODEL, "name": "production", "snapshot": served, "moved_at": 1.0}
    write(registry.engine, lambda c: c.execute(insert(aliases).values(row)))
    with pytest.raises(Untrusted, match="by hand"):
        registry.resolve(MODEL, "production")
    report = verify(registry)
    assert not report.ok
    assert any("alias 'production'" in problem for problem in report.trust.problems)


def test_what_a_deleted_alias_pointed_at_expires_once_its_time_is_over(local_registry: Registry) -> None:
    registry = local_registry
    world = World(registry)
    world.setup()
    held = world.edit(0, text="a")
    for text in "bc":
        world.edit(0, text=text)
    registry.promote(MODEL, "edit:2", "staging", Author("bob"))
    registry.promote(MODEL, "head", "production", Author("bob"))
    registry.delete_alias(MODEL, "staging", ADA)
    kept = expire(registry, MODEL, Rule(keep_days=1), author=Author("cron"), dry_run=True)
    assert held.id not in {verdict.snapshot for verdict in kept.expired}
    gone = expire(registry, MODEL, Rule(), author=Author("cron"))
    assert held.id in {verdict.snapshot for verdict in gone.expired}
    assert verify(registry).ok
