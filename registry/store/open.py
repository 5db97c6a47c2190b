"""From a store's address to the store."""

from __future__ import annotations

from pathlib import Path

from raie.registry.store.base import ArtifactStore
from raie.registry.store.local import LocalStore
from raie.registry.store.url import parse_store

__all__ = ["open_store"]


def open_store(store_url: str) -> ArtifactStore:
    """The store of a folder's path, `file:///folder` or `s3://NAME/prefix`; raises InvalidValue for anything else.

    `s3://NAME/prefix?timeout=SECONDS` says how long one request is waited for.
    The endpoint and the credentials of S3 come from boto3's own chain: AWS_ENDPOINT_URL, AWS_PROFILE and so on.
    """
    address = parse_store(store_url)
    if isinstance(address, Path):
        return LocalStore(address)
    # boto3 takes longer to import than everything else here together, and a folder does not need it.
    from raie.registry.store.s3 import S3Store
    from raie.registry.store.s3_objects import TIMEOUT_S

    return S3Store(address.name, address.prefix, timeout_s=address.timeout_s or TIMEOUT_S)
