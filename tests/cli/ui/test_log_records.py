"""`--verbose` shows what raie's loggers record, on standard error alone; nothing else does."""

from __future__ import annotations

import logging

import pytest

from raie.workspace import Workspace
from tests.cli.conftest import Raie


@pytest.fixture
def chatty(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """`raie log` records something at three levels."""
    find = type(workspace).registry

    def registry(self: Workspace) -> object:
        logger = logging.getLogger("raie.registry.db")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logger.log(level, "write tried again, %s", "for\x1b[2J the 2nd\ntime")
        return find(self)

    monkeypatch.setattr(Workspace, "registry", registry)


@pytest.mark.parametrize(
    ("options", "levels"),
    [([], []), (["-v"], ["info", "warning"]), (["-v", "--verbose"], ["debug", "info", "warning"])],
    ids=["silent", "once", "twice"],
)
@pytest.mark.usefixtures("chatty")
def test_what_is_logged_is_shown_as_often_as_it_is_asked_for(
    raie: Raie, options: list[str], levels: list[str]
) -> None:
    quiet = raie("log").out
    ran = raie(*options, "log")
    assert ran.code == 0
    assert ran.out == quiet, "scripts read the same"
    lines = ran.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == levels
    assert all(line.partition(": ")[2].startswith("raie.registry.db: write tried again, for") for line in lines)
    assert "\x1b" not in ran.err


@pytest.mark.usefixtures("chatty")
def test_a_command_leaves_the_loggers_as_they_were(raie: Raie) -> None:
    logger = logging.getLogger("raie")
    before = (logger.level, list(logger.handlers))
    raie("-vv", "log")
    assert (logger.level, list(logger.handlers)) == before
