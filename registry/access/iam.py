"""Who may do what in S3: an IAM policy for each role, with the actions that its work needs and no other.

The store holds bytes under their sha256 and checks them at every read, so whoever can put cannot forge: at worst an
object is damaged, which every reader sees. Only a collector deletes. Turn the bucket's versioning on as well: a put
then never destroys what was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raie.registry.errors import InvalidValue
from raie.registry.store.url import parse_store

__all__ = ["ACTIONS", "iam_policies"]

_READ, _LIST, _KEEP = ("s3:GetObject",), ("s3:ListBucket",), ("s3:PutObject",)

ACTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "reader": (_READ, _LIST, ()),
    "editor": ((*_READ, "s3:PutObject"), _LIST, _KEEP),
    "promoter": ((*_READ, "s3:PutObject"), _LIST, _KEEP),
    "collector": (
        ("s3:DeleteObject", "s3:AbortMultipartUpload"),
        (*_LIST, "s3:ListBucketMultipartUploads"),
        _KEEP,
    ),
}
"""Role -> actions on blobs, on the bucket that holds them, and on the heads that are kept of the audit chain."""


def iam_policies(store_url: str, scope: str = "") -> dict[str, dict[str, Any]]:
    """Role -> its IAM policy document for a store `s3://NAME/prefix`.

    scope: where below it the registry's objects lie, which nobody else's role may touch.
    Raises InvalidValue for a folder: who may write it is a matter of file permissions.
    """
    address = parse_store(store_url)
    if isinstance(address, Path):
        raise InvalidValue(
            "Expected a store s3://NAME/prefix to write policies for, found a folder: give its file permissions to "
            "those who may"
        )
    inside = "/".join(part for part in (address.prefix.strip("/"), scope) if part)
    return {role: _document(address.name, inside, *actions) for role, actions in ACTIONS.items()}


def _document(
    name: str,
    prefix: str,
    on_blobs: tuple[str, ...],
    on_bucket: tuple[str, ...],
    on_heads: tuple[str, ...],
) -> dict[str, Any]:
    inside = f"arn:aws:s3:::{name}/{prefix}/" if prefix else f"arn:aws:s3:::{name}/"
    statements = [
        _allow("Blobs", on_blobs, f"{inside}sha256/*"),
        # On the whole bucket: with a condition on the prefix, S3 answers that an object that is missing is
        # forbidden, and nobody could tell the two apart.
        _allow("List", on_bucket, f"arn:aws:s3:::{name}"),
        # Nobody may delete here: who rewrites the audit would have to.
        _allow("AuditEnds", on_heads, f"{inside}audit/*"),
        # Written by the owner of the database, who claims this part of the store.
        _allow("Marker", _READ, f"{inside}registry.json"),
    ]
    return {"Version": "2012-10-17", "Statement": [statement for statement in statements if statement["Action"]]}


def _allow(name: str, actions: tuple[str, ...], resource: str) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": list(actions), "Resource": [resource]}
