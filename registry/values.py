"""What the registry stores, as frozen values with one canonical JSON form each.

A snapshot is its content: nothing but sha256 digests of blobs. The manifest adds the model and the parent, and
the sha256 of its canonical JSON is the snapshot's id, so neither a clock nor a random number can enter an id:
the same edit with the same seed on the same parent is the same snapshot in any process. The values are treated
as immutable; their mappings are plain dictionaries, so that they can be pickled and compared.

Times are epoch seconds UTC, angles are radians, sizes are bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NewType

from raie.registry.canonical import canonical_json, parse_json
from raie.registry.errors import InvalidValue
from raie.registry.states import EditState

__all__ = [
    "AdapterVersion",
    "Alias",
    "AliasMove",
    "AuditEvent",
    "Content",
    "Digest",
    "Edit",
    "Expiry",
    "Manifest",
    "Operation",
    "RegionChange",
    "RegionEntry",
    "Snapshot",
    "check_digest",
    "check_name",
    "digest_of",
    "entry_digest",
]

Digest = NewType("Digest", str)
RegionEntry = Mapping[str, Digest]

MANIFEST_FORMAT = 1

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME_LENGTH = 200


def digest_of(data: bytes) -> Digest:
    """The sha256 of some bytes as 64 hexadecimal characters."""
    return Digest(hashlib.sha256(data).hexdigest())


def entry_digest(entry: RegionEntry) -> Digest:
    """The digest of a region's entry: equal entries are one version of the region."""
    return digest_of(canonical_json(dict(entry)))


