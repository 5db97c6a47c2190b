"""What an owner of the database changes by hand, taking the triggers away first, shows: the audit and the rows differ.

Each act is done in a transaction of one small history that is rolled back, and what verify asks of the database is asked
there. The table of docs/trust.md names every act.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import IntegrityError

from raie import migrations
from raie.registry import Author, Registry, audit, trust
from raie.registry.db import guards, triggers
from raie.registry.db.engine import reading
from raie.registry.db.tables import metadata
from raie.registry.edits import notes
from raie.registry.maintenance import fsck, record_check, trust_rows
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.upgrade_event import append_upgrade
from raie.registry.maintenance.verify import verify
from raie.registry.promotion import signing
from raie.registry.recorded_rows import ACTIONS, COLUMNS
from raie.registry.states import AuditAction
from tests.conftest import make_database, run_sql
from tests.registry.building import MODEL, World
from tests.registry.db.revisions import settle, without_digests

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "trust.md"
FIRST = "(SELECT result FROM edits WHERE number = 1)"


@dataclass(frozen=True)
class Act:
    """What somebody does, and a part of the line that must say so.  database: where it can be done; None for any."""

    name: str
    expected: str
    statements: tuple[str, ...]
    database: str | None = None


ACTS = (
    Act(
        "an alias moved back by hand, the row of its last move deleted",
        "alias 'production' of 'recsys' is at",
        (
            "UPDATE aliases SET snapshot = (SELECT source FROM alias_moves WHERE id = 2), "
            "moved_at = (SELECT at FROM alias_moves WHERE id = 1) WHERE name = 'production'",
            "DELETE FROM alias_moves WHERE id = 2",
        ),
    ),
    Act("the row of an alias's last move deleted", "(promote, alias:", ("DELETE FROM alias_moves WHERE id = 2",)),
    Act(
        "the reason of a promotion rewritten",
        "move 1 of an alias: no audit event",
        ("UPDATE alias_moves SET reason = 'the board asked for it' WHERE id = 1",),
    ),
    Act(
        "the row of an alias's deletion deleted",
        "(delete alias, alias:trial",
        ("DELETE FROM alias_moves WHERE target IS NULL",),
    ),
    Act(
        "a deleted alias put back by hand",
        "alias 'trial' of 'recsys' is at",
        (f"INSERT INTO aliases (model, name, snapshot, moved_at) VALUES ('recsys', 'trial', {FIRST}, 1)",),
    ),
    Act("the head moved back by hand", "the head of 'recsys' is", (f"UPDATE heads SET snapshot = {FIRST}",)),
    Act("a revocation deleted", "(revoke key, key:release", ("DELETE FROM key_events WHERE action = 'revoke'",)),
    Act(
        "the words on a key put into another order",
        "on key 'release': no audit event",
        ("UPDATE key_events SET id = CASE id WHEN 1 THEN 12 ELSE 11 END",),
    ),
    Act("the newest policy deleted", "(policy, policy:2 of", ("DELETE FROM policies WHERE version = 2",)),
    Act("an evaluation rewritten", "evaluation 1: no audit event", ("UPDATE evaluations SET report = '{}'",)),
    Act(
        "an evaluation said to be of another content",
        "evaluation 1: no audit event",
        ("UPDATE evaluations SET content = against_content",),
    ),
    Act("an approval deleted", "(approve, alias:production", ("DELETE FROM approvals",)),
    Act("a withdrawal deleted", "(withdraw, alias:", ("DELETE FROM approval_events WHERE action = 'withdraw'",)),
    Act(
        "an approval put in",
        "by eve: no audit event",
        (
            "INSERT INTO approvals (model, alias, snapshot, actor, reason, at) "
            "SELECT model, alias, snapshot, 'eve', reason, at FROM approvals",
        ),
    ),
    Act("a note rewritten", "annotation 1 of", ("UPDATE snapshot_notes SET reason = 'clicks rose' WHERE id = 1",)),
    Act(
        "the removal of a tag deleted",
        "(untag, tag:frozen",
        ("DELETE FROM snapshot_notes WHERE action = 'untag'",),
    ),
    Act("a signature deleted", "(sign, key:", ("DELETE FROM signatures",)),
    Act(
        "another author of an edit",
        "edit 2 of 'recsys': no audit",
        ("UPDATE edits SET actor = 'eve' WHERE number = 2",),
    ),
    Act(
        "another reason for an edit",
        "edit 2 of 'recsys': no",
        ("UPDATE edits SET reason = 'tests' WHERE number = 2",),
    ),
    Act("another impact report", "edit 1 of 'recsys': no", ("UPDATE edits SET report = '{}' WHERE number = 1",)),
    Act(
        "another result of an edit",
        "edit 2 of 'recsys': no",
        (f"UPDATE edits SET result = {FIRST} WHERE number = 2",),
    ),
    Act("another parameter of a rollback", "edit 4 of", ("UPDATE edits SET parameters = '{}' WHERE number = 4",)),
    Act(
        "another base of an open edit",
        "the begin of edit 6",
        (f"UPDATE edits SET base = {FIRST} WHERE number = 6",),
    ),
    Act("another reason of an abort", "edit 5 of", ("UPDATE edits SET close_reason = 'tests' WHERE number = 5",)),
    Act("an aborted edit deleted", "(abort, edit:5 of", ("DELETE FROM edits WHERE number = 5",)),
    Act(
        "an operation rewritten", "edit 2 of 'recsys': no", ("UPDATE operations SET windows = 99 WHERE edit = 2",)
    ),
    Act(
        "the bytes of a region version exchanged",
        "edit 2 of 'recsys': no",
        ("UPDATE adapter_versions SET entry = '{}' WHERE edit = 2",),
    ),
    Act("another maker of a snapshot", "edit 3 of", ("UPDATE snapshots SET edit = 3 WHERE edit = 2",)),
    Act("another time of a snapshot", "edit 2 of", ("UPDATE snapshots SET created_at = 1.5 WHERE edit = 2",)),
    Act("another time of the model", "the begin of edit 1", ("UPDATE models SET created_at = 1.5",)),
    Act(
        "the number of the last edit set back",
        "the last edit of 'recsys' is 5",
        ("UPDATE models SET last_edit = 5",),
    ),
    Act(
        "another reason of an expiry",
        "the audit says that it expired",
        ("UPDATE expired_snapshots SET reason = 'x'",),
    ),
    Act("an expiry deleted", "is kept, the audit says that it expired", ("DELETE FROM expired_snapshots",)),
    Act(
        "an event deleted",
        "edit 4 of 'recsys': no audit event",
        ("DELETE FROM audit_events WHERE action = 'rollback'",),
    ),
    Act(
        "a trigger dropped",
        "trigger policies_no_delete: missing",
        ("DROP TRIGGER policies_no_delete",),
        "sqlite",
    ),
    Act(
        "a trigger that does nothing in its place",
        "trigger policies_no_delete: not as raie makes it",
        (
            "DROP TRIGGER policies_no_delete",
            "CREATE TRIGGER policies_no_delete BEFORE DELETE ON policies BEGIN SELECT 1; END",
        ),
        "sqlite",
    ),
    Act(
        "a trigger dropped",
        "trigger policies_no_delete: missing",
        ("DROP TRIGGER policies_no_delete ON policies",),
        "postgresql",
    ),
    Act(
        "a trigger disabled",
        "trigger policies_no_delete: disabled",
        ("ALTER TABLE policies DISABLE TRIGGER policies_no_delete",),
        "postgresql",
    ),
    Act(
        "the function of the triggers replaced",
        ": not as raie makes it",
        (
            "CREATE OR REPLACE FUNCTION refuse_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN OLD; END $$",
        ),
        "postgresql",
    ),
    Act(
        "a guard that asks only when nobody is there",
        "trigger edits_no_rewrite: not as raie makes it",
        (
            "DROP TRIGGER edits_no_rewrite ON edits",
            "CREATE TRIGGER edits_no_rewrite BEFORE UPDATE ON edits FOR EACH ROW WHEN (OLD.state = 'nobody') "
            "EXECUTE FUNCTION refuse_closed_edit()",
            "ALTER TABLE edits ENABLE ALWAYS TRIGGER edits_no_rewrite",
        ),
        "postgresql",
    ),
)


OUTSIDE = {
    "edits": {"lease_owner", "lease_expires_at"},  # they change while an edit runs
    "snapshots": {"manifest"},  # its sha256 is the id, and every read compares the two
}


def lived(registry: Registry) -> None:
    """A history with every kind of event that stands for rows."""
    world = World(registry)
    world.setup()
    first = world.edit(1, text="a")
    registry.promote(MODEL, "edit:1", "production", Author("ada", "first"))
    world.edit(2, text="b")
    registry.promote(MODEL, "head", "production", Author("grace", "better"))
    registry.rollback_edit(MODEL, 3, Author("ada", "bad data"))
    registry.abort(MODEL, world.begin().number, Author("ada", "wrong log"))
    release = signing.generate()
    trust.trust_key(registry, MODEL, release.key, "release", author=Author("owner"))
    trust.sign(registry, MODEL, "head", release, author=Author("ci"))
    trust.revoke_key(registry, MODEL, "release", author=Author("owner", "lost"))
    trust.set_policy(registry, MODEL, "production", {"retention": -0.1}, author=Author("owner"))
    trust.set_policy(registry, MODEL, "production", {"second_person": True}, author=Author("owner"))
    trust.record_evaluation(registry, MODEL, "head", "production", {"loss": 1.0}, author=Author("carol"))
    trust.approve(registry, MODEL, "head", "production", author=Author("bob", "looked at it"))
    trust.withdraw(registry, MODEL, "head", "production", author=Author("bob", "looked again"))
    world.begin()
    expire(registry, MODEL, Rule(2), author=Author("ada", "space"))
    with registry.engine.begin() as connection:
        notes.note(connection, MODEL, "head", Author("bob", "clicks fell"))
        notes.tag(connection, MODEL, "head", "frozen", Author("bob", "sale"))
        notes.untag(connection, MODEL, "head", "frozen", Author("bob"))
    registry.promote(MODEL, "head", "trial", Author("ada"))
    registry.delete_alias(MODEL, "trial", Author("ada", "over"))
    assert first.id != world.head.id


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One history for the whole module: whatever a test does to it is rolled back."""
    folder, name = tmp_path_factory.mktemp("tampered"), "raie_tampered"
    url = f"sqlite:///{folder / 'registry.db'}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        make_database(server, name)
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
    migrations.upgrade(url)
    registry = Registry.open(url, str(folder / "store"))
    lived(registry)
    yield registry
    if request.param == "postgresql":
        run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")


