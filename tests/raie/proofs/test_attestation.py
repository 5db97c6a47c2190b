"""An attestation: another library verifies its signature, and no signature, key or blob that is wrong passes."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from raie.proofs.attestation import PAYLOAD_TYPE, PREDICATE_TYPE
from raie.proofs.envelope import read_envelope, seal
from raie.proofs.snapshot_parts import named_digests
from raie.registry import Author, Registry, trust
from raie.registry.canonical import canonical_json
from raie.registry.promotion.signing import Signer, generate, private_pem, public_pem
from raie.workspace import Workspace
from tests.cli import history
from tests.cli.conftest import Raie

MODEL = history.MODEL
ADA = Author("ada", "the key of our CI")


@pytest.fixture
def signer(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Signer:
    """A trusted key, whose file RAIE_SIGNING_KEY names."""
    made = generate()
    Path("release.pem").write_bytes(private_pem(made, None))
    Path("release.pem.pub").write_bytes(public_pem(made))
    monkeypatch.setenv("RAIE_SIGNING_KEY", "release.pem")
    trust.trust_key(registry, MODEL, made.key, "release", author=ADA)
    return made


def written(raie: Raie, ref: str = "head") -> dict[str, Any]:
    ran = raie("attest", "write", ref, "-o", "a.json", "--force")
    assert (ran.code, ran.err) == (0, "")
    value: dict[str, Any] = json.loads(Path("a.json").read_text(encoding="utf-8"))
    return value


def statement_in(envelope: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(b64decode(envelope["payload"]))
    return value


def refused(raie: Raie, code: int, words: str) -> None:
    ran = raie("attest", "verify", "a.json")
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran.err
    assert words in ran.err


def test_another_library_verifies_the_signature_and_refuses_a_changed_statement(
    raie: Raie, signer: Signer
) -> None:
    envelope = written(raie)
    public = serialization.load_pem_public_key(Path("release.pem.pub").read_bytes())
    key = SSlibKey.from_crypto(public, keyid=signer.key)  # type: ignore[arg-type]
    read = Envelope.from_dict(json.loads(json.dumps(envelope)))
    assert read.payload_type == "application/vnd.in-toto+json"
    assert set(read.verify([key], threshold=1)) == {signer.key}
    read.payload = read.payload.replace(b'"ada"', b'"eve"')
    with pytest.raises(VerificationError):
        read.verify([key], threshold=1)


def test_the_statement_names_every_blob_the_edit_its_data_and_who_decided(
    raie: Raie, registry: Registry, signer: Signer
) -> None:
    report = {"retention": {"windows": 40, "before": {}, "after": {}, "Recall@10 change": {"mean": 0.01}}}
    trust.record_evaluation(registry, MODEL, "edit:5", "production", report, author=Author("eve", "weekly"))
    trust.approve(registry, MODEL, "edit:5", "production", author=Author("bob", "looked at it"))
    registry.promote(MODEL, "edit:5", "production", author=Author("ada", "release 5"))
    statement = statement_in(written(raie, "production"))
    snapshot = registry.resolve(MODEL, "production")
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert digests == {"manifest": snapshot.id, **named_digests(snapshot.content)}
    said = statement["predicate"]
    assert (said["model"], said["snapshot"], said["parent"]) == (MODEL, snapshot.id, snapshot.parent)
    edit = registry.edit(MODEL, 5)
    assert (said["edit"]["number"], said["edit"]["dataDigest"]) == (5, edit.data_digest)
    assert {data["edit"]: data["digest"]["sha256"] for data in said["data"]}[5] == edit.data_digest
    decided = [(event["action"], event["actor"]) for event in said["audit"]]
    assert decided[-3:] == [("evaluate", "eve"), ("approve", "bob"), ("promote", "ada")]


def test_the_metrics_of_the_edit_are_in_the_statement(raie: Raie, registry: Registry, signer: Signer) -> None:
    begun = registry.begin(MODEL, "edit", seed=7, author=ADA, data_digest="e" * 64)
    base = registry.resolve(MODEL, str(begun.base)).content
    report = {"retention": {"windows": 9, "after": {"Recall@10": 0.5}}}
    registry.commit(MODEL, begun.number, base, [history.change(1, "update", 5)], report)
    (metric,) = statement_in(written(raie))["predicate"]["evaluation"]
    assert metric == {"type": "Recall@10", "value": "0.5", "slice": "held-out setup windows"}


def test_what_was_written_verifies_and_is_the_same_bytes_again(raie: Raie, signer: Signer) -> None:
    written(raie, "edit:2")
    first = Path("a.json").read_bytes()
    ran = raie("attest", "verify", "a.json", "--json")
    assert ran.code == 0
    said = [ran.json[name] for name in ("ok", "edit", "signed_by", "problems")]
    assert said == [True, 2, ["release"], []]
    assert "the attestation holds" in raie("attest", "verify", "a.json").out
    written(raie, "edit:2")
    assert Path("a.json").read_bytes() == first
    assert raie("attest", "write", "edit:2", "-o", "a.json").code == 1, "it is there"


def test_no_signature_but_that_of_a_trusted_key_over_these_bytes_counts(
    raie: Raie, registry: Registry, signer: Signer
) -> None:
    envelope = written(raie)
    payload, signature = b64decode(envelope["payload"]), envelope["signatures"]
    changed = payload.replace(b"a week of bot traffic", b"a week without one")
    assert changed != payload
    stranger = seal(PAYLOAD_TYPE, payload, generate())
    borrowed = json.loads(stranger)
    borrowed["signatures"][0]["keyid"] = signer.key
    other_type = envelope | {"payloadType": "application/json"}
    for value in (
        envelope | {"payload": b64encode(changed).decode()},
        json.loads(stranger),
        borrowed,
        other_type,
        envelope | {"signatures": []},
    ):
        Path("a.json").write_text(json.dumps(value), encoding="utf-8")
        refused(raie, 5, "Expected a signature by one of 1 trusted keys")
    both = envelope | {"signatures": [*json.loads(stranger)["signatures"], {"sig": signature[0]["sig"]}]}
    Path("a.json").write_text(json.dumps(both), encoding="utf-8")
    assert raie("attest", "verify", "a.json").code == 0, "a key's id is a hint, and another signature does no harm"
    trust.revoke_key(registry, MODEL, "release", author=Author("ada", "leaked"))
    refused(raie, 5, "Expected a signature by one of 0 trusted keys")


def test_a_blob_that_is_gone_or_damaged_is_named(
    raie: Raie, registry: Registry, workspace: Workspace, signer: Signer
) -> None:
    written(raie)
    entry = registry.resolve(MODEL, "head").content.regions[0]
    for digest, change in ((entry["lora"], Path.unlink), (entry["state"], lambda path: path.write_bytes(b"x"))):
        (path,) = (path for path in Path(".raie").rglob(digest) if path.is_file())
        path.chmod(0o600)
        change(path)
        ran = raie("attest", "verify", "a.json")
        assert ran.code == 5
        assert digest in ran.out
    assert len(raie("attest", "verify", "a.json", "--json").json["problems"]) == 2


def test_a_statement_of_other_blobs_than_the_registry_records_does_not_hold(
    raie: Raie, registry: Registry, signer: Signer
) -> None:
    statement = statement_in(written(raie))
    of_setup = registry.resolve(MODEL, "edit:1").content.regions[2]["state"]
    named = {subject["name"]: subject for subject in statement["subject"]}
    named["region/0/state"]["digest"]["sha256"] = of_setup
    statement["subject"].remove(named["space"])
    Path("a.json").write_bytes(seal(PAYLOAD_TYPE, canonical_json(statement), signer))
    ran = raie("attest", "verify", "a.json")
    assert ran.code == 5
    assert f"the attestation {of_setup[:12]}" in ran.out
    assert "space: the registry has" in ran.out


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"predicateType": "https://slsa.dev/provenance/v1"}, 2, PREDICATE_TYPE),
        ({"subject": [{"name": "manifest", "digest": {"sha1": "a" * 40}}]}, 2, PREDICATE_TYPE),
        ({"predicate": {"model": "other", "snapshot": "a" * 64}}, 2, "--model"),
        ({"predicate": {"model": MODEL, "snapshot": "production"}}, 2, PREDICATE_TYPE),
        ({"predicate": {"model": MODEL, "snapshot": "a" * 64}}, 1, "a" * 64),
    ],
)
def test_a_signed_text_that_is_no_attestation_of_a_snapshot_here_is_refused(
    raie: Raie, signer: Signer, change: dict[str, Any], code: int, words: str
) -> None:
    statement = statement_in(written(raie)) | change
    Path("a.json").write_bytes(seal(PAYLOAD_TYPE, canonical_json(statement), signer))
    refused(raie, code, words)


def test_an_envelope_that_another_library_signs_verifies_here(raie: Raie, signer: Signer) -> None:
    signed = Envelope(b64decode(written(raie)["payload"]), PAYLOAD_TYPE, {})
    private = serialization.load_pem_private_key(Path("release.pem").read_bytes(), None)
    signed.sign(CryptoSigner(private))  # type: ignore[arg-type]
    value = signed.to_dict()
    assert value["signatures"][0]["keyid"] != signer.key
    Path("a.json").write_text(json.dumps(value), encoding="utf-8")
    assert raie("attest", "verify", "a.json", "--json").json["signed_by"] == ["release"]


@pytest.mark.parametrize(
    "value",
    [
        [],
        "payload",
        {},
        {"payloadType": 1, "payload": "", "signatures": []},
        {"payloadType": "\ud800", "payload": "", "signatures": []},
        {"payloadType": "a/b", "payload": "e", "signatures": []},
        {"payloadType": "a/b", "payload": "", "signatures": [{"sig": None}]},
        {"payloadType": "a/b", "payload": "", "signatures": ["sig"]},
        {"payloadType": "a/b", "payload": "", "signatures": None},
    ],
)
def test_a_file_that_is_no_envelope_is_refused_in_one_line(
    raie: Raie, workspace: Workspace, value: object
) -> None:
    Path("a.json").write_text(json.dumps(value), encoding="utf-8")
    refused(raie, 2, "Expected a DSSE envelope in JSON")


def test_without_a_key_nothing_is_written(raie: Raie, workspace: Workspace) -> None:
    ran = raie("attest", "write", "-o", "a.json")
    assert (ran.code, ran.out) == (2, "")
    assert "--key FILE" in ran.err
    assert not Path("a.json").exists()


def test_both_alphabets_of_base64_are_read() -> None:
    value = json.loads(seal("a/b", b"\xfb\xff\xfe", generate()))
    value["payload"] = urlsafe_b64encode(b"\xfb\xff\xfe").decode()
    assert "-" in value["payload"]
    assert read_envelope(json.dumps(value).encode()).payload == b"\xfb\xff\xfe"