def check_digest(text: Any) -> Digest:
    """The text as a Digest; raises InvalidValue unless it is 64 lower-case hexadecimal characters."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise InvalidValue(f"Expected a sha256 of 64 lower-case hexadecimal characters, found {_brief(text)}")
    return Digest(text)


def check_name(text: Any, what: str) -> str:
    """The text as a name; raises InvalidValue for an empty, very long, padded or unprintable one."""
    if not isinstance(text, str) or not text.isprintable() or text.strip() != text:
        raise InvalidValue(f"Expected a printable {what} without spaces around it, found {_brief(text)}")
    if not 1 <= len(text) <= _NAME_LENGTH:
        article = "an" if what[0] in "aeiou" else "a"
        raise InvalidValue(f"Expected {article} {what} of 1 to {_NAME_LENGTH} characters, found {len(text)}")
    return text


def _brief(value: Any) -> str:
    try:
        text = ascii(value)
    except (ValueError, RecursionError):
        # A number of thousands of digits, or lists in lists without end.
        text = f"a {type(value).__name__} without a short form"
    return text if len(text) <= 80 else f"{text[:77]}..."


@dataclass(frozen=True)
class Content:
    """What a snapshot is: the digests of everything that decides a score.

    backbone: role ("weights", "config") -> digest.  space: the routing space's digest.
    shared: part -> digests; those of roles.APPEND_ONLY are lists of chunks, the others hold one digest that is replaced.
    regions: region id -> (role -> digest); a region without an adapter has no "lora".
    Raises InvalidValue for anything that is not a digest, a name or a region id >= 0.
    """

    backbone: Mapping[str, Digest]
    space: Digest
    shared: Mapping[str, tuple[Digest, ...]] = field(default_factory=dict)
    regions: Mapping[int, RegionEntry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        freeze = object.__setattr__
        freeze(self, "backbone", _digests(self.backbone, "backbone role"))
        freeze(self, "space", check_digest(self.space))
        shared = {check_name(k, "shared part"): tuple(map(check_digest, v)) for k, v in self.shared.items()}
        freeze(self, "shared", dict(sorted(shared.items())))
        regions = {_region_id(k): _digests(v, "region role") for k, v in self.regions.items()}
        freeze(self, "regions", dict(sorted(regions.items())))

    @cached_property
    def digest(self) -> Digest:
        """The sha256 of the canonical JSON: equal for equal contents, whatever snapshot they are in."""
        return digest_of(canonical_json(self.to_json()))

    def blobs(self) -> frozenset[Digest]:
        """Every digest the content names."""
        digests = {self.space, *self.backbone.values()}
        digests.update(*self.shared.values(), *(entry.values() for entry in self.regions.values()))
        return frozenset(digests)

    def to_json(self) -> dict[str, Any]:
        """The JSON object; region ids become text because JSON has no other keys."""
        return {
            "backbone": dict(self.backbone),
            "space": self.space,
            "shared": {part: list(digests) for part, digests in self.shared.items()},
            "regions": {str(region): dict(entry) for region, entry in self.regions.items()},
        }

    @staticmethod
    def from_json(value: Any) -> Content:
        """The content of a JSON object; raises InvalidValue for any other shape."""
        _expect_keys(value, {"backbone", "space", "shared", "regions"}, "content")
        for part in ("backbone", "shared", "regions"):
            _expect_object(value[part], part)
        if not all(isinstance(digests, list) for digests in value["shared"].values()):
            raise InvalidValue("Expected a list of digests for every shared part, found something else")
        regions = {_parse_region(region): entry for region, entry in value["regions"].items()}
        return Content(value["backbone"], value["space"], value["shared"], regions)


@dataclass(frozen=True)
class Manifest:
    """A content with its model and its parent snapshot; the sha256 of its JSON is the snapshot's id."""

    model: str
    parent: str | None
    content: Content = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.model, "model name")
        if self.parent is not None:
            check_digest(self.parent)

    @cached_property
    def id(self) -> Digest:
        """The snapshot's id."""
        return digest_of(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        content = self.content.to_json()
        return canonical_json(
            {"format": MANIFEST_FORMAT, "model": self.model, "parent": self.parent, "content": content}
        )

    @staticmethod
    def from_bytes(data: bytes) -> Manifest:
        """The manifest of its canonical JSON; raises InvalidValue for any other bytes."""
        value = parse_json(data)
        _expect_keys(value, {"format", "model", "parent", "content"}, "manifest")
        if value["format"] != MANIFEST_FORMAT:
            raise InvalidValue(
                f"Expected a manifest of format {MANIFEST_FORMAT}, found {_brief(value['format'])}; upgrade raie"
            )
        manifest = Manifest(value["model"], value["parent"], Content.from_json(value["content"]))
        if manifest.to_bytes() != data:
            raise InvalidValue("Expected a manifest in canonical JSON, found another spelling of one")
        return manifest


@dataclass(frozen=True)
class Expiry:
    """That a snapshot's blobs need not be kept any more; event: the number of the audit event that records it."""

    at: float
    actor: str
    reason: str
    event: int


@dataclass(frozen=True)
class Snapshot:
    """One immutable state of a model; edit: the number of the edit that made it.

    expired: since when its blobs may be gone, None while they are kept. What it was can be read all the same.
    """

    id: str
    model: str
    parent: str | None
    content: Content = field(repr=False)
    edit: int
    created_at: float
    expired: Expiry | None = None


@dataclass(frozen=True)
class RegionChange:
    """What an edit did to one region.

    action: a word of RegionAction.  windows: new ones it learned from.
    centre_shift, radius: radians.  concentration: of the von Mises-Fisher distribution.  count: member windows.
    centre: unit vector.  metrics: name -> value, as the edit measured them.
    """

    region: int
    action: str
    windows: int = 0
    centre_shift: float = 0.0
    radius: float = 0.0
    concentration: float = 0.0
    count: int = 0
    centre: tuple[float, ...] = field(default=(), repr=False)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _region_id(self.region)
        check_name(self.action, "action")
        canonical_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The JSON object."""
        return {**vars(self), "centre": list(self.centre), "metrics": dict(self.metrics)}


@dataclass(frozen=True)
class Edit:
    """One transaction on a model, from a base snapshot to a result.

    kind: a word of EditKind.  parameters, report: JSON objects.  lease_owner: who works on it, host:pid:token.
    close_reason: why it was aborted.
    """

    model: str
    number: int
    kind: str
    state: EditState
    base: str | None
    result: str | None
    seed: int
    data_digest: str | None
    plan_digest: str | None
    parameters: Mapping[str, Any] = field(repr=False)
    report: Mapping[str, Any] = field(repr=False)
    actor: str
    reason: str
    created_at: float
    closed_at: float | None
    close_reason: str | None
    lease_owner: str | None
    lease_expires_at: float | None

    @property
    def is_open(self) -> bool:
        """Whether it has neither landed nor been closed."""
        return self.state in (EditState.RUNNING, EditState.ABANDONED)


@dataclass(frozen=True)
class Operation:
    """A region change as an edit recorded it; version: the region's version after it, None once it is retired."""

    model: str
    edit: int
    position: int
    version: int | None
    change: RegionChange


@dataclass(frozen=True)
class AdapterVersion:
    """Version n of a region: one entry, with the edit and snapshot that first brought it in, and its geometry."""

    model: str
    region: int
    version: int
    entry: RegionEntry
    edit: int
    snapshot: str
    created_at: float
    change: RegionChange


@dataclass(frozen=True)
class Alias:
    """A name that points to a snapshot of a model."""

    model: str
    name: str
    snapshot: str
    moved_at: float


@dataclass(frozen=True)
class AliasMove:
    """One move of an alias; source: where it pointed before, None for the first move.  target: None for its deletion.

    repeated: whether it was found made already by whoever asked for it, and nothing moved.
    """

    id: int
    model: str
    alias: str
    source: str | None
    target: str | None
    actor: str
    reason: str
    at: float
    repeated: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class AuditEvent:
    """One link of the audit chain; hash = sha256(previous hash + canonical JSON of the other fields).

    digest: of the rows that it stands for; None, and not hashed, for one that stands for none or is older than digests.
    """

    id: int
    at: float
    actor: str
    action: str
    model: str | None
    subject: str
    source: str | None
    target: str | None
    reason: str
    client: str
    previous: str
    hash: str
    digest: str | None = None


def _digests(entry: Any, what: str) -> dict[str, Digest]:
    _expect_object(entry, what)
    return {check_name(role, what): check_digest(entry[role]) for role in sorted(entry)}


def _region_id(region: Any) -> int:
    if not isinstance(region, int) or isinstance(region, bool) or not 0 <= region < 2**31:
        raise InvalidValue(f"Expected a region id from 0 to 2147483647, found {_brief(region)}")
    return region


def _parse_region(text: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,9}", text):
        raise InvalidValue(f"Expected a region id in decimal digits, found {_brief(text)}")
    return _region_id(int(text))


def _expect_object(value: Any, what: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidValue(f"Expected a JSON object as {what}, found {_brief(value)}")


def _expect_keys(value: Any, keys: set[str], what: str) -> None:
    _expect_object(value, what)
    if set(value) != keys:
        raise InvalidValue(f"Expected the keys {sorted(keys)} in a {what}, found {_brief(sorted(value))}")
