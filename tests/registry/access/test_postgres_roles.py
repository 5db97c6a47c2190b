"""Each role can do its job through the registry, and nothing else, whatever SQL it writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError

from raie import migrations
from raie.registry import AccessDenied, Author, InvalidValue, Registry, trust
from raie.registry.access.held_rights import HeldRights, held_rights
from raie.registry.access.postgres_roles import RIGHTS, grant, statements
from raie.registry.db.engine import reading, write
from raie.registry.db.tables import APPEND_ONLY_TABLES, metadata
from raie.registry.edits import notes
from raie.registry.events.delivery import Consumer, deliver
from raie.registry.events.event_types import EventType
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from tests.registry.building import MODEL, World
from tests.registry.events.test_delivery import Ledger

_numbers = itertools.count(1)
ROLES = tuple(RIGHTS)


@dataclass(frozen=True)
class Team:
    """The owner's registry, and the same one as each role opens it."""

    owner: World
    roles: dict[str, Registry]

    def sql(self, role: str, *lines: str) -> None:
        """Hand-written SQL, in one transaction."""

        def step(connection: Connection) -> None:
            for line in lines:
                connection.execute(text(line))

        write(self.roles[role].engine, step)


@pytest.fixture
def team(postgres_url: str, scratch: Path) -> Iterator[Team]:
    """A model with two edits, production protected and at the setup, and a login for each role."""
    migrations.upgrade(postgres_url)
    registry = Registry.open(postgres_url, str(scratch / "store"))
    owner = World(registry)
    owner.setup()
    owner.edit(0, text="a")
    registry.promote(MODEL, "edit:1", "production", Author("ada"))
    registry.promote(MODEL, "edit:1", "staging", Author("ada"))
    trust.set_policy(registry, MODEL, "production", {"second_person": True}, author=Author("owner"))
    prefix = f"t{next(_numbers)}"
    assert grant(registry.engine, prefix, author=Author("owner")) == [f"{prefix}_{role}" for role in ROLES]
    logins = {role: f"{prefix}_{role}_login" for role in ROLES}
    for role, login in logins.items():
        run(registry, f"CREATE ROLE {login} LOGIN", f"GRANT {prefix}_{role} TO {login}")
    opened = {}
    for role, login in logins.items():
        url = make_url(postgres_url).set(username=login).render_as_string(hide_password=False)
        opened[role] = Registry.open(url, str(scratch / "store"))
    yield Team(owner, opened)
    for role in ROLES:
        run(registry, f"DROP ROLE {logins[role]}", f"DROP OWNED BY {prefix}_{role}", f"DROP ROLE {prefix}_{role}")


def run(registry: Registry, *lines: str) -> None:
    with registry.engine.begin() as connection:
        for line in lines:
            connection.execute(text(line))


def test_every_role_reads_and_a_reader_does_nothing_else(team: Team) -> None:
    for registry in team.roles.values():
        assert registry.resolve(MODEL, "production").edit == 1
        assert registry.edits(MODEL)[0].number == 2
        assert trust.policies(registry, MODEL)[0].policy.second_person
    team.owner.registry.put(b"nobody names me")
    reader = World(team.roles["reader"])
    for forbidden in (
        lambda: reader.registry.put(b"new"),
        lambda: reader.begin(),
        lambda: reader.registry.promote(MODEL, "head", "staging", Author("eve")),
        lambda: trust.approve(reader.registry, MODEL, "head", "production", author=Author("eve", "mine")),
        lambda: gc(reader.registry, author=Author("eve"), grace_s=0),
    ):
        with pytest.raises(AccessDenied) as refused:
            forbidden()
        assert "\n" not in str(refused.value)
        assert "role" in str(refused.value)


def test_an_editor_edits_rolls_back_and_moves_what_nobody_protects(team: Team) -> None:
    editor = World(team.roles["editor"])
    snapshot = editor.edit(1, text="b")
    assert editor.registry.promote(MODEL, "head", "staging", Author("bob")).target == snapshot.id
    assert editor.registry.promote(MODEL, "head", "candidate", Author("bob")).source is None
    picked, _ = editor.registry.promote_region(MODEL, 0, 1, "staging", Author("bob"))
    assert picked.content.regions[0] == team.owner.registry.resolve(MODEL, "edit:1").content.regions[0]
    assert editor.registry.rollback_edit(MODEL, 3, Author("bob")).parent == snapshot.id
    report = {"retention": {"Recall@10 change": {"mean": 0.0}}}
    trust.record_evaluation(editor.registry, MODEL, "head", "production", report, author=Author("bob"))
    second = World(editor.registry, "another model")
    assert second.setup().model == "another model"
    seen: list[int] = []
    (sent,) = deliver(editor.registry.engine, [Consumer("ledger", frozenset(EventType), Ledger(seen=seen))])
    assert sent.delivered == len(seen) > 5
    assert verify(editor.registry).ok


