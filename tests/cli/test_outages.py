"""A command that meets a server in trouble ends soon, in one line and without a secret, and works again afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from raie.registry import Registry
from raie.workspace_file import find
from tests.cli import history
from tests.cli.conftest import Raie
from tests.cli.history import MODEL
from tests.cli.trained import refused
from tests.registry.store.proxy import BlackHole, Proxy, Reset

SECRET = "hunter2-very-secret"
LOOK, PROMOTE, ROLL_BACK = (
    ["verify"],
    ["promote", "head", "--to", "canary"],
    ["rollback", "2", "--reason", "a test"],
)

STRUCK = rb"(GET|HEAD|PUT) /|FROM (models|snapshots)"

Fault = Callable[[Proxy], AbstractContextManager[None]]
FAULTS: dict[str, Fault] = {
    "refused": Proxy.refusing,
    "reset": lambda proxy: proxy.failing(Reset(STRUCK)),
    "black hole": lambda proxy: proxy.failing(BlackHole(STRUCK)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_commands_while_postgresql_is_in_trouble(
    raie: Raie, postgres_url: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", postgres_url)
    assert raie("init").code == 0
    make_history(find().registry())
    url = make_url(postgres_url)
    with Proxy(f"{url.query['host']}/.s.PGSQL.5432") as proxy:
        far = url.set(host="127.0.0.1", port=proxy.port, password=SECRET, query={"timeout": "1"})
        monkeypatch.setenv("RAIE_DATABASE_URL", far.render_as_string(hide_password=False))
        check(raie, proxy, FAULTS[fault], [LOOK, PROMOTE, ROLL_BACK])


# A request that was given up after a second leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", ["refused", "black hole"])
def test_commands_while_s3_is_in_trouble(
    raie: Raie, s3_url: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    with Proxy((str(where.hostname), int(where.port or 0))) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        assert raie("init", "--store", f"{s3_url}?timeout=1").code == 0
        make_history(find().registry())
        check(raie, proxy, FAULTS[fault], [LOOK, PROMOTE, ROLL_BACK])


def make_history(registry: Registry) -> None:
    history.set_up(registry)
    history.edit(registry, [1])


def check(raie: Raie, proxy: Proxy, fault: Fault, commands: list[list[str]]) -> None:
    """Every command fails while the fault lasts and changes nothing, and works when it is over."""
    before = find().registry().head(MODEL)
    for command in commands:
        with fault(proxy):
            ran = raie(*command)
        refused(ran, 6)
        assert SECRET not in ran.err
        assert os.environ.get("AWS_SECRET_ACCESS_KEY", SECRET) not in ran.err
    assert find().registry().head(MODEL) == before
    for command in commands:
        ran = raie(*command)
        assert ran.code == 0, ran.err
