"""Registry: begin, commit, roll back, promote, load.

Each method is one transaction of the commit protocol, or a few that leave nothing half visible. The rules are in
the modules it calls: edits (running ones), commit and landing (transaction B), rollback, promotion, blobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, select

from raie.registry import blobs, preflight
from raie.registry.author import Author
from raie.registry.db import queries
from raie.registry.db.engine import check_schema, connected, open_engine, reading, write
from raie.registry.db.tables import aliases as aliases_table
from raie.registry.db.tables import edits as edits_table
from raie.registry.db.tables import models as models_table
from raie.registry.edits import commit, rollback
from raie.registry.edits import lifecycle as edits
from raie.registry.edits.undone import LandedEdit, landed_edits
from raie.registry.errors import BlobMissing
from raie.registry.failpoints import failpoint
from raie.registry.leases import new_lease_owner
from raie.registry.ownership import standing
from raie.registry.ownership.identity import scope_of
from raie.registry.promotion import admission, alias_names, refusals
from raie.registry.promotion import aliases as promotion
from raie.registry.states import EditState
from raie.registry.store.base import ArtifactStore
from raie.registry.store.open import open_store
from raie.registry.values import Alias, AliasMove, Content, Digest, Edit, RegionChange, Snapshot, check_digest

__all__ = ["Registry"]


@dataclass(frozen=True)
class Registry:
    """The model states of one database and one artifact store.

    It holds no connection between calls and needs no closing. lease_owner: the name under which this process holds the
    leases of its edits.  checked: when the store was last asked whether this database may write to it. Every method
    may raise DatabaseUnreachable, those that touch blobs StoreUnreachable, those that write NotOwner.
    """

    engine: Engine
    store: ArtifactStore
    lease_owner: str = field(default_factory=new_lease_owner)
    checked: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def open(database_url: str, store_url: str) -> Registry:
        """The registry of a database and a store, of which its own part is opened; the store itself is not asked.

        Args:
            database_url: `sqlite:///file` or `postgresql://user@host/name`.
            store_url: a folder, or `s3://bucket/prefix`.

        Returns:
            The registry; it holds no connection.

        Raises:
            SchemaMismatch: for a database of another revision.
            DatabaseUnreachable: where there is none.
            InvalidValue: for a URL of another kind.
            Untrusted: for a database without an identity.
        """
        engine = open_engine(database_url)
        store = open_store(store_url)
        return Registry(engine, store.within(check_schema(engine, scope_of)))

    def require_writable(self, *, store_needed: bool = True) -> None:
        """Checks that this database may write, and that the store is its own.

        Args:
            store_needed: False for what touches the database alone, which an absent store does not stop.

        Raises:
            NotOwner: where the store is another registry's, or another copy's of this one.
        """
        standing.require_writable(self, store_needed=store_needed)

    # Blobs

    def put(self, data: bytes) -> Digest:
        """Stores bytes under their sha256, reads them back, and makes them fit for a commit; idempotent.

        Args:
            data: of one blob.

        Returns:
            Its digest.

        Raises:
            StoreFull: where there is no room.
            BlobCorrupt: where the store does not keep what it is given.
        """
        self.require_writable()
        return blobs.put(self.engine, self.store, data)

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        """Stores many blobs, faster than one by one.

        Args:
            data: the bytes of each blob.

        Returns:
            Their digests in the same order.

        Raises:
            StoreFull: where there is no room.
            BlobCorrupt: where the store does not keep what it is given.
        """
        self.require_writable()
        return blobs.put_all(self.engine, self.store, data)

    def adopt_all(self, sizes: Mapping[Digest, int]) -> dict[Digest, bytes]:
        """Makes blobs that another process has put into the store fit for a commit, as `put_all` does with bytes.

        Args:
            sizes: bytes of each blob, by digest.

        Returns:
            Their bytes, read and verified, by digest.

        Raises:
            BlobMissing: where the store does not hold one.
            BlobCorrupt: where it holds other bytes.
        """
        self.require_writable()
        return blobs.adopt_all(self.engine, self.store, sizes)

    def get(self, digest: Digest) -> bytes:
        """The bytes of a blob, whose sha256 is verified.

        Args:
            digest: of the blob, 64 lower-case hexadecimal characters.

        Returns:
            The bytes.

        Raises:
            BlobMissing: where the store has lost it, or nobody put it.
            BlobCorrupt: where the store holds other bytes under this digest.
            SnapshotExpired: where only snapshots that expired needed it.
        """
        try:
            return self.store.get(check_digest(digest))
        except BlobMissing:
            with reading(self.engine) as connection:
                queries.require_unexpired(connection, digest)
            raise

    # Reading

    def models(self) -> list[str]:
        """The names of the models.

        Returns:
            The names, sorted.
        """
        with reading(self.engine) as connection:
            return list(connection.execute(select(models_table.c.name).order_by(models_table.c.name)).scalars())

    def head(self, model: str) -> Snapshot | None:
        """The model's newest snapshot.

        Args:
            model: its name.

        Returns:
            The snapshot; None before the model's first one.
        """
        with reading(self.engine) as connection:
            newest = queries.head_id(connection, model)
            return None if newest is None else queries.snapshot_by_id(connection, newest)

    def resolve(self, model: str, ref: str) -> Snapshot:
        """The snapshot that a reference names.

        Args:
            model: its name.
            ref: "head", an alias, "edit:3", an id, or a unique prefix of 4 or more characters of one.

        Returns:
            The snapshot, whose blobs are kept.

        Raises:
            NotFound: where nothing has this name.
            InvalidValue: for a prefix of several.
            SnapshotExpired: for one whose blobs may be gone; `lineage.find` reads what that one was.
            Untrusted: for a protected alias that was moved by hand, or lacks the signature that its policy requires;
                what is loaded through an alias is checked each time.
        """
        with reading(self.engine) as connection:
            snapshot = queries.resolve_id(connection, model, ref)
            admission.admit_load(connection, model, ref, snapshot)
            return queries.kept_snapshot(connection, snapshot)

    def next_region_id(self, model: str) -> int:
        """An id that no region of the model ever had: a rollback does not make an id free again.

        Args:
            model: its name.

        Returns:
            One more than the largest id; 0 for the first region.
        """
        with reading(self.engine) as connection:
            return queries.next_region_id(connection, model)

    def edits(self, model: str, *, only_open: bool = False, limit: int | None = None) -> list[Edit]:
        """The model's edits, newest first.

        Args:
            model: its name.
            only_open: those that run or were abandoned.
            limit: the newest so many; None for all.

        Returns:
            The edits.

        Raises:
            NotFound: for a model that is not there.
        """
        table = edits_table.c
        with reading(self.engine) as connection:
            queries.require_model(connection, model)
            query = select(edits_table).where(table.model == model).order_by(table.number.desc()).limit(limit)
            query = query.where(table.state == EditState.RUNNING) if only_open else query
            return [queries.edit_of(row) for row in connection.execute(query)]

    def edit(self, model: str, number: int) -> Edit:
        """One edit.

        Args:
            model: its name.
            number: of the edit, counted from 1 in each model.

        Returns:
            The edit; one whose lease is over is shown as abandoned.

        Raises:
            NotFound: where there is none of this number.
        """
        with reading(self.engine) as connection:
            return queries.edit_by_number(connection, model, number)

    # Edits

    def begin(
        self,
        model: str,
        kind: str,
        *,
        seed: int,
        author: Author,
        data_digest: str | None = None,
        plan_digest: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        base: str | None = None,
    ) -> Edit:
        """Begins an edit and takes its lease; the kind "setup" makes the model.

        Args:
            model: its name.
            kind: a word of EditKind that does not begin and end in one transaction.
            seed: of everything random in it.
            author: who begins it, and why.
            data_digest: sha256 of the log that it learns from.
            plan_digest: of the blob of its plan.
            parameters: JSON object.
            base: the id of the snapshot it was planned on; None takes the head.

        Returns:
            The running edit.

        Raises:
            NotFound: for a model or a base that is not there.
            InvalidValue: for a kind or a value that cannot be stored.
            EditStateError: for a setup of a model that has a head, or an edit of one that has none.
            SnapshotExpired: for a base whose blobs may be gone.
            CommitConflict: for a base of another model.
        """
        self.require_writable()
        edit = write(
            self.engine,
            lambda connection: edits.begin(
                connection,
                self.lease_owner,
                model,
                kind,
                seed=seed,
                data_digest=data_digest,
                plan_digest=plan_digest,
                parameters=parameters or {},
                author=author,
                base=base,
            ),
        )
        failpoint("begin.committed")
        return edit

    def record_checkpoint(self, model: str, number: int, key: str, value: Mapping[str, Any]) -> None:
        """Records the result of a finished step, so that another process can go on from there; renews the lease.

        Args:
            model: its name.
            number: of the edit.
            key: of the step; a later result of the same key replaces this one.
            value: JSON object; the digests in it are safe from gc while the edit runs.

        Raises:
            LeaseLost: where another process took the edit.
            EditStateError: for an edit that does not run.
        """
        write(self.engine, lambda c: edits.record_checkpoint(c, self.lease_owner, model, number, key, value))
        failpoint("checkpoint.committed")

    def checkpoints(self, model: str, number: int) -> dict[str, Mapping[str, Any]]:
        """The results of an edit's finished steps.

        Args:
            model: its name.
            number: of the edit.

        Returns:
            Key of a step -> its result, sorted by key.

        Raises:
            NotFound: for a model that is not there.
        """
        with reading(self.engine) as connection:
            return edits.checkpoints(connection, model, number)

    def heartbeat(self, model: str, number: int) -> None:
        """Renews the lease of an edit that this process works on.

        Args:
            model: its name.
            number: of the edit.

        Raises:
            LeaseLost: where another process took the edit.
            EditStateError: for an edit that does not run.
        """
        write(self.engine, lambda c: edits.heartbeat(c, self.lease_owner, model, number))

    def resume(self, model: str, number: int, *, author: Author | None = None, force: bool = False) -> Edit:
        """Takes the lease of an abandoned edit.

        Args:
            model: its name.
            number: of the edit.
            author: who takes it; None for the edit's own.
            force: also from a process that may still work on it.

        Returns:
            The edit, which runs.

        Raises:
            LeaseLost: while another process works on it.
            EditStateError: for an edit that is closed.
        """
        self.require_writable()
        edit = write(self.engine, lambda c: edits.resume(c, self.lease_owner, model, number, author, force))
        failpoint("resume.committed")
        return edit

    def abort(self, model: str, number: int, author: Author | None = None, *, force: bool = False) -> Edit:
        """Closes an edit without a result; idempotent.

        Args:
            model: its name.
            number: of the edit.
            author: who closes it, and why; None for the edit's own, without a reason.
            force: also one that another process may still work on.

        Returns:
            The edit, which is aborted.

        Raises:
            LeaseLost: while another process works on it.
            EditStateError: for an edit that is committed.
        """
        self.require_writable(store_needed=False)
        edit = write(self.engine, lambda c: edits.abort(c, self.lease_owner, model, number, author, force))
        failpoint("abort.committed")
        return edit

    def commit(
        self,
        model: str,
        number: int,
        content: Content,
        changes: Sequence[RegionChange],
        report: Mapping[str, Any] | None = None,
    ) -> Snapshot:
        """Makes the content the model's head and closes the edit; asked again, returns the same snapshot.

        An edit whose head moved is replayed on the new one where the two changed different regions.

        Args:
            model: its name.
            number: of the edit.
            content: what the edit made of its base; every blob of it was put.
            changes: one RegionChange for every region that differs from the base.
            report: JSON object, kept with the edit; a policy reads it as an impact report.

        Returns:
            The snapshot.

        Raises:
            CommitConflict: where the head moved and both changed the same.
            BlobMissing: for a blob that was not put.
            InvalidValue: for a region that changed without a RegionChange.
            IncompatibleRegions: for another backbone.
            LeaseLost: where another process took the edit.
            EditStateError: for an edit that does not run.
            CommitStateUnknown: where the answer was lost; ask again.
        """
        self.require_writable()
        with connected(self.engine) as database:
            return commit.commit(
                database, self.store, self.lease_owner, model, number, content, changes, report or {}
            )

    # Rolling back

    def rollback_to(self, model: str, ref: str, author: Author) -> Snapshot:
        """Commits a snapshot with exactly an older one's content.

        Args:
            model: its name.
            ref: of the older snapshot, as `resolve` takes it.
            author: who rolls back, and why.

        Returns:
            The new head; the present one where it has that content already.

        Raises:
            NotFound: where nothing has this name.
            SnapshotExpired: where the older one's blobs may be gone.
        """
        self.require_writable()
        with connected(self.engine) as database:
            return rollback.rollback_to(database, self.store, self.lease_owner, model, ref, author)

    def rollback_edit(self, model: str, number: int, author: Author, cascade: bool = False) -> Snapshot:
        """Commits a snapshot without what one edit changed; every later change of other regions stays.

        Args:
            model: its name.
            number: of the edit.
            author: who rolls back, and why.
            cascade: undo the later edits in the way too.

        Returns:
            The new head; the present one where that is undone already.

        Raises:
            RollbackConflict: naming the later edits in the way.
            EditStateError: for an edit with nothing to undo.
            SnapshotExpired: for one whose base expired.
            NotFound: where there is no edit of this number.
        """
        self.require_writable()
        with connected(self.engine) as database:
            return rollback.rollback_edit(database, self.store, self.lease_owner, model, number, author, cascade)

    # Aliases

    def promote(
        self,
        model: str,
        ref: str,
        alias: str,
        author: Author,
        expected: str | None = None,
        override: bool = False,
    ) -> AliasMove:
        """Moves an alias to a snapshot, making it where it is new; asked again, returns the same move, as repeated.

        Args:
            model: its name.
            ref: of the snapshot, as `resolve` takes it.
            alias: its name.
            author: who moves it, and why.
            expected: a reference to the snapshot it must point to, "" where it must not exist, None for either; it is
                compared first, so who asks again with one gets AliasConflict.
            override: pass over checks that the alias's policy allows to be passed over; needs a reason.

        Returns:
            The move.

        Raises:
            AliasConflict: where the alias points elsewhere than expected.
            NotFound: where nothing has this name.
            InvalidValue: for a name that no alias may have, or an override without a reason.
            SnapshotExpired: for a snapshot whose blobs may be gone.
            BlobMissing: where the store lacks a blob of the snapshot; it is asked for each, and none is read.
            StoreUnreachable: where the store does not answer.
            PromotionRefused: naming each failed check.
        """
        target = preflight.require_snapshot(self, model, ref)
        self.require_writable(store_needed=False)
        with refusals.recorded(self.engine, model, alias, author):
            move = write(
                self.engine, lambda c: promotion.promote(c, model, target, alias, author, expected, override)
            )
        failpoint("promote.committed")
        return move

    def promote_region(
        self,
        model: str,
        region: int,
        version: int,
        alias: str,
        author: Author,
        override: bool = False,
    ) -> tuple[Snapshot, AliasMove]:
        """Cherry-picks one version of one region onto what the alias serves, and moves the alias there.

        Args:
            model: its name.
            region: its id.
            version: of the region, counted from 1.
            alias: its name; it must exist.
            author: who moves it, and why.
            override: as for `promote`.

        Returns:
            The snapshot that the alias serves then, and the move.

        Raises:
            NotFound: for a version or an alias that is not there.
            PromotionRefused: naming each failed check.
            IncompatibleRegions: for a version of another space or catalogue.
            SnapshotExpired: where the version's blobs went with a snapshot that expired.
            AliasConflict: where the alias kept moving meanwhile.
            BlobMissing: where the store lacks a blob of the version; it is asked for each, and none is read.
        """
        preflight.require_version(self, model, region, version)
        self.require_writable()
        with refusals.recorded(self.engine, model, alias, author), connected(self.engine) as database:
            return promotion.promote_region(
                database, self.store, self.lease_owner, model, region, version, alias, author, override
            )

    def delete_alias(self, model: str, alias: str, author: Author, *, override: bool = False) -> AliasMove:
        """Deletes an alias; its log, its policy and the snapshot that it pointed at stay.

        Args:
            model: its name.
            alias: its name.
            author: who deletes it, and why; the reason is required.
            override: pass over a policy that allows it.

        Returns:
            The move, whose target is None.

        Raises:
            NotFound: for a model or an alias that is not there.
            InvalidValue: without a reason.
            PromotionRefused: for an alias that a policy protects.
        """
        self.require_writable(store_needed=False)
        return write(self.engine, lambda c: alias_names.delete_alias(c, model, alias, author, override=override))

    def rename_alias(self, model: str, old: str, new: str, author: Author, *, override: bool = False) -> AliasMove:
        """Gives an alias another name; the log and the policy of the old name stay with the old name.

        Args:
            model: its name.
            old: the alias's name.
            new: the name that it gets.
            author: who renames it, and why; the reason is required.
            override: pass over policies that allow it.

        Returns:
            The move of the new name to where the old one pointed.

        Raises:
            NotFound: for a model or an alias that is not there.
            AliasConflict: where there is an alias of the new name.
            InvalidValue: for a name that no alias may have, or without a reason.
            PromotionRefused: for an alias that a policy protects, or a snapshot that the new name's policy refuses.
            SnapshotExpired: where the blobs of what it points at may be gone.
        """
        self.require_writable(store_needed=False)
        return write(
            self.engine, lambda c: alias_names.rename_alias(c, model, old, new, author, override=override)
        )

    def aliases(self, model: str) -> list[Alias]:
        """The model's aliases.

        Args:
            model: its name.

        Returns:
            The aliases by name.

        Raises:
            NotFound: for a model that is not there.
        """
        table = aliases_table.c
        with reading(self.engine) as connection:
            queries.require_model(connection, model)
            query = select(aliases_table).where(table.model == model).order_by(table.name)
            return [Alias(**row._mapping) for row in connection.execute(query)]

    def histories(self, model: str, *refs: str) -> list[list[LandedEdit]]:
        """The edits that made some snapshots and their ancestors, and what each edit took back, as of one moment.

        Args:
            model: its name.
            refs: of the snapshots, as `resolve` takes them.

        Returns:
            For each snapshot one entry for each edit, oldest first; none for "head" before the first snapshot.

        Raises:
            NotFound: for a model or a snapshot that is not there.
        """
        with reading(self.engine) as connection:
            return landed_edits(connection, model, refs)

    def alias_history(self, model: str, alias: str, limit: int | None = None) -> list[AliasMove]:
        """The moves of an alias, newest first.

        Args:
            model: its name.
            alias: its name.
            limit: the last so many; None for all.

        Returns:
            The moves.

        Raises:
            NotFound: for an alias that never was.
        """
        with reading(self.engine) as connection:
            return promotion.alias_history(connection, model, alias, limit)