def test_an_editor_deletes_and_renames_what_nobody_protects_and_a_promoter_what_a_policy_lets_pass(
    team: Team,
) -> None:
    editor, promoter, ended = team.roles["editor"], team.roles["promoter"], Author("bob", "over")
    editor.rename_alias(MODEL, "staging", "candidate", ended)
    editor.delete_alias(MODEL, "candidate", ended)
    trust.set_policy(team.owner.registry, MODEL, "production", {"override": True}, author=Author("owner"))
    with pytest.raises(AccessDenied, match="alias production of recsys is protected"):
        editor.delete_alias(MODEL, "production", ended, override=True)
    for role in ("reader", "collector"):
        with pytest.raises(AccessDenied):
            team.roles[role].delete_alias(MODEL, "production", ended, override=True)
    promoter.delete_alias(MODEL, "production", ended, override=True)
    assert team.owner.registry.aliases(MODEL) == []
    assert verify(team.owner.registry).ok


def test_an_alias_is_deleted_by_nobody_without_the_row_that_records_it(team: Team) -> None:
    gone = "INSERT INTO alias_moves (model, alias, source, actor, reason, at) SELECT model, name, snapshot, 'eve', '', 1"
    for lines in (
        ["DELETE FROM aliases WHERE name = 'staging'"],
        [f"{gone} FROM aliases WHERE name = 'staging'"],
        [f"{gone} FROM aliases WHERE name = 'staging'", "DELETE FROM aliases WHERE name = 'staging'"],
    ):
        with pytest.raises((AccessDenied, DBAPIError), match=r"recorded together with|together with the row"):
            team.sql("editor", *lines)
    assert team.owner.registry.resolve(MODEL, "staging").edit == 1
    assert verify(team.owner.registry).ok


def test_each_role_is_known_by_its_rights_and_one_that_lacks_some_by_what_it_lacks(team: Team) -> None:
    def held(registry: Registry) -> HeldRights:
        with reading(registry.engine) as connection:
            rights = held_rights(connection)
        assert rights is not None
        return rights

    assert {role: held(registry).roles for role, registry in team.roles.items()} == {
        "reader": ("reader",),
        "editor": ("reader", "editor"),
        "promoter": ("reader", "promoter"),
        "collector": ("reader", "collector"),
    }
    assert held(team.owner.registry).owner
    login = str(team.roles["editor"].engine.url.username)
    run(team.owner.registry, f"REVOKE DELETE ON aliases FROM {login.removesuffix('_login')}")
    lacking = held(team.roles["editor"])
    assert (lacking.roles, dict(lacking.lacking)) == (("reader",), {"editor": ("DELETE on aliases",)})


def test_editors_and_promoters_write_notes_and_tags_in_their_own_name(team: Team) -> None:
    for role in ("editor", "promoter"):
        write(team.roles[role].engine, lambda c: notes.note(c, MODEL, "head", Author("bob", "clicks fell")))
        write(team.roles[role].engine, lambda c: notes.tag(c, MODEL, "edit:1", "first", Author("bob")))
        write(team.roles[role].engine, lambda c: notes.untag(c, MODEL, "edit:1", "first", Author("bob")))
    for role in ("reader", "collector"):
        with pytest.raises(AccessDenied):
            write(team.roles[role].engine, lambda c: notes.note(c, MODEL, "head", Author("eve", "mine")))
    assert verify(team.owner.registry).ok


def test_an_editor_brings_back_what_had_expired(team: Team) -> None:
    registry = team.owner.registry
    team.owner.edit(1, text="b")
    picked, _ = registry.promote_region(MODEL, 1, 2, "staging", Author("ada"))
    registry.promote(MODEL, "head", "staging", Author("ada"))
    registry.promote(MODEL, "edit:1", "staging", Author("ada"))
    assert picked.id in {
        verdict.snapshot for verdict in expire(registry, MODEL, Rule(), author=Author("cron")).expired
    }
    again, _ = team.roles["editor"].promote_region(MODEL, 1, 2, "staging", Author("bob"))
    assert again.id == picked.id
    assert again.expired is None


