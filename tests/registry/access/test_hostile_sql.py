"""No statement of 25 and more per role stops the others, moves what is not his, or leaves anything behind.

The server here lets everybody create in `public`, as PostgreSQL did before version 15. RAIE_TEST_POSTGRES names other
servers, as URLs of their maintenance databases for a superuser, separated by spaces.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError

from raie import migrations
from raie.registry import AccessDenied, Author, DatabaseFull, InvalidValue, Registry, trust
from raie.registry.access.postgres_roles import grant
from raie.registry.access.schema_rights import creators, planted, refuse_planted
from raie.registry.db.engine import open_engine, reading, write
from raie.registry.db.tables import metadata
from raie.registry.events.positions import register
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from tests.conftest import run_sql
from tests.registry.access.hostile_sql import BY_ROLE
from tests.registry.building import MODEL, World

OTHERS = os.environ.get("RAIE_TEST_POSTGRES", "").split()
NAME = "raie_hostile"
NO_SQL = ("syntax error", "does not exist", "more expressions", "expressions than", "is of type")
SHOW = "RAIE_TEST_SHOW" in os.environ
Team = dict[str, Registry]


@pytest.fixture(scope="module", params=["", *OTHERS], ids=["here", *(f"server {n}" for n in range(len(OTHERS)))])
def team(request: pytest.FixtureRequest) -> Iterator[Team]:
    """The registry as its owner and as each role opens it; one edit is open, production is protected."""
    server = request.param or request.getfixturevalue("postgres_server")
    run_sql(
        server, f"DROP DATABASE IF EXISTS {NAME}", f"CREATE DATABASE {NAME} ENCODING 'UTF8' TEMPLATE template0"
    )
    url = make_url(server).set(database=NAME)
    shown = url.render_as_string(hide_password=False)
    if not request.param:
        run_sql(shown, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    with tempfile.TemporaryDirectory() as folder:
        migrations.upgrade(shown)
        opened = {"owner": Registry.open(shown, str(Path(folder) / "store"))}
        _history(opened["owner"])
        grant(opened["owner"].engine, "hostile", author=Author("owner"))
        for role in BY_ROLE:
            run_sql(
                shown, f"CREATE ROLE hostile_{role}_login LOGIN", f"GRANT hostile_{role} TO hostile_{role}_login"
            )
            login = url.set(username=f"hostile_{role}_login").render_as_string(hide_password=False)
            opened[role] = Registry.open(login, opened["owner"].store.top.as_posix())  # type: ignore[attr-defined]
        yield opened
    run_sql(server, f"DROP DATABASE {NAME} WITH (FORCE)")
    for role in BY_ROLE:
        run_sql(server, f"DROP ROLE hostile_{role}_login", f"DROP ROLE hostile_{role}")


def _history(registry: Registry) -> None:
    world = World(registry)
    world.setup()
    world.edit(0, text="a")
    world.edit(1, text="b")
    for alias in ("production", "staging"):
        registry.promote(MODEL, "edit:2", alias, Author("ada"))
    trust.set_policy(registry, MODEL, "production", {"second_person": False}, author=Author("owner"))
    world.begin()
    register(registry.engine, "lineage", from_now=True)


def rows(registry: Registry) -> dict[str, list[str]]:
    with reading(registry.engine) as connection:
        return {
            table: sorted(map(str, connection.execute(text(f"SELECT * FROM {table}"))))
            for table in (*metadata.tables, "alembic_version")
        }


@pytest.mark.parametrize("role", BY_ROLE)
def test_no_hostile_statement_of_a_role_passes(team: Team, role: str) -> None:
    assert len(BY_ROLE[role]) >= 25
    before, open_edit = rows(team["owner"]), team["owner"].edits(MODEL)[0].number
    passed, vacuous = [], []
    for what, lines in BY_ROLE[role].items():

        def step(connection: Connection, lines: list[str] = lines) -> None:
            for line in lines:
                connection.exec_driver_sql(line.replace("{edit}", str(open_edit)))

        try:
            write(team[role].engine, step)
            passed.append(what)
        except (AccessDenied, InvalidValue, DatabaseFull, DBAPIError) as refused:
            # Refused for what it does, not because it is no SQL, or none for these tables.
            vacuous += [f"{what}: {refused}" for words in NO_SQL if words in str(refused)]
            if SHOW:
                print(f"{role} | {what} | {str(refused).splitlines()[0][:200]}")
    assert passed == []
    assert vacuous == []
    assert rows(team["owner"]) == before


def test_after_all_that_everybody_still_does_his_work(team: Team) -> None:
    editor, promoter, collector = World(team["editor"]), team["promoter"], team["collector"]
    editor.edit(0, text="c")
    editor.edit(3, text="a new region")
    editor.registry.promote(MODEL, "head", "staging", Author("bob"))
    editor.registry.rollback_to(MODEL, "edit:2", Author("bob"))
    report = {"retention": {"Recall@10 change": {"mean": 0.0}}}
    trust.record_evaluation(editor.registry, MODEL, "head", "production", report, author=Author("bob"))
    trust.approve(promoter, MODEL, "head", "production", author=Author("grace", "looked"))
    promoter.promote(MODEL, "head", "production", Author("grace"))
    promoter.promote_region(MODEL, 0, 1, "production", Author("grace"))
    left = editor.begin()
    editor.registry.abort(MODEL, left.number, author=Author("bob", "no more"))
    expire(collector, MODEL, Rule(), author=Author("cron"))
    gc(collector, author=Author("cron"), grace_s=0)
    assert verify(team["owner"]).ok


def test_a_promoter_begins_no_edit_that_would_stay_open(team: Team) -> None:
    before = [edit.number for edit in team["owner"].edits(MODEL)]
    with pytest.raises(AccessDenied, match="who may not move heads begins"):
        World(team["promoter"]).begin()
    assert [edit.number for edit in team["owner"].edits(MODEL)] == before


def test_a_registry_in_a_schema_of_its_own_has_roles_and_conditions_too(postgres_url: str, scratch: Path) -> None:
    run_sql(postgres_url, 'CREATE SCHEMA "My reg"', "CREATE SCHEMA postgres")
    there = make_url(postgres_url).update_query_dict({"options": '-c search_path="My\\ reg"'})
    url = there.render_as_string(hide_password=False)
    migrations.upgrade(url)
    # A schema that has the login's name comes first on the default path, and holds no registry.
    run_sql(postgres_url, "ALTER DATABASE " + str(there.database) + ' SET search_path = "$user", "My reg"')
    registry = Registry.open(postgres_url, str(scratch / "store"))
    World(registry).setup()
    grant(registry.engine, "apart", author=Author("owner"))
    run_sql(postgres_url, "CREATE ROLE apart_login LOGIN IN ROLE apart_editor")
    try:
        login = make_url(postgres_url).set(username="apart_login").render_as_string(hide_password=False)
        editor = Registry.open(login, str(scratch / "store"))
        World(editor).edit(0, text="a")
        with pytest.raises(AccessDenied, match="the end of the audit moves to its next event"):
            write(editor.engine, lambda c: c.execute(text("UPDATE audit_head SET event = -1")))
        assert verify(registry).ok
    finally:
        run_sql(postgres_url, "DROP ROLE apart_login")
        with registry.engine.begin() as connection:
            for role in BY_ROLE:
                connection.execute(text(f"DROP OWNED BY apart_{role}"))
                connection.execute(text(f"DROP ROLE apart_{role}"))


def test_what_somebody_planted_before_is_named_and_run_by_nobody(postgres_url: str) -> None:
    run_sql(
        postgres_url, "GRANT CREATE ON SCHEMA public TO PUBLIC", "DROP ROLE IF EXISTS eve", "CREATE ROLE eve LOGIN"
    )
    eve = make_url(postgres_url).set(username="eve").render_as_string(hide_password=False)
    try:
        run_sql(
            eve,
            "CREATE FUNCTION public.always(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.always)",
            "CREATE FUNCTION public.max(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        )
        engine = open_engine(postgres_url)
        with pytest.raises(AccessDenied, match=r"found 2; .* DROP FUNCTION public\.max.* DROP OPERATOR public\.="):
            refuse_planted(engine)
        migrations.upgrade(postgres_url)
        with pytest.raises(AccessDenied, match="somebody else"):
            grant(engine, "planted", author=Author("owner"))
        with reading(engine) as connection:
            assert creators(connection) == ["PUBLIC"]
            assert len(planted(connection)) == 2
    finally:
        run_sql(postgres_url, "DROP OWNED BY eve CASCADE", "DROP ROLE eve")