def problems(connection: Connection) -> list[str]:
    """What verify asks of the database."""
    return [
        *audit.verify_chain(connection).problems,
        *fsck.check(connection).problems,
        *trust_rows.check(connection).problems,
    ]


def do(connection: Connection, act: Act) -> None:
    """Does something as the owner, and leaves every trigger that it is not about as it was."""
    postgres = connection.dialect.name == "postgresql"
    connection.execute(
        text("SET LOCAL session_replication_role = replica" if postgres else "PRAGMA defer_foreign_keys=ON")
    )
    if act.database is None:
        triggers.drop(connection)
        guards.drop(connection)
    for statement in act.statements:
        assert connection.exec_driver_sql(statement).rowcount != 0, f"nothing to change: {statement}"
    if act.database is None:
        settle(connection)
        triggers.create(connection)
        guards.create(connection)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_what_an_owner_changes_by_hand_is_noticed(history: Registry, act: Act) -> None:
    if act.database not in (None, history.engine.dialect.name):
        pytest.skip("another database has other triggers")
    with history.engine.connect() as connection:
        do(connection, act)
        lines = problems(connection)
        connection.rollback()
    assert any(act.expected in problem for problem in lines), lines
    assert all("\n" not in problem for problem in lines)


def test_the_page_on_trust_names_every_act() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert [act.name for act in ACTS if f"| {act.name} |" not in page] == []


