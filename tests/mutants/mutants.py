"""Faults that a test must find: each changes some text of the code, and names the tests that should fail then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["MUTANTS", "ROOT", "Mutant"]

ROOT = Path(__file__).resolve().parents[2]
CRASH = "tests/registry/crash/test_crash.py"


@dataclass(frozen=True)
class Mutant:
    """file: from the root of the project.  changes: pairs of old text, found once in the file, and new text.

    tests: arguments of pytest.
    """

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]

    def apply_to(self, root: Path) -> None:
        """Changes the file below a root; raises ValueError where the text is not there exactly once."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        for old, new in self.changes:
            if text.count(old) != 1:
                raise ValueError(
                    f"{self.name}: expected {old!r} once in {self.file}, found it {text.count(old)} times"
                )
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


MUTANTS = (
    Mutant(
        "SQL before upload",
        "registry/blobs.py",
        (
            (
                "        last = next(attempts) == _ATTEMPTS\n",
                "        last = next(attempts) == _ATTEMPTS\n        done = record(sorted(waiting))\n",
            ),
            ("        done = record(there)\n", ""),
        ),
        (CRASH, "-k", "any_step and edit"),
    ),
    Mutant(
        "half a commit: the head moves in a transaction of its own",
        "registry/edits/landing.py",
        (
            (
                '        failpoint("land.head_moved")\n',
                '        connection.commit()\n        failpoint("land.head_moved")\n',
            ),
        ),
        (CRASH, "-k", "any_step and edit"),
    ),
    Mutant(
        "no compare-and-swap of the head",
        "registry/edits/landing.py",
        (
            (
                "    if _moves_head(landing) and head_id(connection, model) != manifest.parent:\n        return None\n",
                "",
            ),
            (", heads.c.snapshot == manifest.parent)", ",)"),
        ),
        ("tests/registry/edits/test_races.py", "-k", "edits and sqlite"),
    ),
    Mutant(
        "no compare-and-swap of an alias",
        "registry/promotion/aliases.py",
        (("        if wanted != served:\n", "        if False:\n"),),
        ("tests/registry/edits/test_races.py", "-k", "promotions and sqlite"),
    ),
    Mutant(
        "a commit whose answer was lost lands again",
        "registry/edits/commit.py",
        (("    if row is None or row.result is None:\n", "    if True:\n"),),
        ("tests/registry/edits/test_commit.py", "-k", "sqlite"),
    ),
    Mutant(
        "naive gc: whatever no snapshot names",
        "registry/maintenance/verify.py",
        (('    return "put while an open edit ran" if row.put_at >= oldest else None\n', "    return None\n"),),
        ("tests/registry/maintenance/test_verify_and_gc.py", "-k", "sqlite"),
    ),
    Mutant(
        "a gc that takes what an open edit recorded",
        "registry/maintenance/verify.py",
        (("    if row.digest in recorded:\n", "    if False:\n"),),
        ("tests/registry/maintenance/test_verify_and_gc.py", "-k", "sqlite"),
    ),
    Mutant(
        "a gc that does not look again before it marks",
        "registry/maintenance/verify.py",
        (("[blob.digest for blob in _unneeded(connection, before, chunk)[0]]", "chunk"),),
        ("tests/registry/maintenance/test_verify_and_gc.py", "-k", "sqlite"),
    ),
    Mutant(
        "a gc that removes what an upload took back",
        "registry/maintenance/verify.py",
        ((", _b.state == BlobState.DELETING)", ",)"),),
        ("tests/registry/maintenance/test_verify_and_gc.py", "-k", "sqlite"),
    ),
    Mutant(
        "expiry of what an alias points to",
        "registry/maintenance/expiry.py",
        (("    for row in connection.execute(now):\n", "    for row in ():\n"),),
        ("tests/registry/maintenance/test_expiry.py", "-k", "sqlite"),
    ),
    Mutant(
        "no lease",
        "registry/edits/lifecycle.py",
        (
            (
                "    if edit.lease_owner != lease_owner:\n        raise LeaseLost(",
                "    if False:\n        raise LeaseLost(",
            ),
        ),
        ("tests/registry/edits/test_lifecycle.py", "-k", "sqlite"),
    ),
    Mutant(
        "no lease of an outbox event",
        "registry/outbox.py",
        (("or_(_e.lease_expires_at.is_(None), ~_leased(now, lease_s))", "_e.id.is_not(None)"),),
        ("tests/registry/test_outbox.py", "-k", "sqlite"),
    ),
    Mutant(
        "no fsync of a blob",
        "registry/store/local.py",
        (("        os.fsync(file.fileno())\n", ""),),
        ("tests/registry/store/test_power_cut.py",),
    ),
    Mutant(
        "no fsync of a blob's folder",
        "registry/store/local.py",
        (("            sync_folder(target.parent)\n", ""),),
        ("tests/registry/store/test_power_cut.py",),
    ),
    Mutant(
        "no fsync of a new folder's name",
        "registry/store/local.py",
        (("            sync_folder(part.parent)\n", "            pass\n"),),
        ("tests/registry/store/test_power_cut.py",),
    ),
    Mutant(
        "a rollback that forgets a region",
        "registry/edits/merge.py",
        (
            (
                "_with_entries(head, base, changed_regions(base, result))",
                "_with_entries(head, base, sorted(changed_regions(base, result))[:1])",
            ),
        ),
        ("tests/registry/edits/test_merge.py", "tests/registry/edits/test_rollback.py"),
    ),
    Mutant(
        "an audit event that was rewritten goes unnoticed",
        "registry/audit.py",
        (("    if not _is_link(fields, recorded):\n", "    if False:\n"),),
        ("tests/registry/test_audit.py", "-k", "sqlite"),
    ),
    Mutant(
        "an audit log that was rewritten to its end goes unnoticed",
        "registry/audit.py",
        (("    missing = set(checkpoints)\n", "    missing = set[Checkpoint]()\n"),),
        ("tests/registry/test_audit.py", "-k", "sqlite"),
    ),
    Mutant(
        "an audit event may be rewritten",
        "registry/db/triggers.py",
        (("_no_update BEFORE UPDATE ON {table} {refuse}", "_no_update BEFORE UPDATE OF id ON {table} {refuse}"),),
        ("tests/registry/test_audit.py", "-k", "sqlite"),
    ),
    Mutant(
        "the check of a promotion is skipped",
        "registry/promotion/aliases.py",
        (
            (
                "    admission.admit(connection, model, alias, target, served, author=author, override=override)\n",
                "",
            ),
        ),
        ("tests/registry/promotion/test_admission.py",),
    ),
    Mutant(
        "a protected alias is loaded unchecked",
        "registry/registry.py",
        (("            admission.admit_load(connection, model, ref, snapshot)\n", ""),),
        ("tests/registry/promotion/test_admission.py", "-k", "not postgresql"),
    ),
    Mutant(
        "an edit that was replayed counts as evaluated",
        "registry/promotion/evaluations.py",
        (("edits.c.proposal == content, ", ""),),
        ("tests/registry/promotion/test_admission.py", "-k", "not postgresql"),
    ),
    Mutant(
        "an author approves",
        "registry/promotion/policy.py",
        ((" if person_of(name) not in made}", "}"),),
        ("tests/registry/promotion/test_admission.py", "-k", "not postgresql"),
    ),
    Mutant(
        "a signature is passed over",
        "registry/promotion/admission.py",
        ((" or any(check.name == SIGNATURE for check in failed)", ""),),
        ("tests/registry/promotion/test_admission.py", "-k", "not postgresql"),
    ),
    Mutant(
        "a trigger that asks another table of the same name",
        "registry/db/guards.py",
        (
            (
                "refuse_protected_alias() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp",
                "refuse_protected_alias() RETURNS trigger LANGUAGE plpgsql",
            ),
            ("SELECT 1 FROM {schema}.policies AS one", "SELECT 1 FROM policies AS one"),
            ("FROM {schema}.policies WHERE model", "FROM policies WHERE model"),
        ),
        ("tests/registry/access/test_postgres_roles.py",),
    ),
    Mutant(
        "a copy of a database passes for the one that owns the store",
        "registry/ownership/marker.py",
        (
            (
                'return "unclaimed" if _both_known(marker.store, store) and not same(marker.store, store) else "copy"',
                'return "owner"',
            ),
        ),
        ("tests/registry/ownership/test_ownership.py", "-k", "copy_of_a_database and sqlite-folder"),
    ),
    Mutant(
        "gc goes on in a store that another database has taken over",
        "registry/maintenance/verify.py",
        (("    ownership.require_writable(registry, fresh=True, room_needed=False)\n    removed", "    removed"),),
        ("tests/registry/ownership/test_ownership.py", "-k", "gc_stops"),
    ),
    Mutant(
        "every registry keeps its objects in the store's root",
        "registry/registry.py",
        (("store.within(check_schema(engine, scope_of))", "store.within(check_schema(engine, lambda _: ''))"),),
        ("tests/registry/ownership/test_ownership.py", "-k", "never_delete_each_others and sqlite-folder"),
    ),
    Mutant(
        "an event whose rows are gone goes unnoticed",
        "registry/maintenance/record_check.py",
        (("        *_left_over(connection, chain),\n", ""),),
        ("tests/registry/maintenance/test_record_check.py", "-k", "by_hand and sqlite"),
    ),
    Mutant(
        "a verify that does not look again before it accuses",
        "registry/maintenance/blob_check.py",
        (("if rows.get(digest) == known[digest]}", "if True}"),),
        ("tests/registry/maintenance/test_blob_check.py", "-k", "sqlite-folder or put_again"),
    ),
    Mutant(
        "a list of objects of which the first page is all",
        "registry/store/s3_listing.py",
        (("        if not token:\n", "        if not token:\n            return\n"),),
        ("tests/registry/store/test_s3_habits.py", "-k", "every_page"),
    ),
    Mutant(
        "limits stay in a pooler's session",
        "registry/db/postgres.py",
        (
            (
                "set_config({_literal(name)}, {_literal(value)}, true)",
                "set_config({_literal(name)}, {_literal(value)}, false)",
            ),
        ),
        ("tests/registry/db/test_poolers.py", "-k", "stay_in_none"),
    ),
    Mutant(
        "a head moves with any audit event",
        "registry/db/role_conditions.py",
        (("n.parent IS NOT DISTINCT FROM OLD.snapshot) AND", "n.parent IS NOT DISTINCT FROM OLD.snapshot) OR"),),
        ("tests/registry/access/test_hostile_sql.py", "-k", "editor"),
    ),
    Mutant(
        "an alias in MLflow is set to where an event of the past moved it",
        "registry/mlflow/alias_moves.py",
        (
            ("    if pointed_to(engine, upserts.model, alias) == target:\n", "    if True:\n"),
            (
                '        step("alias", lambda: set_alias(upserts, engine, alias))\n',
                "        there = place.version_of(target) or {}\n"
                "        place.client.set_registered_model_alias(place.name, alias, there['version'])\n",
            ),
        ),
        ("tests/registry/mlflow/test_publisher.py", "-k", "older_alias"),
    ),
    Mutant(
        "respelt ids are taken for new ones",
        "raie_engine/data/respelt_ids.py",
        (("    return rows if alike <= _TOLD_APART * len(plain) else rows[:0]\n", "    return rows[:0]\n"),),
        ("tests/raie_engine/data/test_respelt_ids.py",),
    ),
    Mutant(
        "a file is written through a link",
        "raie/output_files.py",
        (("    if kind is not None:\n", "    if False:\n"),),
        ("tests/cli/test_output_files.py",),
    ),
    Mutant(
        "the locality proof of a report sees no score that changed",
        "raie/review/locality.py",
        (("        scores_changed=int(differ[untouched].sum()),\n", "        scores_changed=0,\n"),),
        ("tests/cli/commands/look/test_report.py",),
    ),
    Mutant(
        "a page shows users' text as markup",
        "raie/pages/render.py",
        (("        autoescape=True,\n", "        autoescape=False,\n"),),
        ("tests/raie/pages/test_render.py",),
    ),
)
