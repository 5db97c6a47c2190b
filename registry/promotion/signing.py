"""ed25519 signatures over snapshots. The only file that imports cryptography.

What is signed is a statement, not a digest alone: its type and its length stand before it, so that a signature made
for anything else can never be read as one of a snapshot. The snapshot's id is the sha256 of its manifest, which
names every blob by its sha256: one signature covers every byte that decides a score.

Source: the pre-authentication encoding of DSSE (Dead Simple Signing Envelope, protocol version 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from raie.registry.canonical import canonical_json
from raie.registry.errors import InvalidValue
from raie.registry.values import check_digest, check_name

__all__ = [
    "Signer",
    "encode",
    "generate",
    "is_encrypted",
    "is_signed",
    "is_valid",
    "private_pem",
    "public_pem",
    "read_private",
    "read_public",
    "statement",
]

STATEMENT_TYPE = "application/vnd.raie.snapshot.v1+json"
_PKCS8 = serialization.PrivateFormat.PKCS8
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Signer:
    """A private key that signs snapshots; key: its public half, 32 bytes as 64 hexadecimal characters."""

    key: str
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, model: str, snapshot: str) -> str:
        """The signature of a snapshot, 64 bytes as 128 hexadecimal characters; the same one each time."""
        return self._private.sign(statement(model, snapshot)).hex()

    def sign_body(self, kind: str, body: bytes) -> bytes:
        """The signature of a body of another type, 64 bytes; the same one each time."""
        return self._private.sign(encode(kind, body))


def encode(kind: str, body: bytes) -> bytes:
    """The bytes that are signed for a body of this type."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(body), body)


def statement(model: str, snapshot: str) -> bytes:
    """What a signature of a snapshot signs; raises InvalidValue for what can be neither."""
    body = {"model": check_name(model, "model name"), "snapshot": check_digest(snapshot)}
    return encode(STATEMENT_TYPE, canonical_json(body))


def is_valid(key: str, model: str, snapshot: str, signature: str) -> bool:
    """Whether this key signed this snapshot; false for a key or a signature that is none."""
    try:
        return _made(key, statement(model, snapshot), bytes.fromhex(signature))
    except ValueError:
        return False


def is_signed(key: str, kind: str, body: bytes, signature: bytes) -> bool:
    """Whether this key signed this body as one of this type; false for a key or a signature that is none."""
    return _made(key, encode(kind, body), signature)


def _made(key: str, encoded: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, encoded)
    except (InvalidSignature, ValueError):
        return False
    return True


def generate() -> Signer:
    """A new key pair from the system's random source."""
    return _signer(Ed25519PrivateKey.generate())


def private_pem(signer: Signer, passphrase: str | None) -> bytes:
    """The private key in PEM (PKCS #8), encrypted where there is a passphrase."""
    lock = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    return signer._private.private_bytes(_PEM, _PKCS8, lock)


def public_pem(signer: Signer) -> bytes:
    """The public key in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return signer._private.public_key().public_bytes(_PEM, form)


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key needs a passphrase."""
    return b"ENCRYPTED" in pem


def read_private(pem: bytes, passphrase: str | None) -> Signer:
    """The private key of a PEM text; raises InvalidValue for another kind of key or a wrong passphrase.

    Neither the text nor the passphrase is repeated in the error.
    """
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "with its passphrase" if is_encrypted(pem) else "and no passphrase"
        raise InvalidValue(
            f"Expected an ed25519 private key in PEM {what}, found a text that does not open so; "
            "`raie keys generate` makes one"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidValue(
            "Expected an ed25519 private key, found a key of another kind; `raie keys generate` makes one"
        )
    return _signer(key)


def read_public(pem: bytes) -> str:
    """The public key of a PEM text as 64 hexadecimal characters; raises InvalidValue for anything else."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidValue(
            "Expected an ed25519 public key in PEM, found another text; `raie keys generate` writes one beside the "
            "private key, ending in .pub"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidValue("Expected an ed25519 public key, found a key of another kind")
    return key.public_bytes_raw().hex()


def _signer(private: Ed25519PrivateKey) -> Signer:
    return Signer(private.public_key().public_bytes_raw().hex(), private)
