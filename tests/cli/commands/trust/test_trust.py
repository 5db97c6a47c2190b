"""Policies, approvals, keys, signatures and roles from the command line: what they say, refuse and never show."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import text

from raie.registry import Registry
from raie.workspace import Workspace
from tests.cli import history
from tests.cli.conftest import Raie, Ran
from tests.cli.trained import LOG, SECOND, refused

MODEL = history.MODEL
SECRET = "hunter2-very-secret"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAIE_SIGNING_KEY", "RAIE_SIGNING_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)


def refused_by_checks(ran: Ran, words: list[str]) -> None:
    """Assert that a promotion was refused: on stderr the table of its checks, then one line with these words."""
    *checks, error = ran.err.splitlines()
    assert (ran.code, ran.out) == (1, "")
    assert any(line.split()[:2] == ["check", "expected"] for line in checks), ran.err
    assert any(line.startswith("FAIL") for line in checks), ran.err
    assert error.startswith("error: "), ran.err
    assert [text for text in words if text not in error] == [], ran.err


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.err
    return ran


# --- Policies


def test_a_policy_is_set_shown_and_kept_in_every_version(raie: Raie, workspace: Workspace) -> None:
    assert "raie policy set" in done(raie("policy", "show")).out
    asked = ["--retention", "-0.02", "--adaptation", "0", "--locality", "--max-age", "30"]
    said = done(raie("policy", "set", "production", *asked, "--reason", "audit of May")).out
    assert said.startswith("production policy 1: retention -0.02 or more, adaptation +0 or more, locality")
    done(raie("policy", "set", "production", "--second-person", "--retention", "none", "--no-locality"))
    (policy,) = done(raie("policy", "show", "--json")).json["policies"]
    assert (policy["version"], policy["retention"], policy["adaptation"]) == (2, None, 0.0)
    assert (policy["locality"], policy["second_person"], policy["max_age_s"]) == (False, True, 30 * 86_400.0)
    versions = done(raie("policy", "history", "--json")).json["versions"]
    assert [(v["version"], v["actor"], v["reason"]) for v in versions] == [
        (2, "ada", ""),
        (1, "ada", "audit of May"),
    ]
    assert "audit of May" in done(raie("policy", "history")).out


def test_a_policy_may_ask_for_any_metric_of_the_evaluation(raie: Raie, workspace: Workspace) -> None:
    asked = ["--metric", "retention:NDCG@10>=-0.01", "--metric", "adaptation:MRR>=0"]
    said = done(raie("policy", "set", "production", *asked)).out
    assert said == "production policy 1: adaptation:MRR +0 or more, retention:NDCG@10 -0.01 or more\n"
    done(raie("policy", "set", "production", "--metric", "adaptation:MRR>=none"))
    (policy,) = done(raie("policy", "show", "--json")).json["policies"]
    assert policy["thresholds"] == {"retention:NDCG@10": -0.01}
    for wrong in ("NDCG@10", "retention:NDCG@10>=lots", "NDCG@10>=0"):
        assert raie("policy", "set", "production", "--metric", wrong).code != 0


def test_an_alias_without_a_policy_is_named_where_another_has_one(raie: Raie, workspace: Workspace) -> None:
    refused(raie("policy", "history"), 1, ["'production'", "raie policy set"])
    done(raie("policy", "set", "production", "--locality"))
    assert done(raie("policy", "show", "zzz")).out == "zzz is not protected; `raie policy set zzz` begins\n"
    assert done(raie("policy", "show", "zzz", "--json")).json["policies"] == []
    refused(raie("policy", "history", "zzz"), 1, ["'zzz'", "raie policy set"])
    assert raie("policy", "history", "zzz", "--json").code == 1
    done(raie("policy", "history"))


def test_what_a_policy_cannot_be_is_refused(raie: Raie, workspace: Workspace) -> None:
    refused(raie("policy", "set", "head", "--locality"), 2)
    refused(raie("policy", "set", "production", "--retention", "nan"), 2)
    refused(raie("policy", "set", "production", "--max-age", "0"), 2)
    assert raie("policy", "set", "production", "--retention", "low").code == 2
    assert done(raie("policy", "show", "--json")).json["policies"] == []


def test_a_refused_promotion_names_the_gate_and_leaves_the_alias(raie: Raie, registry: Registry) -> None:
    served = registry.resolve(MODEL, "production").id
    done(raie("policy", "set", "production", "--retention", "0", "--second-person"))
    refused_by_checks(raie("promote", "head"), ["retention", "second person", "raie evaluate", "raie approve"])
    refused_by_checks(raie("promote", "--region", "1", "--version", "1"), ["retention"])
    refused_by_checks(raie("promote", "head", "--override", "--reason", "now"), [])
    assert registry.resolve(MODEL, "production").id == served


@pytest.mark.parametrize("command", [("promote", "head", "--dry-run"), ("policy", "check", "head")])
def test_every_check_is_shown_before_anything_moves(
    raie: Raie, registry: Registry, command: tuple[str, ...]
) -> None:
    served = registry.resolve(MODEL, "production").id
    done(raie("policy", "set", "production", "--retention", "0", "--second-person"))
    ran = raie(*command)
    assert ran.code == 1
    assert [line.split()[:2] for line in ran.out.splitlines()[2:4]] == [["FAIL", "retention"], ["FAIL", "second"]]
    shown = raie(*command, "--json").json
    assert (shown["from"], shown["to"], shown["passes"]) == (served, registry.resolve(MODEL, "head").id, False)
    assert [gate["passed"] for gate in shown["gates"]] == [False, False]
    assert registry.resolve(MODEL, "production").id == served
    assert "no check" in done(raie("promote", "head", "--to", "staging", "--dry-run")).out
    assert raie("promote", "--region", "1", "--version", "1", "--dry-run", "--json").json["passes"] is False


def test_an_override_is_possible_where_the_policy_says_so(raie: Raie, registry: Registry) -> None:
    done(raie("policy", "set", "production", "--retention", "0", "--allow-override"))
    refused_by_checks(raie("promote", "head"), ["--override --reason"])
    refused(raie("promote", "head", "--override"), 2, ["reason"])
    done(raie("promote", "head", "--override", "--reason", "production is down"))
    assert registry.resolve(MODEL, "production") == registry.head(MODEL)


def test_an_approval_by_somebody_else_lets_a_snapshot_through(
    raie: Raie, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(raie("policy", "set", "production", "--second-person"))
    assert raie("approve", "head").code == 2
    assert "it does not count, for ada made it" in done(raie("approve", "head", "--reason", "mine is fine")).out
    assert done(raie("approve", "head", "--reason", "mine is fine", "--json")).json["counts"] is False
    unasked = done(raie("approve", "head", "--alias", "staging", "--reason", "mine", "--json")).json
    assert unasked["counts"] is None, "nobody asks for a second person there"
    refused_by_checks(raie("promote", "head"), ["other than ada and grace"])
    monkeypatch.setenv("RAIE_ACTOR", "bob")
    said = done(raie("approve", "head", "--reason", "looked at it")).out
    assert said == f"bob approved {registry.resolve(MODEL, 'head').id[:12]} for production\n"
    done(raie("promote", "head"))
    assert registry.resolve(MODEL, "production") == registry.head(MODEL)


def test_an_approval_is_taken_back_and_a_look_alike_is_told(
    raie: Raie, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(raie("policy", "set", "production", "--second-person"))
    refused(raie("approve", "head", "--withdraw", "--reason", "x"), 1, ["only who gave one takes it back"])
    monkeypatch.setenv("RAIE_ACTOR", "\u0430da")
    ran = raie("approve", "head", "--reason", "looked at it", "--json")
    assert (ran.code, ran.json["look_alikes"], ran.json["counts"]) == (0, ["ada"], True)
    assert "note: '\\u0430da' looks like 'ada', and is another name" in ran.err
    done(raie("policy", "check", "head"))
    taken = done(raie("approve", "head", "--withdraw", "--reason", "on second thoughts", "--json")).json
    assert (taken["withdrawn"], taken["counts"]) == (True, False)
    refused_by_checks(raie("promote", "head"), ["no approval"])
    done(raie("verify"))


# --- Keys and signatures


def test_a_key_pair_is_two_files_and_the_private_one_is_its_owners_alone(raie: Raie) -> None:
    made = done(raie("keys", "generate", "release.pem", "--unencrypted", "--json")).json
    private, public = Path(made["private"]), Path(made["public"])
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" in private.read_bytes()
    assert b"PRIVATE" not in public.read_bytes()
    before = private.read_bytes(), public.read_bytes()
    refused(raie("keys", "generate", "release.pem", "--unencrypted"), 1, ["release.pem"])
    private.unlink()
    refused(raie("keys", "generate", "release.pem", "--unencrypted"), 1, ["release.pem.pub"])
    assert not private.exists(), "half a key pair is none"
    assert public.read_bytes() == before[1]


def test_a_passphrase_is_taken_from_the_environment_and_never_shown(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(raie("keys", "generate", "release.pem"), 1, ["RAIE_SIGNING_PASSPHRASE", "--unencrypted"])
    monkeypatch.setenv("RAIE_SIGNING_PASSPHRASE", SECRET)
    shown = done(raie("keys", "generate", "release.pem"))
    assert b"ENCRYPTED" in Path("release.pem").read_bytes()
    signed = done(raie("sign", "head", "--key", "release.pem"))
    monkeypatch.setenv("RAIE_SIGNING_PASSPHRASE", f"not {SECRET}")
    wrong = raie("sign", "head", "--key", "release.pem")
    refused(wrong, 2, ["passphrase"])
    monkeypatch.delenv("RAIE_SIGNING_PASSPHRASE")
    refused(raie("sign", "head", "--key", "release.pem"), 1, ["RAIE_SIGNING_PASSPHRASE"])
    assert SECRET not in "".join(ran.out + ran.err for ran in (shown, signed, wrong))


def test_a_file_that_is_no_key_is_refused_in_one_line(raie: Raie, workspace: Workspace) -> None:
    Path("notes.txt").write_text("not a key\n")
    Path("huge.pem").write_bytes(b"\0" * 100_000)
    done(raie("keys", "generate", "a.pem", "--unencrypted"))
    refused(raie("sign", "head", "--key", "notes.txt"), 2, ["ed25519"])
    refused(raie("sign", "head", "--key", "huge.pem"), 1, ["huge.pem"])
    refused(raie("sign", "head", "--key", "a.pem.pub"), 2, ["private key"])
    refused(raie("keys", "trust", "a.pem", "--name", "a"), 2, ["public key"])
    refused(raie("sign", "head"), 2, ["--key", "RAIE_SIGNING_KEY"])
    assert raie("keys", "trust", "nowhere.pub", "--name", "a").code == 2


def test_only_what_is_signed_by_a_trusted_key_is_promoted_and_loaded(
    raie: Raie, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(raie("keys", "generate", "release.pem", "--unencrypted"))
    monkeypatch.setenv("RAIE_SIGNING_KEY", "release.pem")
    assert "raie keys trust" in done(raie("sign", "head", "--reason", "CI passed")).out
    warned = done(raie("policy", "set", "production", "--require-signed"))
    assert "cannot be loaded" in warned.err
    refused_by_checks(raie("promote", "head"), ["signature"])
    refused(raie("recommend", "--items", "a", "--ref", "production"), 5, ["raie sign"])
    done(raie("lineage", "production"))
    done(raie("keys", "trust", "release.pem.pub", "--name", "release", "--reason", "CI's key"))
    assert done(raie("sign", "head", "--json")).json["trusted_as"] == "release"
    done(raie("promote", "head"))
    assert registry.resolve(MODEL, "production") == registry.head(MODEL)
    (key,) = done(raie("keys", "list", "--json")).json["keys"]
    assert (key["name"], key["trusted"], key["actor"], key["reason"]) == ("release", True, "ada", "CI's key")
    assert "1 checked" in done(raie("verify")).out
    done(raie("keys", "revoke", "release", "--reason", "lost"))
    assert "revoked" in done(raie("keys", "list")).out
    ran = raie("verify")
    assert ran.code == 5
    assert "requires a trusted signature" in ran.out
    refused(raie("keys", "revoke", "nobody"), 1, ["release"])


def test_a_signature_that_was_changed_by_hand_is_found(raie: Raie, registry: Registry) -> None:
    from raie.registry.db import triggers

    done(raie("keys", "generate", "release.pem", "--unencrypted"))
    done(raie("sign", "head", "--key", "release.pem"))
    with registry.engine.begin() as connection:
        triggers.drop(connection)
        connection.execute(text("UPDATE signatures SET signature = '00' || substr(signature, 3)"))
    report = raie("verify", "--json")
    assert report.code == 5
    assert ["is not valid" in problem for problem in report.json["trust_problems"]].count(True) == 1


# --- Roles


def test_roles_are_printed_as_sql_and_as_iam_policies(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = done(raie("db", "grant", "--print", "sql", "--prefix", "shop")).out
    assert all(line.endswith(";") for line in sql.splitlines())
    assert "CREATE ROLE shop_editor NOLOGIN" in sql
    refused(raie("db", "grant", "--print", "s3"), 2, ["file permissions"])
    refused(raie("db", "grant"), 2, ["SQLite", "whoever may write its file may change everything"])
    monkeypatch.setenv("RAIE_STORE", "s3://models/raie")
    policies = json.loads(done(raie("db", "grant", "--print", "s3")).out)
    assert list(policies) == ["reader", "editor", "promoter", "collector"]


def test_roles_are_made_in_postgresql_and_an_editor_is_refused_in_one_line(
    raie: Raie, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raie.migrations import upgrade

    upgrade(postgres_url)
    history.make(Registry.open(postgres_url, str(tmp_path / "blobs")))
    monkeypatch.setenv("RAIE_DATABASE_URL", postgres_url)
    (tmp_path / "raie.toml").write_text('store = "blobs"\n', encoding="utf-8")
    prefix = f"cli{os.getpid()}"
    said = done(raie("db", "grant", "--prefix", prefix)).out.splitlines()
    assert [line.split()[0] for line in said] == [
        f"{prefix}_{role}" for role in ("reader", "editor", "promoter", "collector")
    ]
    done(raie("policy", "set", "production"))
    registry = Registry.open(postgres_url, str(tmp_path / "blobs"))
    with registry.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {prefix}_eve LOGIN"))
        connection.execute(text(f"GRANT {prefix}_editor TO {prefix}_eve"))
    try:
        monkeypatch.setenv("RAIE_DATABASE_URL", postgres_url.replace("postgres@", f"{prefix}_eve@"))
        refused(raie("promote", "head"), 1, ["production of recsys is protected"])
        done(raie("promote", "head", "--to", "staging"))
        refused(raie("policy", "set", "production", "--unprotected"), 1, ["permission denied for table policies"])
    finally:
        with registry.engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {prefix}_eve"))
            for role in ("reader", "editor", "promoter", "collector"):
                connection.execute(text(f"DROP OWNED BY {prefix}_{role}"))
                connection.execute(text(f"DROP ROLE {prefix}_{role}"))


# --- Evaluations


def test_an_impact_report_passes_a_policy_and_a_recorded_evaluation_renews_it(raie: Raie, edited: Path) -> None:
    done(raie("promote", "edit:1"))
    done(
        raie(
            "policy",
            "set",
            "production",
            "--retention",
            "-1",
            "--adaptation",
            "-1",
            "--locality",
            "--max-age",
            "1",
        )
    )
    checks = done(raie("policy", "check", "head")).out
    assert "(edit 2)" in checks
    assert "recorded" not in done(raie("evaluate", LOG, "--against", "production", "--until", SECOND)).out
    refused(raie("evaluate", LOG, "--record"), 2, ["--against"])
    ran = done(
        raie("evaluate", LOG, "--against", "production", "--until", SECOND, "--record", "--reason", "weekly")
    )
    assert "recorded as evaluation 1" in ran.out
    assert "(evaluation 1)" in done(raie("promote", "head", "--dry-run")).out
    measured = raie("evaluate", LOG, "--against", "production", "--until", SECOND, "--json").json
    assert measured["evaluation"] is None
    rows = measured["models"]
    mine, served = rows[measured["snapshot"][:12]], rows[measured["against"][:12]]
    for part, windows in (("adaptation", "new"), ("retention", "set-up")):
        change = mine[windows]["Recall@10"] - served[windows]["Recall@10"]
        assert measured["comparison"][part]["Recall@10 change"]["mean"] == pytest.approx(change)
    done(raie("policy", "set", "production", "--adaptation", "1"))
    refused_by_checks(
        raie("promote", "head"), ["adaptation: expected Recall@10 to change by +1 or more", "(evaluation 1)"]
    )
