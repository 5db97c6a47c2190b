"""A staging registry whose history has everything that can travel, and files of it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import select

from raie.registry import Author, Registry, trust
from raie.registry.db import tables
from raie.registry.db.engine import reading
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.promotion import signing
from raie.registry.transfer.moving import Exported, Imported, export_snapshot, import_snapshot
from raie.registry.transfer.records import COLUMNS
from tests.registry.building import MODEL, World
from tests.registry.promotion.test_admission import report

__all__ = ["SIGNER", "bring", "exported", "history_of", "repacked", "staging"]

SIGNER = signing.generate()


def staging(registry: Registry) -> World:
    """Edits, an aborted one, a rollback, a cherry-pick of a later version, an expiry, an evaluation and a signature."""
    world = World(registry)
    world.setup()
    world.edit(0, text="a")
    registry.promote(MODEL, "head", "production", Author("ada", "served"))
    registry.abort(MODEL, world.begin().number)
    world.edit(1, text="b")
    world.edit(0, 2, text="c")
    registry.promote_region(MODEL, 0, 3, "production", Author("grace", "region 0 first"))
    registry.rollback_edit(MODEL, 4, Author("ada", "bots"))
    trust.record_evaluation(registry, MODEL, "head", "edit:5", report(0.01), author=Author("ada", "weekly"))
    trust.sign(registry, MODEL, "head", SIGNER, author=Author("ada", "release"))
    return world


def expired(registry: Registry) -> None:
    """Lets whatever is not in use expire."""
    expire(registry, MODEL, Rule(keep_last=2), author=Author("ada", "old"))


def exported(registry: Registry, file: Path, ref: str = "head") -> Exported:
    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        with file.open("wb") as stream:
            yield stream

    return export_snapshot(registry, MODEL, ref, opened())


def bring(registry: Registry, file: Path, **options: Any) -> Imported:
    return import_snapshot(registry, file, author=Author("carol", "for production"), **options)


def history_of(registry: Registry, ids: set[str] | None = None) -> dict[str, list[str]]:
    """Every row that travels, by table, as text; of these snapshots alone where they are named."""
    rows = {}
    with reading(registry.engine) as connection:
        for name in ("snapshots", "edits", "operations", "adapter_versions", "evaluations"):
            table = tables.metadata.tables[name]
            query = select(*(table.c[column] for column in COLUMNS[name]))
            if name == "edits":
                query = query.where(table.c.state == "committed")
            rows[name] = sorted(str(dict(row._mapping)) for row in connection.execute(query))
        kept = select(tables.signatures.c.snapshot, tables.signatures.c.key, tables.signatures.c.signature)
        rows["signatures"] = sorted(map(str, connection.execute(kept)))
        gone = select(tables.expired_snapshots.c.snapshot)
        rows["expired"] = sorted(connection.execute(gone).scalars())
    return rows


Change = Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]


def repacked(file: Path, change: Change) -> None:
    """The file with each member changed, or left out where the change gives None."""
    with tarfile.open(file) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in members:
            changed = change(member, data)
            if changed is not None:
                changed[0].size = len(changed[1])
                tar.addfile(changed[0], io.BytesIO(changed[1]))
