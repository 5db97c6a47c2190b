"""A signature says one thing: this key signed this snapshot of this model; and a key shows nothing of its secret."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from raie.registry import InvalidValue
from raie.registry.promotion.signing import (
    STATEMENT_TYPE,
    Signer,
    encode,
    generate,
    is_encrypted,
    is_signed,
    is_valid,
    private_pem,
    public_pem,
    read_private,
    read_public,
    statement,
)

SNAPSHOT, ANOTHER = "a" * 64, "b" * 64
SECRET = "hunter2-very-secret"


def rsa_pems() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, key.public_key().public_bytes(serialization.Encoding.PEM, form)


def test_what_is_signed_is_encoded_as_dsse_says() -> None:
    # The test vector of the DSSE specification's protocol page.
    assert encode("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    kind, body = (
        b"application/vnd.raie.snapshot.v1+json",
        b'{"model":"recsys","snapshot":"%s"}' % SNAPSHOT.encode(),
    )
    assert statement("recsys", SNAPSHOT) == b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


@given(st.text(), st.binary(), st.text(), st.binary())
def test_two_statements_are_never_the_same_bytes(
    kind: str, body: bytes, another_kind: str, another: bytes
) -> None:
    try:
        encoded, second = encode(kind, body), encode(another_kind, another)
    except UnicodeEncodeError:
        return
    assert (encoded == second) == ((kind, body) == (another_kind, another))


def test_a_signature_is_of_one_snapshot_of_one_model_by_one_key() -> None:
    signer, stranger = generate(), generate()
    signature = signer.sign("recsys", SNAPSHOT)
    assert is_valid(signer.key, "recsys", SNAPSHOT, signature)
    assert signer.sign("recsys", SNAPSHOT) == signature
    flipped = f"{int(signature[0], 16) ^ 1:x}{signature[1:]}"
    for key, model, snapshot, text in (
        (stranger.key, "recsys", SNAPSHOT, signature),
        (signer.key, "other", SNAPSHOT, signature),
        (signer.key, "recsys", ANOTHER, signature),
        (signer.key, "recsys", SNAPSHOT, flipped),
        (signer.key, "recsys", SNAPSHOT, ""),
        (signer.key, "recsys", SNAPSHOT, "no hexadecimal"),
        ("zz", "recsys", SNAPSHOT, signature),
    ):
        assert not is_valid(key, model, snapshot, text)


def test_a_signature_of_a_body_is_one_of_its_type_alone() -> None:
    signer, body = generate(), b'{"model":"recsys"}'
    made = signer.sign_body("application/vnd.in-toto+json", body)
    assert is_signed(signer.key, "application/vnd.in-toto+json", body, made)
    for key, kind, text, signature in (
        (generate().key, "application/vnd.in-toto+json", body, made),
        (signer.key, STATEMENT_TYPE, body, made),
        (signer.key, "application/vnd.in-toto+json", body + b" ", made),
        (signer.key, "application/vnd.in-toto+json", body, made[:-1]),
        ("zz", "application/vnd.in-toto+json", body, made),
    ):
        assert not is_signed(key, kind, text, signature)


def test_a_signature_of_the_bare_id_is_none_of_the_snapshot() -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    for bare in (SNAPSHOT.encode(), bytes.fromhex(SNAPSHOT)):
        assert not is_valid(public, "recsys", SNAPSHOT, key.sign(bare).hex())


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_a_key_pair_reads_back_from_its_files(passphrase: str | None) -> None:
    signer = generate()
    private = private_pem(signer, passphrase)
    assert is_encrypted(private) == (passphrase is not None)
    read = read_private(private, passphrase)
    assert read.key == signer.key == read_public(public_pem(signer))
    assert is_valid(signer.key, "recsys", SNAPSHOT, read.sign("recsys", SNAPSHOT))


def test_a_file_of_openssl_is_read(tmp_path: object) -> None:
    ran = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=False)
    if ran.returncode:
        pytest.skip("openssl is not installed")
    assert len(read_private(ran.stdout, None).key) == 64


def test_what_is_no_key_is_refused_without_repeating_a_secret() -> None:
    locked, open_ = private_pem(generate(), SECRET), private_pem(generate(), None)
    private_rsa, public_rsa = rsa_pems()
    for pem, passphrase in (
        (b"", None),
        (b"not a key", None),
        (locked, None),
        (locked, f"{SECRET}!"),
        (open_, SECRET),
        (open_[:80], None),
        (private_rsa, None),
        (public_rsa, None),
    ):
        with pytest.raises(InvalidValue) as refused:
            read_private(pem, passphrase)
        assert SECRET not in str(refused.value)
        assert "\n" not in str(refused.value)
    for pem in (b"", open_, public_rsa, b"\0" * 100):
        with pytest.raises(InvalidValue):
            read_public(pem)


def test_a_signer_shows_its_public_half_alone() -> None:
    signer = generate()
    assert repr(signer) == f"Signer(key='{signer.key}')"
    assert isinstance(signer, Signer)


def test_the_registry_opens_without_the_library_that_signs() -> None:
    code = "import raie.registry.trust, raie.registry.maintenance.verify, sys; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