def test_a_history_that_nobody_touched_has_no_problem(history: Registry) -> None:
    assert verify(history).ok
    with reading(history.engine) as connection:
        actions = {event.action for event in audit.events(connection) if event.digest is not None}
    elsewhere = {AuditAction.IMPORT_EDIT, AuditAction.IMPORT_EVALUATION}  # see the tests of the transfer
    assert set(ACTIONS) - {AuditAction.CHERRY_PICK} - elsewhere == actions


def test_each_column_of_a_row_that_an_event_stands_for_is_noticed_by_itself(history: Registry) -> None:
    with history.engine.connect() as connection:
        do(connection, Act("", "", ()))
        triggers.drop(connection)
        guards.drop(connection)
        for table in COLUMNS:
            row = connection.execute(text(f"SELECT * FROM {table} LIMIT 1")).mappings().one()
            for column in set(metadata.tables[table].columns.keys()) - OUTSIDE.get(table, set()):
                unnoticed = f"UPDATE {table} SET {column} = {altered(row[column])} WHERE {where(row)}"
                # What the database itself refuses needs no digest.
                with suppress(IntegrityError), connection.begin_nested() as savepoint:
                    assert connection.exec_driver_sql(unnoticed).rowcount == 1
                    assert record_check.check(connection), unnoticed
                    savepoint.rollback()
        connection.rollback()


