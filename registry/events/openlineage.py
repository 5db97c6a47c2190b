"""OpenLineage: what an event of the outbox says as run events, in plain dictionaries.

    job                 inputs                              outputs
    MODEL.edit          the log, the parent snapshot        the snapshot
    MODEL.rollback      the parent snapshot                 the snapshot
    MODEL.promotion     the snapshot                        MODEL@ALIAS
    (refused)           the snapshot, each failed check     none; the run fails

A model is one dataset whose version is the snapshot's id, and an alias is one that has the same version. Each run is a
START and a COMPLETE or a FAIL. The id of a run follows from the event, so an event that is sent twice is one run.

Standard facets carry what they can; what only a model state has is in three facets of our own, whose schema is in
facets.json. Source: OpenLineage 2-0-2, https://openlineage.io/spec/2-0-2/OpenLineage.json.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from raie.registry.errors import InvalidValue
from raie.registry.events.event_types import EventType, type_of
from raie.registry.outbox_records import OutboxEvent

__all__ = ["FACETS_ID", "DataRange", "Source", "run_events"]

FACETS_ID = "urn:raie:openlineage:1"
"""The `$id` of facets.json, which a change of its meaning would count up."""

_SPEC = "https://openlineage.io/spec"
_RUN_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSIONS = {
    "DataQualityAssertionsDatasetFacet": "1-1-0",
    "DataQualityMetricsInputDatasetFacet": "1-0-3",
    "DatasetVersionDatasetFacet": "1-0-1",
    "ErrorMessageRunFacet": "1-0-1",
    "JobTypeJobFacet": "2-0-4",
    "ProcessingEngineRunFacet": "1-1-1",
}
_RUNS = uuid.UUID("6f0d2f0c-52f5-5a43-9f0e-0c6d6b9a7c11")
"""The namespace of the runs' ids; it never changes."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Who sends: the registry's id, the version of raie, and the namespace of the jobs."""

    registry: str
    version: str
    namespace: str

    @property
    def datasets(self) -> str:
        """The namespace of the registry's own datasets."""
        return f"raie://{self.registry}"

    @property
    def producer(self) -> str:
        """Names this version of raie."""
        return f"urn:raie:{self.version}"


@dataclass(frozen=True)
class DataRange:
    """The rows of a log that an edit took: their number, and the times (epoch seconds) that they lie between.

    after: excluded, None where they are the first.  until: included.
    """

    rows: int
    after: int | None
    until: int


def run_events(event: OutboxEvent, source: Source, data: DataRange | None = None) -> list[Object]:
    """The run events of one event: its start and its end.

    Args:
        event: of the outbox.
        source: who sends.
        data: the rows that an edit took; None where that is not known.
    Returns: dictionaries with a JSON form.
    Raises: InvalidValue for a kind of event that this version does not know.
    """
    type_ = type_of(event)
    if type_ is None:
        raise InvalidValue(f"Expected an event of a known kind, found {event.kind!r}; upgrade raie")
    if type_ in (EventType.PROMOTION, EventType.PROMOTION_REFUSED):
        return _promotion(event, source, refused=type_ is EventType.PROMOTION_REFUSED)
    if type_ is EventType.ALIAS_DELETED:
        return _deletion(event, source)
    return _edit(event, source, type_, data)


def _edit(event: OutboxEvent, source: Source, type_: EventType, data: DataRange | None) -> list[Object]:
    edit, snapshot = event.payload["edit"], event.payload["snapshot"]
    change = {
        "type": type_.value,
        "model": event.model,
        "edit": edit["number"],
        "kind": edit["kind"],
        "actor": edit["actor"],
        "reason": edit["reason"],
        "auditHead": event.payload.get("audit_head"),
    }
    inputs = [_log(edit, event.payload["changes"], source, data)] if edit.get("data_digest") else []
    if snapshot["parent"] is not None:
        inputs.append(_dataset(source, event.model, snapshot["parent"]))
    output = _dataset(source, event.model, snapshot["id"])
    output["outputFacets"] = {"raie_snapshot": _snapshot_facet(event.payload, source)}
    run = _run(event, source, type_, change)
    began, ended = edit["created_at"], edit.get("closed_at") or edit["created_at"]
    return [run("START", began, inputs, [output]), run("COMPLETE", ended, inputs, [output])]


def _deletion(event: OutboxEvent, source: Source) -> list[Object]:
    """The end of an alias: it goes in, and nothing comes out."""
    payload = event.payload
    change = {"type": EventType.ALIAS_DELETED.value, "model": event.model, "source": payload["from"]}
    change |= {name: payload[name] for name in ("alias", "actor", "reason")}
    inputs = [_dataset(source, f"{event.model}@{payload['alias']}", payload["from"])]
    run = _run(event, source, EventType.ALIAS_DELETED, change)
    return [run(type_, payload["at"], inputs, []) for type_ in ("START", "COMPLETE")]


