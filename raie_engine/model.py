"""A snapshot's content read as engine values, each part only when it is asked for.

The content names blobs by digest; `get` fetches and verifies them. A command that needs no adapter loads none.
Legend: n windows, d hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from raie.engine.backbones import Backbone, load_backbone
from raie.engine.bytes.arrays import load_arrays
from raie.engine.bytes.finite import require_finite
from raie.engine.bytes.json import parse_json
from raie.engine.config import EngineConfig, from_mapping, to_mapping
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.watermark import Watermark
from raie.engine.data.windows import Windows
from raie.engine.errors import DamagedArtifact
from raie.engine.mixture.log_counts import LogCounts
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import Mixture
from raie.engine.mixture.region_counts import RegionCounts
from raie.engine.mixture.region_parts import parts_of
from raie.engine.mixture.weights import MixtureWeights
from raie.engine.regions.any_space import Space, read_space
from raie.engine.regions.buffer import AddBuffer
from raie.engine.regions.region_map import RegionMap
from raie.engine.router import Router, routing_vectors
from raie.engine.shared_parts import SharedParts
from raie.engine.training.adapter import Adapter

__all__ = ["ADAPTER_ROLES", "SHARED_PREFIX", "ContentDigests", "ModelView", "Settings", "pack_item_rows"]

ADAPTER_ROLES = ("lora", "lora_config", "item_rows", "transitions")
OPTIONAL_ROLES = frozenset({"transitions"})
LOG_COUNTS, MIXTURE, REGION_COUNTS = "log_counts", "mixture", "region_counts"
SETTINGS_VERSION = 2
SHARED_PREFIX = "shared_"
"""Before the roles of the shared adapter that a region's own began from; the next shared one goes on from it."""


@dataclass(frozen=True)
class Settings:
    """What a model was set up with; every later edit reads it from the snapshot."""

    engine: EngineConfig
    log: LogSettings

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        values = {"engine": to_mapping(self.engine), "log": self.log.to_mapping(), "version": SETTINGS_VERSION}
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Settings:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
            ConfigError: for options that are unknown or contradict each other.
        """
        values = parse_json(data, "the settings of a model")
        try:
            log = dict(values["log"])
            return Settings(
                from_mapping(_current_engine(values)), LogSettings(Columns(**log.pop("columns")), **log)
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedArtifact(f"expected the settings of a model, found: {data[:80]!r}") from error


def _current_engine(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The engine's options of stored settings under their names of today, so that old snapshots keep their windows.

    Version 1 has no `version`: what it calls "history" are windows that slide over the whole log, and everything that was
    held out validates. It knows no mixture.
    """
    version = values.get("version", 1)
    if version not in (1, SETTINGS_VERSION):
        raise ValueError(f"version {version!r}")
    engine = values["engine"]
    if version == SETTINGS_VERSION:
        return dict(engine)
    windows = {"length": 10, "stride": 5, "min_length": 10, "context": "slice", **engine.get("windows", {})}
    if windows["context"] == "history":
        windows["context"] = "overlap"
    return {
        **engine,
        "windows": windows,
        "edit": {"max_validation": 0, **engine.get("edit", {})},
        "mixture": {"parts": ""},
    }


class ContentDigests(Protocol):
    """The digests a snapshot consists of, by role."""

    @property
    def backbone(self) -> Mapping[str, Any]: ...
    @property
    def space(self) -> Any: ...
    @property
    def shared(self) -> Mapping[str, Any]: ...
    @property
    def regions(self) -> Mapping[int, Mapping[str, Any]]: ...


def pack_item_rows(rows: Tensor) -> bytes:
    """One edit's appended item rows [new items, d] as safetensors.

    Args:
        rows: [new items, d].

    Returns:
        safetensors.
    """
    return save_tensors({"rows": rows.contiguous()})


def _unpack_item_rows(data: bytes) -> Tensor:
    arrays = load_arrays(data, "appended item rows", {"rows": np.float32}, {"rows": "id"})
    rows = torch.from_numpy(arrays["rows"])
    require_finite({"rows": rows}, "appended item rows")
    return rows


