"""What an event looks like in MLflow: names, tags, params, metrics and descriptions, as plain values.

Pure functions of the event's payload, so the same event gives the same record on every attempt. Whatever the
registry allows and MLflow does not (a slash in a model's name, the alias `v2`) gets a legal name here, and only
there: a legal name stays as it is.

Angles are radians in payloads and metrics, times are epoch seconds UTC in payloads and milliseconds in MLflow.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from raie.registry.canonical import canonical_json
from raie.registry.mlflow.text import (
    DESCRIPTION_LENGTH,
    NAME_LENGTH,
    PARAM_LENGTH,
    TAG_LENGTH,
    cut,
    cut_markdown,
    markdown,
)
from raie.registry.times import utc_text

__all__ = [
    "DESCRIBED",
    "MOVED_METRICS",
    "REASON_FILE",
    "TRANSACTION",
    "adapter_key",
    "adapter_name",
    "alias_note",
    "alias_tag",
    "edit_metrics",
    "edit_params",
    "edit_tags",
    "event_key",
    "full_texts",
    "is_earlier_description",
    "legal_alias",
    "legal_model_name",
    "link",
    "millis",
    "region_metrics",
    "region_tags",
    "registered_model_description",
    "run_name",
    "short_reason",
    "shown_params",
    "snapshot_name",
    "text_key",
    "version_tags",
]

Payload = Mapping[str, Any]

TRANSACTION = "raie.transaction"
"""The tag sent inside every create and searched for before it: it makes each create happen once."""

DESCRIBED = "raie.description_sha256"
"""The tag of a version that names the description it was given: another one is somebody's own, and stays."""

MOVED_METRICS = ("centre_shift_radians", "windows")
"""Of a region whose version came back: what the edit itself did to it."""

REASON_FILE = "reason.txt"
"""The artifact of an edit's run that holds a reason which MLflow's fields cannot."""

_WHOLE_REASON = f" (cut; the whole text is in {REASON_FILE} of the edit's run)"
_REASON_LENGTH = 1000
"""Of a description, escaped; the rest is for links and for the regions."""

_ALIAS_LENGTH = 255
# MLflow keeps `latest` and `v7` to itself.
_RESERVED_ALIAS = re.compile(r"latest|[vV]\d+", re.IGNORECASE)


def event_key(payload: Payload) -> str:
    """Names an event by its content, so that it is the same on every attempt and differs between registries."""
    return hashlib.sha256(canonical_json(payload)).hexdigest()[:32]


def adapter_key(model: str, region: int, entry: Mapping[str, str]) -> str:
    """Names one region version by its bytes; a rollback finds the version it goes back to by it."""
    return hashlib.sha256(canonical_json([model, region, dict(entry)])).hexdigest()[:32]


def text_key(text: str) -> str:
    """Names a text by the beginning of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_earlier_description(text: str | None) -> bool:
    """Whether a version's description is one of those that earlier releases wrote, without DESCRIBED."""
    return text is None or text.startswith("**Snapshot** `")


def legal_model_name(name: str) -> str:
    """The name itself, or a legal one with a part of its sha256 where MLflow refuses it."""
    legal = re.fullmatch(r"[\w\-][\w\-. ]*", name) is not None
    return name if legal else _replaced(name, NAME_LENGTH)


def legal_alias(name: str) -> str:
    """The alias itself, or a legal one with a part of its sha256 where MLflow refuses or reserves it."""
    legal = re.fullmatch(r"[\w\-]+", name) is not None and _RESERVED_ALIAS.fullmatch(name) is None
    return name if legal and len(name) <= _ALIAS_LENGTH else _replaced(name, _ALIAS_LENGTH)


def _replaced(name: str, length: int) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return re.sub(r"[^\w-]", "-", name)[: length - 9] + "-" + digest


def adapter_name(model: str, region: int, version: int) -> str:
    """How a region version is listed among MLflow's models."""
    return f"{_listed(model)}-region-{region}-v{version}"


def snapshot_name(model: str, snapshot: str) -> str:
    """How a snapshot is listed among MLflow's models."""
    return f"{_listed(model)}-{snapshot[:12]}"


def _listed(model: str) -> str:
    # MLflow's models take fewer characters than its registered models do.
    return re.sub(r"[. ]", "-", legal_model_name(model))


def millis(seconds: float | None) -> int:
    """MLflow's time; 0 where there is none."""
    return int((seconds or 0.0) * 1000)


def link(base: str, path: str) -> str:
    """A link into MLflow's interface; base: the server's address, or empty for a link within its pages."""
    # Without the parameter the interface opens in its other mode, which hides models and runs.
    return f"{base}#{path}?workflowType=machine_learning"


def edit_tags(model: str, payload: Payload) -> dict[str, str]:
    """Tags of the edit's run."""
    edit, snapshot = payload["edit"], payload["snapshot"]
    tags = {
        "mlflow.user": edit["actor"],
        "mlflow.source.name": "raie",
        "raie.model": model,
        "raie.edit": str(edit["number"]),
        "raie.kind": edit["kind"],
        "raie.snapshot": snapshot["id"],
        "raie.parent": snapshot["parent"],
        "raie.base": edit.get("base"),
        "raie.reason": cut(edit.get("reason") or "", TAG_LENGTH, _WHOLE_REASON),
        "raie.data_digest": edit.get("data_digest"),
        "mlflow.note.content": cut_markdown(edit.get("reason") or "", TAG_LENGTH, _WHOLE_REASON),
    }
    return {key: cut(str(value), TAG_LENGTH) for key, value in tags.items() if value not in (None, "")}


