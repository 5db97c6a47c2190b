"""Whether the triggers are those that raie makes: there, in force, and doing what they should.

An owner of the database can drop a trigger, disable it, or put one that does nothing in its place. Triggers that raie
did not make are nobody's business here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

from sqlalchemy import Connection, text

from raie.registry.db import guards, role_guards, triggers

__all__ = ["check"]

_SCHEMA = r'(?:"(?:[^"]|"")+"\.|[\w$]+\.)'
_FUNCTION = re.compile(
    rf"CREATE (?:OR REPLACE )?FUNCTION {_SCHEMA}?(\w+)\(\).*?(?:SET (\w+) = (.+?) )?AS \$\$(.*)\$\$\s*", re.DOTALL
)
_TRIGGER = re.compile(rf"CREATE (?:CONSTRAINT )?TRIGGER (\w+) .*?FUNCTION {_SCHEMA}?(\w+)\(", re.DOTALL)
_HELD = """
SELECT t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) AS definition, p.prosrc,
       coalesce(array_to_string(p.proconfig, ','), '') AS settings
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND pg_table_is_visible(t.tgrelid)
"""
_ALWAYS = "A"
_SHOWN = 3


@dataclass(frozen=True)
class _Trigger:
    """What a trigger is: its definition, the body of its function and the function's settings, each normalised."""

    definition: str
    body: str = ""
    settings: str = ""


def check(connection: Connection) -> Iterator[str]:
    """One line for the triggers that are missing, for those that raie did not make so, and for those not in force."""
    postgres = connection.dialect.name == "postgresql"
    wanted = _expected_postgres(connection) if postgres else _expected_sqlite(connection)
    held, asleep = _held_postgres(connection) if postgres else (_held_sqlite(connection), set[str]())
    missing = wanted.keys() - held.keys()
    others = {name for name in wanted.keys() & held.keys() if held[name] != wanted[name]}
    disabled = (wanted.keys() & asleep) - others
    yield from _line(missing, "missing, and what it refused is let through")
    yield from _line(others, "not as raie makes it, and may let anything through")
    yield from _line(disabled, "disabled, or not enabled in every session")


def _line(names: Set[str], problem: str) -> Iterator[str]:
    if names:
        shown = ", ".join(sorted(names)[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"trigger {shown}{more}: {problem}"


def _statements(connection: Connection) -> Iterator[str]:
    yield from triggers.statements(connection)
    yield from guards.statements(connection)
    yield from role_guards.statements(connection)


def _expected_sqlite(connection: Connection) -> dict[str, _Trigger]:
    made = (statement.strip() for statement in _statements(connection))
    return {statement.split()[2]: _Trigger(statement) for statement in made}


def _held_sqlite(connection: Connection) -> dict[str, _Trigger]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return {name: _Trigger(str(sql).strip()) for name, sql in rows}


def _expected_postgres(connection: Connection) -> dict[str, _Trigger]:
    expected: dict[str, _Trigger] = {}
    functions: dict[str, tuple[str, str]] = {}
    for statement in map(str.strip, _statements(connection)):
        if match := _FUNCTION.fullmatch(statement):
            functions[match[1]] = match[4], f"{match[2]}={match[3]}" if match[2] else ""
        elif match := _TRIGGER.match(statement):
            body, settings = functions[match[2]]
            expected[match[1]] = _Trigger(_plain(statement), body, _spaced(settings))
    return expected


def _held_postgres(connection: Connection) -> tuple[dict[str, _Trigger], set[str]]:
    """The triggers, and the names of those that are not in force in every session."""
    rows = connection.execute(text(_HELD)).all()
    held = {row.tgname: _Trigger(_plain(row.definition), row.prosrc, _spaced(row.settings)) for row in rows}
    return held, {row.tgname for row in rows if row.tgenabled != _ALWAYS}


def _plain(definition: str) -> str:
    """A definition as the server and as raie spell it: without schemas, casts, brackets and the case of words."""
    plain = re.sub(r"OPERATOR\(pg_catalog\.(\S+?)\)", r"\1", definition).replace("::pg_catalog.", "::")
    plain = re.sub(rf"(?i)(?<= )(on|function) {_SCHEMA}", r"\1 ", " ".join(plain.split()))
    plain = re.sub(r"::\w+(?: varying)?|[()\"]", "", plain).lower()
    # The server has an order of its own for what a trigger fires on.
    return re.sub(
        r"(?<= )(?:\w+ or )+\w+(?= on )", lambda match: " or ".join(sorted(match[0].split(" or "))), plain
    )


def _spaced(settings: str) -> str:
    return re.sub(r"[\s\"]+", "", settings)
