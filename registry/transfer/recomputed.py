"""Whether the records of a file are a history: every id recomputed, every reference inside, every signature checked.

A file is somebody else's: what the tables and their triggers would keep out here is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raie.registry.author import Author
from raie.registry.canonical import canonical_json, parse_json
from raie.registry.errors import ArchiveDamaged, InvalidValue
from raie.registry.promotion.impact_report import read_report
from raie.registry.states import EditKind, EditState
from raie.registry.transfer.closure import main_line
from raie.registry.transfer.records import Records, Row, require
from raie.registry.values import Content, Digest, Manifest, RegionChange, check_digest, check_name, entry_digest

__all__ = ["History", "recompute"]


@dataclass(frozen=True)
class History:
    """Records that hold together.

    contents: of every snapshot.  heads: the ids of those that were heads, oldest first.  blobs: what the file must hold.
    """

    model: str
    snapshot: str
    records: Records
    contents: Mapping[str, Content]
    heads: tuple[str, ...]
    blobs: tuple[Digest, ...]

    @property
    def expired(self) -> frozenset[str]:
        """The snapshots that travel without their blobs."""
        return frozenset(row["snapshot"] for row in self.records.expired_snapshots)


def recompute(model: str, snapshot: str, records: Records) -> History:
    """The history that records are; raises ArchiveDamaged where they contradict themselves."""
    try:
        check_name(model, "model name")
        contents = _contents(model, records)
        require(snapshot in contents, "no row of the snapshot that it is of")
        edits = _edits(model, records, contents)
        _require_operations(model, records, edits)
        _require_versions(model, records, edits, contents)
        _require_evaluations(model, records, contents)
        heads = tuple(main_line(records.snapshots, records.edits))
        _require_line(records, heads)
        expired = {row["snapshot"] for row in records.expired_snapshots}
        require(expired <= contents.keys() - {snapshot, heads[-1]}, "the snapshot expired")
    except (InvalidValue, KeyError, TypeError, ValueError) as error:
        raise ArchiveDamaged(
            f"Expected the history of a snapshot in the file, found: {error}; export it again"
        ) from error
    kept = [content.blobs() for name, content in contents.items() if name not in expired]
    blobs = frozenset(records.plans).union(*kept)
    return History(model, snapshot, records, contents, heads, tuple(sorted(blobs)))


def _contents(model: str, records: Records) -> dict[str, Content]:
    """Snapshot -> its content, read from the manifest that its id is the sha256 of."""
    contents: dict[str, Content] = {}
    made_at: dict[str | None, float] = {}
    for row in records.snapshots:
        manifest = Manifest.from_bytes(row["manifest"].encode())
        said = (manifest.id, manifest.model, manifest.parent, manifest.content.digest)
        require(
            said == (row["id"], row["model"], row["parent"], row["content_digest"]) and row["model"] == model,
            f"snapshot {row['id'][:12]} is not what its manifest says",
        )
        require(row["id"] not in contents, f"snapshot {row['id'][:12]} twice")
        later = (
            manifest.parent is None
            if not contents
            else made_at.get(manifest.parent, row["created_at"]) < row["created_at"]
        )
        require(later, f"snapshot {row['id'][:12]} does not follow its parent")
        contents[manifest.id], made_at[manifest.id] = manifest.content, row["created_at"]
    return contents


def _edits(model: str, records: Records, contents: Mapping[str, Content]) -> dict[int, Row]:
    edits: dict[int, Row] = {}
    for row in records.edits:
        name = f"edit {row['number']}"
        require(row["model"] == model and row["state"] == EditState.COMMITTED, f"{name} of another model, or open")
        require(0 < row["number"] < 10**9 and row["number"] > max(edits, default=0), f"{name} out of its order")
        require(
            row["result"] in contents and (row["base"] in contents or row["base"] is None),
            f"{name} without its snapshots",
        )
        EditKind(row["kind"])
        Author(row["actor"], row["reason"])
        require(row["closed_at"] is not None and row["close_reason"] is None, f"{name} is not closed")
        for digest in ("proposal", "data_digest", "plan_digest"):
            require(row[digest] is None or bool(check_digest(row[digest])), name)
        for text in ("parameters", "report"):
            require(isinstance(_canonical(row[text]), dict), f"{name} with {text} that are no object")
        edits[row["number"]] = row
    for snapshot in records.snapshots:
        made = edits.get(snapshot["edit"])
        require(made is not None and made["result"] == snapshot["id"], f"no edit that made {snapshot['id'][:12]}")
    require(set(records.plans) <= {row["plan_digest"] for row in edits.values()}, "a plan of no edit")
    return edits


def _canonical(text: str) -> Any:
    value = parse_json(text)
    require(canonical_json(value).decode() == text, "JSON in another spelling than the canonical one")
    return value


def _change(row: Row) -> RegionChange:
    fields = _canonical(row["change"])
    require(fields["region"] == row["region"], "a change of another region than its row")
    return RegionChange(**fields | {"centre": tuple(fields["centre"])})


def _require_operations(model: str, records: Records, edits: Mapping[int, Row]) -> None:
    next_position: dict[int, int] = {}
    for row in records.operations:
        position = next_position.get(row["edit"], 0)
        known = row["model"] == model and row["edit"] in edits and row["position"] == position
        change = _change(row)
        require(
            known and (change.action, change.windows) == (row["action"], row["windows"]),
            f"operation {row['position']} of edit {row['edit']} is not what it says",
        )
        next_position[row["edit"]] = position + 1


def _require_versions(
    model: str, records: Records, edits: Mapping[int, Row], contents: Mapping[str, Content]
) -> None:
    known: set[tuple[int, str]] = set()
    for row in records.adapter_versions:
        name = f"version {row['version']} of region {row['region']}"
        entry = contents[row["snapshot"]].regions.get(row["region"]) if row["snapshot"] in contents else None
        require(row["model"] == model and row["edit"] in edits and row["version"] > 0, f"{name} without its edit")
        require(entry is not None and dict(entry) == _canonical(row["entry"]), f"{name} is not in its snapshot")
        require(entry is not None and entry_digest(entry) == row["entry_digest"], f"{name} has another digest")
        key = (row["region"], row["entry_digest"])
        require(key not in known, f"{name} twice")
        _change(row)
        known.add(key)
    named = {(region, str(entry_digest(entry))) for c in contents.values() for region, entry in c.regions.items()}
    require(named <= known, f"no version of region {min(named - known, default=(0, ''))[0]}")


def _require_evaluations(model: str, records: Records, contents: Mapping[str, Content]) -> None:
    """Evaluations of contents that are there, signatures that their keys made, and who let what expire."""
    for row in records.evaluations:
        contents_said = (row["content"], row["against_content"])
        measured = tuple(contents[row[side]].digest for side in ("snapshot", "against"))
        require(row["model"] == model and contents_said == measured, "an evaluation of another content")
        read_report(_canonical(row["report"]))
        Author(row["actor"], row["reason"])
    for row in records.expired_snapshots:
        Author(row["actor"], row["reason"])
    if records.signatures:
        # Only whoever has a signature to check pays for the import.
        from raie.registry.promotion.signing import is_valid

        for row in records.signatures:
            valid = row["model"] == model and is_valid(row["key"], model, row["snapshot"], row["signature"])
            require(valid and row["snapshot"] in contents, f"a signature by {row['key'][:12]} that is not valid")
            Author(row["actor"], row["reason"])


def _require_line(records: Records, heads: Iterable[str]) -> None:
    """Every snapshot that was a head follows the one before it."""
    parents = {row["id"]: row["parent"] for row in records.snapshots}
    require(bool(parents), "no snapshot")
    before: str | None = None
    for head in heads:
        require(parents[head] == before, f"snapshot {head[:12]} does not follow the head before it")
        before = head
    require(before is not None and set(parents.values()) <= {None, *parents}, "a snapshot without its parent")