def _promotion(event: OutboxEvent, source: Source, *, refused: bool) -> list[Object]:
    payload = event.payload
    names = {"from": "source", "to": "target", "alias": "alias", "actor": "actor", "reason": "reason"}
    type_ = EventType.PROMOTION_REFUSED if refused else EventType.PROMOTION
    change = {"type": type_.value, "model": event.model} | {names[name]: payload[name] for name in names}
    snapshot = _dataset(source, event.model, payload["to"]) if payload["to"] else None
    inputs = [] if snapshot is None else [snapshot]
    outputs = [] if refused else [_dataset(source, f"{event.model}@{payload['alias']}", payload["to"])]
    run = _run(event, source, EventType.PROMOTION, change)
    if not refused:
        return [run("START", payload["at"], inputs, outputs), run("COMPLETE", payload["at"], inputs, outputs)]
    if snapshot is not None:
        snapshot["inputFacets"] = {"dataQualityAssertions": _failed_checks(payload["violations"], source)}
    failed = run("FAIL", payload["at"], inputs, outputs)
    failed["run"]["facets"]["errorMessage"] = _facet(
        source,
        "ErrorMessageRunFacet",
        message="; ".join(payload["violations"]) or "refused",
        programmingLanguage="Python",
    )
    return [run("START", payload["at"], inputs, outputs), failed]


def _run(event: OutboxEvent, source: Source, job: EventType, change: Mapping[str, Any]) -> Any:
    """A function that makes a run event of (event type, epoch seconds, inputs, outputs)."""
    run_id = str(uuid.uuid5(_RUNS, f"{source.registry}:{event.id}"))
    facets = {
        "raie_change": _own_facet(source, "ChangeRunFacet", change),
        "processing_engine": _facet(source, "ProcessingEngineRunFacet", version=source.version, name="raie"),
    }
    kind = _facet(source, "JobTypeJobFacet", processingType="BATCH", integration="RAIE", jobType=job.value.upper())

    def made(event_type: str, at: float, inputs: list[Object], outputs: list[Object]) -> Object:
        return {
            "eventTime": _iso(at),
            "eventType": event_type,
            "inputs": inputs,
            "job": {
                "namespace": source.namespace,
                "name": f"{event.model}.{job.value}",
                "facets": {"jobType": kind},
            },
            "outputs": outputs,
            "producer": source.producer,
            "run": {"runId": run_id, "facets": dict(facets)},
            "schemaURL": _RUN_EVENT,
        }

    return made


def _dataset(source: Source, name: str, version: str) -> Object:
    return {
        "namespace": source.datasets,
        "name": name,
        "facets": {"version": _facet(source, "DatasetVersionDatasetFacet", datasetVersion=version)},
    }


def _log(edit: Mapping[str, Any], changes: Any, source: Source, data: DataRange | None) -> Object:
    """The interaction log as it was when the edit read it: a file, with its digest as the version."""
    digest = edit["data_digest"]
    path = edit["parameters"].get("log")
    facet: Object = {"sha256": digest, "windows": sum(change["windows"] for change in changes)}
    facets: Object = {}
    if data is not None:
        facet |= {"after": None if data.after is None else _iso(data.after), "until": _iso(data.until)}
        facets["dataQualityMetrics"] = _facet(
            source, "DataQualityMetricsInputDatasetFacet", columnMetrics={}, rowCount=data.rows
        )
    return {
        "namespace": "file" if path else source.datasets,
        "name": path or "interactions",
        "facets": {"version": _facet(source, "DatasetVersionDatasetFacet", datasetVersion=digest)},
        "inputFacets": facets | {"raie_interactions": _own_facet(source, "InteractionsInputDatasetFacet", facet)},
    }


def _snapshot_facet(payload: Mapping[str, Any], source: Source) -> Object:
    changes = payload["changes"]
    value = {
        "parent": payload["snapshot"]["parent"],
        "regions": len(payload["snapshot"]["content"]["regions"]),
        "changed": [
            {"region": change["region"], "action": change["action"], "version": change["version"]}
            for change in changes
        ],
        "metrics": dict(_numbers(payload["report"])),
    }
    return _own_facet(source, "SnapshotOutputDatasetFacet", value)


def _numbers(report: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of an edit's report, under its path with slashes."""
    for name, value in report.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _failed_checks(violations: list[str], source: Source) -> Object:
    checks = [{"assertion": "promotion policy", "success": False, "description": line} for line in violations]
    return _facet(source, "DataQualityAssertionsDatasetFacet", assertions=checks)


def _facet(source: Source, facet: str, /, **values: Any) -> Object:
    url = f"{_SPEC}/facets/{_VERSIONS[facet]}/{facet}.json#/$defs/{facet}"
    return {"_producer": source.producer, "_schemaURL": url, **values}


def _own_facet(source: Source, facet: str, values: Mapping[str, Any]) -> Object:
    known = {key: value for key, value in values.items() if value is not None}
    return {"_producer": source.producer, "_schemaURL": f"{FACETS_ID}#/$defs/{facet}", **known}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
