"""The end of an alias, and its new name: two changes of what names there are, each in the log of moves.

A deletion is a move to no snapshot. A renaming is a move of the new name to where the old one points, and the deletion
of the old one, in one transaction. The log of a name stays: who makes it again goes on with it.

The policy of a name stays with it too. A protected alias is not deleted or renamed, because no snapshot could pass its
checks for that: its protection is lifted first, or an override that its policy allows passes over it.
"""

from __future__ import annotations

import time
from dataclasses import replace

from sqlalchemy import Connection, delete, insert

from raie.registry import audit, outbox
from raie.registry.author import Author
from raie.registry.db.queries import check_alias, lock_model, pointed_at, require_kept, unknown_alias
from raie.registry.db.tables import alias_moves, aliases
from raie.registry.errors import AliasConflict, InvalidValue, PromotionRefused
from raie.registry.outbox_records import ALIAS_DELETED
from raie.registry.promotion import admission
from raie.registry.promotion.aliases import move_alias
from raie.registry.promotion.policy_versions import in_force
from raie.registry.states import AuditAction
from raie.registry.values import AliasMove

__all__ = ["delete_alias", "rename_alias"]


def delete_alias(
    connection: Connection, model: str, alias: str, author: Author, *, override: bool = False
) -> AliasMove:
    """Takes an alias away; its log, its policy and what it pointed at stay.

    Args:
        connection: inside a transaction.
        model: its name.
        alias: its name.
        author: who deletes it, and why; the reason is required.
        override: pass over a policy that allows it.

    Returns:
        The move, whose target is None.

    Raises:
        NotFound: for a model or an alias that is not there.
        InvalidValue: without a reason.
        PromotionRefused: for a protected alias.
    """
    _require_reason(author)
    lock_model(connection, model)
    served = _served(connection, model, alias)
    _require_unprotected(connection, model, alias, served, author, "deleted", override=override)
    return _take_away(connection, model, alias, served, author)


def rename_alias(
    connection: Connection, model: str, old: str, new: str, author: Author, *, override: bool = False
) -> AliasMove:
    """Gives an alias another name, which no other alias has.

    Args:
        connection: inside a transaction.
        model: its name.
        old: the alias's name.
        new: the name that it gets; its own policy, where there is one, must admit the snapshot.
        author: who renames it, and why; the reason is required.
        override: pass over policies that allow it.

    Returns:
        The move of the new name.

    Raises:
        NotFound: for a model or an alias that is not there.
        AliasConflict: where there is an alias of the new name.
        InvalidValue: for a name that no alias may have, or without a reason.
        PromotionRefused: for a protected alias, or a snapshot that the new name's policy refuses.
        SnapshotExpired: where the blobs of what it points at may be gone.
    """
    _require_reason(author)
    lock_model(connection, model)
    served = _served(connection, model, old)
    taken = pointed_at(connection, model, new)
    if taken is not None:
        raise AliasConflict(
            f"Expected no alias {new!r} of {model!r}, found one at {taken}; choose another name, or delete it first",
            None,
            taken,
        )
    check_alias(connection, model, new)
    require_kept(connection, [served])
    _require_unprotected(connection, model, old, served, author, "renamed", override=override)
    admission.admit(connection, model, new, served, None, author=author, override=override)
    move = move_alias(connection, model, new, None, served, _with_note(author, f"renamed from {old}"))
    _take_away(connection, model, old, served, _with_note(author, f"renamed to {new}"))
    return move


def _with_note(author: Author, what: str) -> Author:
    return replace(author, reason=f"{what}: {author.reason}")


def _require_reason(author: Author) -> None:
    if not author.reason.strip():
        raise InvalidValue("Expected a reason, found none; say why in --reason")


def _served(connection: Connection, model: str, alias: str) -> str:
    served = pointed_at(connection, model, alias)
    if served is None:
        raise unknown_alias(connection, model, alias, "`raie alias list` shows those there are")
    return served


def _require_unprotected(
    connection: Connection, model: str, alias: str, served: str, author: Author, done: str, *, override: bool
) -> None:
    """Raises PromotionRefused for a protected alias, unless its policy lets an override pass, which is recorded."""
    version = in_force(connection, model, alias)
    if version is None or not version.policy.protected:
        return
    final = not version.policy.override or version.policy.require_signed
    summary = f"policy {version.version} protects {alias!r}, which is to be {done}"
    if final or not override:
        ways = f"`raie policy set {alias} --unprotected --reason TEXT` lifts the policy"
        ways += "" if final else "; `--override --reason TEXT` passes over it"
        raise PromotionRefused(
            f"Expected alias {alias!r} of {model!r} without a protecting policy, found that {summary}. "
            f"What to do: {ways}",
            [summary],
            served,
            None,
        )
    audit.append(
        connection,
        author=replace(author, reason=f"{author.reason} (in spite of: {summary})"),
        action=AuditAction.OVERRIDE,
        model=model,
        subject=f"alias:{alias}",
        source=served,
    )


def _take_away(connection: Connection, model: str, alias: str, served: str, author: Author) -> AliasMove:
    """Deletes the row of the alias, and records it where every move is recorded."""
    at = time.time()
    mine = (aliases.c.model == model, aliases.c.name == alias, aliases.c.snapshot == served)
    if connection.execute(delete(aliases).where(*mine)).rowcount != 1:
        actual = pointed_at(connection, model, alias)
        raise AliasConflict(f"Expected alias {alias!r} at {served}, found it at {actual}; retry", served, actual)
    said = {"actor": author.name, "reason": author.reason, "at": at}
    row = {"model": model, "alias": alias, "source": served, "target": None, **said}
    number = connection.execute(insert(alias_moves).values(row).returning(alias_moves.c.id)).scalar_one()
    audit.append(
        connection,
        author=author,
        action=AuditAction.DELETE_ALIAS,
        model=model,
        subject=f"alias:{alias}",
        source=served,
        at=at,
        rows={"alias_moves": [row | {"id": number}]},
    )
    outbox.enqueue(connection, model, ALIAS_DELETED, {"alias": alias, "from": served, "to": None, **said})
    return AliasMove(number, model, alias, served, None, author.name, author.reason, at)
