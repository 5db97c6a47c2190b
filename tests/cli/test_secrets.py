"""What a URL carries as a secret is in no output, file or repr."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url

from raie.workspace_file import find
from tests.cli.conftest import Raie

SECRET = "hunter2-very-secret"


@pytest.mark.parametrize("name", ["password", "sslpassword", "options"])
def test_no_command_shows_or_keeps_a_secret_of_the_database_s_url(
    raie: Raie, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    value = f"-c my.token={SECRET}" if name == "options" else SECRET
    url = make_url(postgres_url).update_query_dict({name: value}).render_as_string(hide_password=False)
    monkeypatch.setenv("RAIE_DATABASE_URL", url)
    for command in (
        ("init",),
        ("status",),
        ("status", "--json"),
        ("db", "upgrade"),
        ("verify",),
        ("audit", "log"),
    ):
        ran = raie(*command)
        assert ran.code == 0, ran.err
        assert SECRET not in ran.out + ran.err
    assert SECRET not in repr(find(tmp_path))
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in data for data in kept)
    monkeypatch.setenv("RAIE_DATABASE_URL", url.replace("raie_", "nowhere_"))
    ran = raie("status")
    assert ran.code == 6
    assert SECRET not in ran.out + ran.err


def test_a_url_with_any_password_is_refused_for_the_file(raie: Raie) -> None:
    ran = raie("init", "--database", f"postgresql://ada@host/raie?sslpassword={SECRET}")
    assert (ran.code, SECRET in ran.err) == (2, False)
    Path("raie.toml").write_text(f'database = ["postgresql://ada:{SECRET}@host/raie"]\n')
    ran = raie("status")
    assert (ran.code, SECRET in ran.err) == (1, False)
