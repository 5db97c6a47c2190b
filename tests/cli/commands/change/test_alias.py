"""`raie alias delete` and `raie alias rename` from the command line."""

from __future__ import annotations

import pytest

from raie.registry import Author, Registry, trust
from tests.cli.conftest import Raie
from tests.cli.history import MODEL


def names(registry: Registry) -> list[str]:
    return [alias.name for alias in registry.aliases(MODEL)]


def test_delete_says_what_the_alias_pointed_at_and_how_to_make_it_again(raie: Raie, registry: Registry) -> None:
    served = registry.resolve(MODEL, "staging").id
    ran = raie("alias", "delete", "staging", "--reason", "trial is over")
    again = f"`raie promote {served[:12]} --to staging` makes it again"
    assert (ran.code, ran.out) == (0, f"staging deleted, it pointed at {served[:12]}; {again}\n")
    move = raie("alias", "history", "staging", "--json").json["moves"][0]
    assert (move["from"], move["to"], move["reason"]) == (served, None, "trial is over")
    assert f"{served[:12]} → deleted" in raie("alias", "history", "staging").out
    assert "staging" not in raie("log").out
    asked = raie("show", "staging")
    assert (asked.code, "deleted by ada" in asked.err) == (1, True)
    assert raie("verify").code == 0
    assert raie("promote", served, "--to", "staging").code == 0


def test_rename_moves_the_name_and_nothing_else(raie: Raie, registry: Registry) -> None:
    served = registry.resolve(MODEL, "staging").id
    ran = raie("alias", "rename", "staging", "candidate", "--reason", "one name")
    assert (ran.code, ran.out) == (0, f"candidate - → {served[:12]}, was staging\n")
    assert names(registry) == ["candidate", "production"]
    value = raie("alias", "rename", "candidate", "staging", "--reason", "back", "--json").json
    assert (value["alias"], value["to"], value["renamed_from"]) == ("staging", served, "candidate")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("delete", "staging"), 2),
        (("delete", "staging", "--reason", ""), 2),
        (("delete", "nosuch", "--reason", "x"), 1),
        (("rename", "staging", "production", "--reason", "x"), 4),
        (("rename", "staging", "head", "--reason", "x"), 2),
        (("delete", "production", "--reason", "x", "--override"), 1),
    ],
)
def test_what_is_refused_changes_nothing_and_is_one_line(
    raie: Raie, registry: Registry, arguments: tuple[str, ...], code: int
) -> None:
    trust.set_policy(registry, MODEL, "production", {}, author=Author("owner"))
    ran = raie("alias", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    assert names(registry) == ["production", "staging"]