def altered(value: Any) -> str:
    if value is None or (isinstance(value, str) and len(value) == 64):
        return f"'{'e' * 64}'"
    return f"'{value[:10]}x'" if isinstance(value, str) else str(value + 7)


def where(row: Mapping[str, Any]) -> str:
    said = {key: value for key, value in row.items() if value is not None and not isinstance(value, float)}
    return " AND ".join(f"{key} = {value!r}" for key, value in said.items() if "\n" not in repr(value))


def test_events_that_say_nothing_of_their_rows_are_noticed_once_events_do(history: Registry) -> None:
    with history.engine.connect() as connection:
        audit.append(
            connection,
            author=Author("eve"),
            action="promote",
            model=MODEL,
            subject="alias:production",
            target="e" * 64,
        )
        lines = problems(connection)
        connection.rollback()
    assert any("has no digest of its rows" in problem for problem in lines)


def upgraded(registry: Registry) -> Registry:
    """A history of a raie from before there were digests, and the upgrade that brought them."""
    lived(registry)
    without_digests(registry.engine)
    with registry.engine.begin() as connection:
        append_upgrade(connection, "0003", "0005", author=Author("owner"))
    return registry


def test_rows_from_before_there_were_digests_are_covered_by_the_upgrade(any_database: Registry) -> None:
    World(upgraded(any_database)).edit(0, text="later")
    assert verify(any_database).ok
    # Nothing in the old events says what these were: the upgrade alone does.
    only = [
        Act("", "are not as they were at the upgrade", ("UPDATE edits SET report = '{}' WHERE number = 1",)),
        Act("", "are not as they were at the upgrade", ("UPDATE operations SET windows = 99 WHERE edit = 2",)),
        Act("", "revoke key", ("DELETE FROM key_events WHERE action = 'revoke'",)),
        Act("", "edit 7 of", ("UPDATE edits SET report = '[]' WHERE number = 7",)),
    ]
    for act in only:
        with any_database.engine.connect() as connection:
            do(connection, act)
            lines = problems(connection)
            connection.rollback()
        assert any(act.expected in problem for problem in lines), (act, lines)


def test_an_export_with_old_and_new_events_is_verified_by_the_documented_recipe(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    World(upgraded(local_registry)).edit(0, text="later")
    with reading(local_registry.engine) as connection:
        lines = [audit.line_of(event) for event in audit.events(connection)]
    assert 0 < sum(b'"digest"' in line for line in lines) < len(lines)
    recipe = (DOCUMENT.parent / "registry.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", recipe, re.DOTALL) if "audit.jsonl" in block)
    monkeypatch.chdir(tmp_path)
    Path("audit.jsonl").write_bytes(b"\n".join(lines))
    exec(code, {})
    Path("audit.jsonl").write_bytes(b"\n".join(lines).replace(b'"digest":"', b'"digest":"0', 1))
    with pytest.raises(AssertionError, match="was changed"):
        exec(code, {})


def test_a_second_upgrade_does_not_make_what_was_changed_right(local_registry: Registry) -> None:
    with upgraded(local_registry).engine.connect() as connection:
        do(connection, Act("", "", ("UPDATE edits SET report = '{}' WHERE number = 1",)))
        append_upgrade(connection, "0005", "0006", author=Author("eve"))
        lines = problems(connection)
        connection.rollback()
    assert [problem for problem in lines if "at the upgrade" in problem], lines


def test_a_new_registry_has_nothing_to_be_covered(any_database: Registry) -> None:
    with any_database.engine.connect() as connection:
        assert record_check.baseline(connection) is None
