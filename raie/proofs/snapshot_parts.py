"""The blobs of a snapshot under names that say where they belong, as bills of materials and statements list them."""

from __future__ import annotations

from collections.abc import Mapping

from raie.registry import Content

__all__ = ["named_digests"]


def named_digests(content: Content) -> Mapping[str, str]:
    """Every blob of a content: "backbone/config", "space", "shared/catalogue/0", "region/3/lora" -> its sha256, by name.

    Args:
        content: Of the snapshot.

    Returns:
        Name -> 64 hexadecimal characters, in the order of the names.
    """
    names: dict[str, str] = {f"backbone/{role}": digest for role, digest in content.backbone.items()}
    names["space"] = content.space
    for part, digests in content.shared.items():
        names |= {f"shared/{part}/{number}": digest for number, digest in enumerate(digests)}
    for region, entry in content.regions.items():
        names |= {f"region/{region}/{role}": digest for role, digest in entry.items()}
    return dict(sorted(names.items()))
