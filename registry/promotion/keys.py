"""Public keys that a model trusts, and the signatures of its snapshots.

A key is trusted or revoked by an event that stays; its newest one counts. A revoked key's signatures count no more,
whenever they were made, because nothing but the signer's own clock says when that was. Signatures by keys that nobody
trusts are kept too: they count from the moment their key is trusted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.queries import lock_model, require_model
from raie.registry.db.tables import audit_events, key_events, signatures
from raie.registry.errors import InvalidValue, NotFound
from raie.registry.states import AuditAction, KeyAction
from raie.registry.values import check_digest, check_name

__all__ = [
    "KeyEvent",
    "Signature",
    "SignatureThen",
    "attach",
    "invalid_signatures",
    "keys",
    "revoke",
    "signatures_before",
    "signatures_of",
    "signers",
    "trust",
]

_k, _s, _logged = key_events.c, signatures.c, audit_events.c


@dataclass(frozen=True)
class KeyEvent:
    """The newest word on a public key: action "trust" or "revoke", with who said it, when and why."""

    id: int
    model: str
    key: str
    action: str
    name: str
    actor: str
    reason: str
    at: float

    @property
    def trusted(self) -> bool:
        """Whether signatures of this key count."""
        return self.action == KeyAction.TRUST


@dataclass(frozen=True)
class Signature:
    """A key's signature of a snapshot; actor: who recorded it."""

    model: str
    snapshot: str
    key: str
    signature: str
    actor: str
    reason: str
    at: float


@dataclass(frozen=True)
class SignatureThen:
    """A signature as it stood at some event: name: of its key, None where nobody trusted the key then.

    valid: whether the key made it.
    """

    signature: Signature
    name: str | None
    valid: bool


def keys(connection: Connection, model: str) -> list[KeyEvent]:
    """The newest event of every key the model ever trusted, in the order in which they were said; raises NotFound."""
    require_model(connection, model)
    return [KeyEvent(**row._mapping) for row in connection.execute(_newest(model).order_by(_k.id))]


def _newest(model: str) -> Select[Any]:
    newest = select(func.max(_k.id)).where(_k.model == model).group_by(_k.key)
    return select(key_events).where(_k.id.in_(newest))


def trust(connection: Connection, model: str, key: str, name: str, author: Author) -> KeyEvent:
    """Trusts a public key under a name; the event that did where it is trusted so already.

    Raises NotFound for the model, and InvalidValue for a name that another trusted key has.
    """
    check_digest(key)
    check_name(name, "name of a key")
    lock_model(connection, model)
    known = [event for event in keys(connection, model) if event.trusted]
    for event in known:
        if event.key == key and event.name == name:
            return event
        if event.name == name:
            raise InvalidValue(
                f"Expected a name that no other trusted key has, found {name!r}, which is {event.key[:12]}; "
                "choose another, or revoke that key"
            )
    return _say(connection, model, key, KeyAction.TRUST, name, author)


def revoke(connection: Connection, model: str, name: str, author: Author) -> KeyEvent:
    """Ends the trust in a key, given by its name or by the first characters of the key itself; idempotent.

    Raises NotFound, and InvalidValue where several keys begin so.
    """
    lock_model(connection, model)
    known = keys(connection, model)
    matches = [event for event in known if event.name == name and event.trusted]
    matches = matches or [
        event for event in known if event.name == name or (len(name) >= 4 and event.key.startswith(name))
    ]
    if not matches:
        names = ", ".join(event.name for event in known) or "none"
        raise NotFound(f"Expected a key {name!r} of model {model!r}, found {names}; `raie keys list` shows them")
    if len({event.key for event in matches}) > 1:
        raise InvalidValue(f"Expected one key, found {len(matches)} that {name!r} could be; give more of the key")
    if not matches[0].trusted:
        return matches[0]
    return _say(connection, model, matches[0].key, KeyAction.REVOKE, matches[0].name, author)


def _say(connection: Connection, model: str, key: str, action: KeyAction, name: str, author: Author) -> KeyEvent:
    now = time.time()
    row = {
        "model": model,
        "key": key,
        "action": action,
        "name": name,
        "actor": author.name,
        "reason": author.reason,
        "at": now,
    }
    number = connection.execute(insert(key_events).values(row).returning(_k.id)).scalar_one()
    audit.append(
        connection,
        author=author,
        action=AuditAction(f"{action} key"),
        model=model,
        subject=f"key:{name}",
        target=key,
        at=now,
        rows={"key_events": [row | {"id": number}]},
    )
    return KeyEvent(number, model, key, action, name, author.name, author.reason, now)