@dataclass(frozen=True, eq=False)
class ModelView:
    """Engine values of one snapshot. Every property may raise DamagedArtifact, and whatever `get` raises.

    backbone_file: the Python file of a backbone of the user's own; no other model needs it.  parts: what other
    snapshots of this process hold already; a part that is held there is not fetched again.
    """

    content: ContentDigests
    get: Callable[[Any], bytes]
    backbone_file: Path | None = None
    parts: SharedParts = field(default_factory=SharedParts, repr=False)

    @cached_property
    def settings(self) -> Settings:
        return Settings.from_bytes(self._only("settings"))

    @cached_property
    def catalogue_chunks(self) -> tuple[bytes, ...]:
        """What the setup and each edit appended to the catalogue, oldest first."""
        return tuple(self.get(digest) for digest in self.content.shared["catalogue"])

    @cached_property
    def catalogue(self) -> Catalogue:
        digests = tuple(self.content.shared["catalogue"])
        return self.parts.get(("catalogue", digests), lambda: Catalogue.from_chunks(self.catalogue_chunks))

    @cached_property
    def watermark(self) -> Watermark:
        return Watermark.from_bytes(self._only("watermark"))

    @cached_property
    def holdout(self) -> Windows:
        """Setup windows that no one trains on; retention is measured on them."""
        return Windows.from_bytes(self._only("holdout"))

    @cached_property
    def validation(self) -> Windows:
        """Setup windows on which adapters are validated; no one trains on them either."""
        return Windows.from_bytes(self._only("validation"))

    @cached_property
    def buffer(self) -> AddBuffer:
        return AddBuffer.from_bytes(self._only("add_buffer"))

    @cached_property
    def backbone_bytes(self) -> tuple[bytes, bytes]:
        """(configuration, weights)."""
        return self.get(self.content.backbone["config"]), self.get(self.content.backbone["weights"])

    @cached_property
    def item_chunks(self) -> tuple[Tensor, ...]:
        """The item rows each edit appended, oldest first."""
        return tuple(_unpack_item_rows(self.get(digest)) for digest in self.content.shared.get("item_rows", ()))

    @cached_property
    def _frozen_key(self) -> tuple[Any, ...]:
        return ("backbone", *sorted(self.content.backbone.items()), self.backbone_file)

    @cached_property
    def _frozen(self) -> Backbone:
        """The backbone without appended item rows; held, so that the next snapshot finds it whatever rows it appends."""
        return self.parts.get(self._frozen_key, lambda: load_backbone(*self.backbone_bytes, self.backbone_file))

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen backbone with every appended item row."""
        if not self.item_chunks:
            return self._frozen
        titles = self.catalogue.titles[self._frozen.known_items :] if self._frozen.reads_titles else ()
        key = (*self._frozen_key, tuple(self.content.shared["item_rows"]), titles)
        return self.parts.get(key, lambda: self._frozen.with_item_rows(torch.cat(self.item_chunks), titles))

    @cached_property
    def space(self) -> Space:
        digest = self.content.space
        return self.parts.get(("space", digest), lambda: read_space(self.get(digest)))

    @cached_property
    def region_map(self) -> RegionMap:
        states = {region: self.get(entry["state"]) for region, entry in self.content.regions.items()}
        return RegionMap.from_states(states, self.space.digest)

    def vectors(self, windows: Windows) -> np.ndarray:
        """Routing vectors [n, d] of the contexts of windows; reads no adapter.

        Args:
            windows: n of them.

        Returns:
            float32 [n, d].
        """
        return routing_vectors(self.space, self.backbone, windows)

    def adapter_blobs(self, region: int) -> dict[str, bytes] | None:
        """The blobs of a region's adapter; None for a region that still answers with the frozen backbone.

        Args:
            region: its id.

        Returns:
            Bytes by role.
        """
        return self._adapter(region, "")

    def shared_blobs(self, region: int) -> dict[str, bytes] | None:
        """The blobs of the shared adapter that a region's own began from; None before its first edit.

        Args:
            region: its id.

        Returns:
            Bytes by role.
        """
        return self._adapter(region, SHARED_PREFIX)

    def _adapter(self, region: int, prefix: str) -> dict[str, bytes] | None:
        digests = self._adapter_digests(region, prefix)
        return None if digests is None else {role: self.get(digest) for role, digest in digests.items()}

    def _adapter_digests(self, region: int, prefix: str = "") -> dict[str, Any] | None:
        entry = self.content.regions[region]
        digests = {role: entry[prefix + role] for role in ADAPTER_ROLES if prefix + role in entry}
        if "lora" not in digests:
            return None
        missing = sorted(set(ADAPTER_ROLES) - OPTIONAL_ROLES - set(digests))
        if missing:
            raise DamagedArtifact(f"expected a whole adapter of region {region}, found no {prefix}{missing[0]}")
        return digests

    @cached_property
    def adapters(self) -> dict[int, Adapter]:
        """The adapter of every region that has one."""
        adapters = {}
        for region in sorted(self.content.regions):
            digests = self._adapter_digests(region)
            if digests is not None:
                adapters[region] = self.parts.get(
                    ("adapter", *digests.items()), partial(self._read_adapter, digests)
                )
        return adapters

    def _read_adapter(self, digests: Mapping[str, Any]) -> Adapter:
        return Adapter.from_blobs({role: self.get(digest) for role, digest in digests.items()})

    def replay(self, region: int) -> Windows:
        """Past windows of a region, kept to be replayed when it trains.

        Args:
            region: its id.

        Returns:
            The windows.
        """
        return Windows.from_bytes(self.get(self.content.regions[region]["replay"]))

    @cached_property
    def log_counts(self) -> LogCounts | None:
        """Counts of all rows that setup and edits have read; None where nothing is mixed."""
        return LogCounts.from_bytes(self._only(LOG_COUNTS)) if LOG_COUNTS in self.content.shared else None

    @cached_property
    def mixtures(self) -> dict[int, Mixture]:
        """The mixture of every region that has one; regions that one edit touched last share their counts."""
        mixtures = {}
        for region, entry in self.content.regions.items():
            if MIXTURE not in entry:
                continue
            if LOG_COUNTS not in entry:
                raise DamagedArtifact(f"expected counts beside the mixture of region {region}, found none")
            digests = entry[MIXTURE], entry[LOG_COUNTS], entry.get(REGION_COUNTS)
            mixtures[region] = self.parts.get(("mixture", *digests), partial(self._read_mixture, *digests))
        return mixtures

    def _read_mixture(self, weights_digest: Any, counts_digest: Any, own_digest: Any) -> Mixture:
        weights, read = MixtureWeights.from_bytes(self.get(weights_digest)), self.get
        key = ("log parts", counts_digest, weights.items)
        log = self.parts.get(key, lambda: LogParts(LogCounts.from_bytes(read(counts_digest)), weights.items + 1))
        own = None if own_digest is None else RegionCounts.from_bytes(read(own_digest))
        return Mixture(weights, parts_of(own, log))

    def region_counts(self, region: int) -> RegionCounts | None:
        """What a region has counted by itself; None where it has not.

        Args:
            region: its id, of this snapshot or a later one.

        Returns:
            The counts.
        """
        digest = self.content.regions.get(region, {}).get(REGION_COUNTS)
        return None if digest is None else RegionCounts.from_bytes(self.get(digest))

    @cached_property
    def router(self) -> Router:
        """Raises: WrongBackbone when a part belongs to another backbone."""
        return Router(self.backbone, self.item_chunks, self.space, self.region_map, self.adapters, self.mixtures)

    def _only(self, role: str) -> bytes:
        digests = self.content.shared.get(role, ())
        if len(digests) != 1:
            raise DamagedArtifact(f"expected one blob of the role {role!r} in the snapshot, found {len(digests)}")
        return self.get(digests[0])