def full_texts(payload: Payload) -> dict[str, str]:
    """File name -> text, for what MLflow's fields show only in part; an edit's run keeps them as artifacts."""
    reason = payload["edit"].get("reason") or ""
    is_cut = max(len(reason), len(markdown(reason))) > TAG_LENGTH or short_reason(reason) != _one_line(reason)
    return {REASON_FILE: reason} if is_cut else {}


def run_name(name: str) -> str:
    """The name of a run, no longer than MLflow takes."""
    return cut(name, NAME_LENGTH)


def alias_tag(alias: str) -> str:
    """The tag of a model version that says who moved an alias (by its name in MLflow) to it, and why."""
    return _short(f"raie.alias.{alias}")


def alias_note(payload: Payload, file: str | None = None) -> str:
    """That tag's value; file: the artifact that holds the whole where it is cut, None for the whole as it is."""
    note = f"{payload['actor']} at {utc_text(payload['at'])}: {payload.get('reason') or 'no reason given'}"
    return (
        note
        if file is None
        else cut(note, TAG_LENGTH, f" (cut; the whole text is in {file} of the version's run)")
    )


def registered_model_description(model: str, history_link: str | None = None) -> str:
    """The markdown of the registered model's page; history_link: to the page of its history, where there is one."""
    about = (
        f"Snapshots of {markdown(model)}. The registry that `raie` keeps is their source and holds their bytes."
    )
    whole = "" if history_link is None else f" [Its whole history on one page]({history_link})."
    return cut(about, DESCRIPTION_LENGTH) + whole


def edit_params(payload: Payload) -> dict[str, str]:
    """Params of the edit's run: its seed and its parameters, nested names joined by slashes."""
    edit = payload["edit"]
    params = {name: _text(value) for name, value in _leaves(edit.get("parameters") or {})}
    return params | {"seed": _text(edit["seed"])}


def shown_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Params of a run: what an edit trained with."""
    return {name: _text(value) for name, value in _leaves(params)}


def edit_metrics(payload: Payload) -> dict[str, float]:
    """Metrics of the edit's run: every number of its report, and totals over its regions."""
    changes = payload["changes"]
    report = {name: value for name, value in _leaves(payload.get("report") or {}) if _is_number(value)}
    totals = {"regions_changed": len(changes), "regions": len(payload["snapshot"]["content"]["regions"])}
    return {n: float(v) for n, v in (report | totals | {"windows": sum(c["windows"] for c in changes)}).items()}


def region_tags(model: str, payload: Payload, change: Payload) -> dict[str, str]:
    """Tags of one region's run, the parent run's id aside."""
    return {
        "mlflow.user": payload["edit"]["actor"],
        "mlflow.source.name": "raie",
        "raie.model": model,
        "raie.edit": str(payload["edit"]["number"]),
        "raie.region": str(change["region"]),
        "raie.action": change["action"],
        "raie.snapshot": payload["snapshot"]["id"],
    } | ({"raie.version": str(change["version"])} if change.get("version") is not None else {})


def region_metrics(change: Payload) -> dict[str, float]:
    """Metrics of one region's run: its geometry after the edit and what the edit measured."""
    geometry = {
        "windows": change["windows"],
        "count": change["count"],
        "centre_shift_radians": change["centre_shift"],
        "radius_radians": change["radius"],
        "concentration": change["concentration"],
    }
    measured = {name: value for name, value in _leaves(change.get("metrics") or {}) if _is_number(value)}
    return {name: float(value) for name, value in (measured | geometry).items()}


def version_tags(payload: Payload, content_digest: str) -> dict[str, str]:
    """Tags of the snapshot's model version; the end of the audit chain is anchored there, outside the database."""
    snapshot, edit = payload["snapshot"], payload["edit"]
    tags = {
        "raie.snapshot": snapshot["id"],
        "raie.parent": snapshot["parent"],
        "raie.content": content_digest,
        "raie.edit": str(edit["number"]),
        "raie.kind": edit["kind"],
        "raie.audit_head": payload.get("audit_head"),
    }
    return {key: str(value) for key, value in tags.items() if value is not None}


def short_reason(reason: str) -> str:
    """An edit's reason as the markdown of one line, cut so that a description has room for more than it."""
    return cut_markdown(" ".join(reason.split()), _REASON_LENGTH, _WHOLE_REASON)


def _one_line(reason: str) -> str:
    return markdown(" ".join(reason.split()))


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested mappings with a name MLflow allows; a list is a leaf."""
    for key, item in value.items():
        name = prefix + _part(key)
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{name}/")
        else:
            yield _short(name), item


def _part(key: str) -> str:
    # A blank is legal too, but a filter would need the name in quotes.
    part = re.sub(r"[^\w.\-]", "_", key)
    return "_" if part in ("", ".", "..") else part


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else _replaced(name, NAME_LENGTH)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value).decode()
    # PostgreSQL, where MLflow may keep its records, has no NUL in a text.
    return cut(text.replace("\0", "\N{REPLACEMENT CHARACTER}"), PARAM_LENGTH)