def test_an_editor_moves_no_protected_alias_through_the_registry(team: Team) -> None:
    trust.set_policy(team.owner.registry, MODEL, "production", {"second_person": False}, author=Author("owner"))
    with pytest.raises(AccessDenied, match="alias production of recsys is protected"):
        team.roles["editor"].promote(MODEL, "head", "production", Author("eve"))
    with pytest.raises(AccessDenied, match="permission denied"):
        trust.approve(team.roles["editor"], MODEL, "head", "production", author=Author("eve", "me too"))
    assert team.owner.registry.resolve(MODEL, "production").edit == 1
    assert verify(team.owner.registry).ok


REFUSALS = ("permission denied", "is protected", "must be owner", "never rewritten")
MOVED = "snapshot = (SELECT snapshot FROM heads), moved_at = 1"
BY_HAND = {
    "update": [f"UPDATE aliases SET {MOVED} WHERE name = 'production'"],
    "rename": ["UPDATE aliases SET name = 'production' WHERE name = 'staging'"],
    "delete": ["DELETE FROM aliases WHERE name = 'production'"],
    "upsert": [
        "INSERT INTO aliases SELECT model, 'production', snapshot, 1 FROM heads ON CONFLICT (model, name) "
        "DO UPDATE SET snapshot = excluded.snapshot"
    ],
    "a move in the log": [
        "INSERT INTO alias_moves (model, alias, target, actor, reason, at) "
        "SELECT model, 'production', snapshot, 'ada', '', 1 FROM heads"
    ],
    "another table of that name": [
        "CREATE TEMPORARY TABLE policies (model text, alias text, version int, policy text)",
        "SET LOCAL search_path = pg_temp, public",
        f"UPDATE aliases SET {MOVED} WHERE name = 'production'",
    ],
    "another function of that name": [
        "CREATE FUNCTION pg_temp.has_table_privilege(name, text, text) RETURNS boolean "
        "LANGUAGE sql AS 'SELECT true'",
        "SET LOCAL search_path = pg_temp, public",
        f"UPDATE aliases SET {MOVED} WHERE name = 'production'",
    ],
    "no triggers": [
        "SET session_replication_role = replica",
        f"UPDATE aliases SET {MOVED} WHERE name = 'production'",
    ],
    "dropped trigger": ["DROP TRIGGER aliases_protected ON aliases"],
    "another role": ["SET ROLE postgres", f"UPDATE aliases SET {MOVED} WHERE name = 'production'"],
    "no policy": [
        "INSERT INTO policies SELECT model, alias, 2, '{\"protected\": false}', 'eve', '', 1 FROM policies",
        f"UPDATE aliases SET {MOVED} WHERE name = 'production'",
    ],
    "another report": ["UPDATE edits SET report = '{}' WHERE number = 2"],
    "an edit opened again": ["UPDATE edits SET state = 'running', result = NULL WHERE number = 2"],
    "a trusted key": [
        "INSERT INTO key_events (model, key, action, name, actor, reason, at) VALUES "
        "('recsys', repeat('a', 64), 'trust', 'eve', 'eve', '', 1)"
    ],
}


def test_an_editor_moves_no_protected_alias_with_sql_of_its_own(team: Team) -> None:
    served = team.owner.registry.resolve(MODEL, "edit:1").id
    for what, lines in BY_HAND.items():
        with pytest.raises((AccessDenied, DBAPIError)) as refused:
            team.sql("editor", *lines)
        assert any(words in str(refused.value) for words in REFUSALS), what
        assert team.owner.registry.resolve(MODEL, "production").id == served, what
    assert [move.target for move in team.owner.registry.alias_history(MODEL, "production")] == [served]
    assert verify(team.owner.registry).ok


def test_an_alias_is_protected_before_it_was_ever_made(team: Team) -> None:
    trust.set_policy(team.owner.registry, MODEL, "canary", {}, author=Author("owner"))
    with pytest.raises(AccessDenied, match="protected"):
        team.sql("editor", "INSERT INTO aliases SELECT model, 'canary', snapshot, 1 FROM heads")
    trust.set_policy(team.owner.registry, MODEL, "canary", {"protected": False}, author=Author("owner"))
    assert team.roles["editor"].promote(MODEL, "head", "canary", Author("bob")).alias == "canary"