def attach(
    connection: Connection, model: str, snapshot: str, key: str, signature: str, author: Author
) -> Signature:
    """Keeps a signature of a snapshot; the one that is there where the key signed it before.

    Raises InvalidValue for a signature that is not valid: a wrong one would be found at every verify.
    """
    from raie.registry.promotion.signing import is_valid

    lock_model(connection, model)
    if not is_valid(key, model, snapshot, signature):
        raise InvalidValue(
            f"Expected a signature of snapshot {snapshot} by key {key[:12]}, found one that is not valid"
        )
    for known in signatures_of(connection, model, snapshot):
        if known.key == key:
            return known
    made = Signature(model, snapshot, key, signature, author.name, author.reason, time.time())
    connection.execute(insert(signatures).values(vars(made)))
    audit.append(
        connection,
        author=author,
        action=AuditAction.SIGN,
        model=model,
        subject=f"key:{key}",
        target=snapshot,
        at=made.at,
        rows={"signatures": [vars(made)]},
    )
    return made


def signatures_of(connection: Connection, model: str, snapshot: str) -> list[Signature]:
    """Every signature of a snapshot that is kept, oldest first; whether they are valid and count is not asked."""
    query = select(signatures).where(_s.model == model, _s.snapshot == snapshot).order_by(_s.at)
    return [Signature(**row._mapping) for row in connection.execute(query)]


def signatures_before(connection: Connection, model: str, snapshot: str, before: int) -> tuple[SignatureThen, ...]:
    """The signatures of a snapshot that the audit records before an event, with the trust in their keys then."""
    mine = (_logged.model == model, _logged.target == snapshot, _logged.action == AuditAction.SIGN)
    logged = set(connection.execute(select(_logged.subject).where(*mine, _logged.id < before)).scalars())
    made = [known for known in signatures_of(connection, model, snapshot) if f"key:{known.key}" in logged]
    if not made:
        return ()
    from raie.registry.promotion.signing import is_valid

    names = _trusted_before(connection, model, before)
    return tuple(
        SignatureThen(known, names.get(known.key), is_valid(known.key, model, snapshot, known.signature))
        for known in made
    )


def _trusted_before(connection: Connection, model: str, before: int) -> dict[str, str]:
    """Key -> its name, of the keys that were trusted when an event was recorded."""
    mine = (_logged.model == model, _logged.action.in_((AuditAction.TRUST_KEY, AuditAction.REVOKE_KEY)))
    trusted: dict[str, str] = {}
    for row in connection.execute(select(audit_events).where(*mine, _logged.id < before).order_by(_logged.id)):
        if row.action == AuditAction.TRUST_KEY:
            trusted[row.target] = row.subject.removeprefix("key:")
        else:
            trusted.pop(row.target, None)
    return trusted


def signers(connection: Connection, model: str, snapshot: str, before: int | None = None) -> frozenset[str]:
    """The names of the trusted keys that signed a snapshot, each signature checked again.

    before: count only what the audit records before this event; None for all.
    """
    if before is not None:
        then = signatures_before(connection, model, snapshot, before)
        return frozenset(known.name for known in then if known.name is not None and known.valid)
    made = signatures_of(connection, model, snapshot)
    if not made:
        return frozenset()
    # Only whoever must check a signature pays for the import.
    from raie.registry.promotion.signing import is_valid

    trusted = {event.key: event.name for event in keys(connection, model) if event.trusted}
    return frozenset(
        trusted[signature.key]
        for signature in made
        if signature.key in trusted and is_valid(signature.key, model, snapshot, signature.signature)
    )


def invalid_signatures(connection: Connection) -> Iterator[str]:
    """One line for each kept signature that its key did not make."""
    rows = connection.execute(select(signatures).order_by(_s.at)).all()
    if not rows:
        return
    from raie.registry.promotion.signing import is_valid

    for row in rows:
        if not is_valid(row.key, row.model, row.snapshot, row.signature):
            yield f"the signature of snapshot {row.snapshot} by key {row.key[:12]} is not valid"