def test_a_promoter_approves_signs_and_promotes_and_moves_no_head(team: Team) -> None:
    from raie.registry.promotion import signing

    promoter = team.roles["promoter"]
    trust.approve(promoter, MODEL, "head", "production", author=Author("grace", "looked at it"))
    signer = signing.generate()
    trust.sign(promoter, MODEL, "head", signer, author=Author("grace"))
    assert promoter.promote(MODEL, "head", "production", Author("grace")).source is not None
    picked, _ = promoter.promote_region(MODEL, 0, 1, "staging", Author("grace"))
    assert picked.edit
    world = World(promoter)
    with pytest.raises(AccessDenied, match=r"heads|edit_checkpoints"):
        world.edit(1, text="mine")
    with pytest.raises(AccessDenied, match="policies"):
        trust.set_policy(promoter, MODEL, "production", {"protected": False}, author=Author("grace"))
    with pytest.raises(AccessDenied, match="key_events"):
        trust.trust_key(promoter, MODEL, signer.key, "mine", author=Author("grace"))
    assert verify(team.owner.registry).ok


def test_a_collector_collects_and_commits_nothing(team: Team) -> None:
    orphan = team.owner.registry.put(b"nobody names me")
    collector, old = team.roles["collector"], team.owner.edit(0, text="b")
    team.owner.edit(0, text="c")
    expired = expire(collector, MODEL, Rule(), author=Author("cron")).expired
    assert old.id in {verdict.snapshot for verdict in expired}
    assert orphan in {blob.digest for blob in gc(collector, author=Author("cron"), grace_s=0).removed}
    assert not gc(collector, author=Author("cron"), grace_s=0).removed
    world = World(collector)
    for forbidden in (
        lambda: world.begin(),
        lambda: collector.promote(MODEL, "head", "staging", Author("eve")),
        lambda: team.sql("collector", "UPDATE heads SET snapshot = (SELECT min(id) FROM snapshots)"),
        lambda: team.sql("collector", "DELETE FROM snapshots"),
    ):
        with pytest.raises(AccessDenied):
            forbidden()
    assert verify(team.owner.registry).ok


def test_no_role_updates_deletes_or_truncates_what_is_append_only(team: Team) -> None:
    for role, table in itertools.product(ROLES, APPEND_ONLY_TABLES):
        column = next(iter(metadata.tables[table].columns)).name
        for line in (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ):
            with pytest.raises(AccessDenied, match="permission denied"):
                team.sql(role, line)


def test_whoever_was_given_the_right_by_mistake_is_stopped_by_the_triggers(team: Team) -> None:
    trust.approve(team.owner.registry, MODEL, "head", "production", author=Author("ada", "to be kept"))
    for table in ("audit_events", "approvals", "policies"):
        run(team.owner.registry, f"GRANT UPDATE, DELETE, TRUNCATE ON {table} TO PUBLIC")
        for line in (f"UPDATE {table} SET reason = ''", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(DBAPIError, match="append-only"):
                team.sql("editor", line)
        with pytest.raises(AccessDenied, match="must be owner"):
            team.sql("editor", f"ALTER TABLE {table} DISABLE TRIGGER ALL")


def test_granting_again_takes_back_what_a_role_should_not_have(team: Team) -> None:
    registry, prefix = team.owner.registry, f"t{next(_numbers)}"
    grant(registry.engine, prefix, author=Author("owner"))
    run(
        registry,
        f"GRANT ALL ON heads, aliases TO {prefix}_reader",
        f"GRANT UPDATE (snapshot) ON aliases TO {prefix}_reader",
    )
    grant(registry.engine, prefix, author=Author("owner"))
    left = (
        "SELECT count(*) FROM information_schema.column_privileges "
        f"WHERE grantee = '{prefix}_reader' AND privilege_type <> 'SELECT'"
    )
    with reading(registry.engine) as connection:
        assert connection.execute(text(left)).scalar() == 0
    for role in ROLES:
        run(registry, f"DROP OWNED BY {prefix}_{role}", f"DROP ROLE {prefix}_{role}")


def test_who_may_make_no_role_is_told_so(team: Team) -> None:
    with pytest.raises(AccessDenied, match="permission denied"):
        grant(team.roles["editor"].engine, "mine", author=Author("eve"))


def test_sqlite_says_that_file_permissions_are_all_there_is(local_registry: Registry) -> None:
    with pytest.raises(InvalidValue, match="SQLite, which has none: whoever may write its file"):
        grant(local_registry.engine, author=Author("owner"))


@pytest.mark.parametrize("prefix", ["", "x; DROP TABLE edits", "A", "1a", "a" * 60])
def test_a_prefix_that_is_no_plain_name_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidValue, match="prefix"):
        list(statements(prefix))


def test_rights_name_tables_that_there_are(postgres_url: str) -> None:
    named = {table for rights in RIGHTS.values() for table in rights}
    assert named <= set(metadata.tables)
    assert not any(
        "UPDATE" in right or "DELETE" in right
        for rights in RIGHTS.values()
        for table, granted in rights.items()
        if table in APPEND_ONLY_TABLES
        for right in granted
    )
