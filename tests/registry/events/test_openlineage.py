"""Run events are what the classes of openlineage-python make of the same values; our own facets fit their schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jsonschema
import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.serde import Serde

from raie.registry.events.event_types import EventType, type_of
from raie.registry.events.openlineage import FACETS_ID, DataRange, Source, run_events
from raie.registry.outbox_records import (
    ALIAS_DELETED,
    ALIAS_MOVED,
    PROMOTION_REFUSED,
    SNAPSHOT_COMMITTED,
    OutboxEvent,
)
from raie.registry.states import EditKind

SOURCE = Source("r1", "9.9.9", "recommenders")
OLD, NEW, LOG = "a" * 64, "b" * 64, "c" * 64
CHANGE = {"region": 2, "action": "update", "windows": 12, "version": 3}
RANGE = DataRange(340, 1_700_000_000, 1_700_086_400)


def event(kind: str, payload: Mapping[str, Any], number: int = 7) -> OutboxEvent:
    return OutboxEvent(number, "recsys", kind, payload, 1_800_000_000.25, 1)


def edit(kind: str = "edit", parent: str | None = OLD, digest: str | None = LOG) -> OutboxEvent:
    row = {
        "number": 4,
        "kind": kind,
        "actor": "ada",
        "reason": "weekly log",
        "data_digest": digest,
        "parameters": {"log": "/data/ratings.csv"} if digest else {},
        "created_at": 1_800_000_000.0,
        "closed_at": 1_800_000_060.5,
    }
    snapshot = {"id": NEW, "parent": parent, "content": {"regions": {"2": {}, "3": {}}}}
    report = {"retention": {"Recall@10": 0.25}, "words": "none"}
    return event(
        SNAPSHOT_COMMITTED,
        {"edit": row, "snapshot": snapshot, "changes": [CHANGE], "report": report, "audit_head": f"9:{LOG}"},
    )


def promotion(kind: str = ALIAS_MOVED, source: str | None = OLD) -> OutboxEvent:
    payload = {
        "alias": "production",
        "from": source,
        "to": NEW,
        "actor": "ada",
        "reason": "",
        "at": 1_800_000_000.0,
    }
    more = {"violations": ["second person: found none", "evaluation: none"]} if kind == PROMOTION_REFUSED else {}
    return event(kind, payload | more)


def deletion() -> OutboxEvent:
    payload = {
        "alias": "staging",
        "from": OLD,
        "to": None,
        "actor": "ada",
        "reason": "over",
        "at": 1_800_000_000.0,
    }
    return event(ALIAS_DELETED, payload)


EVENTS = [
    edit(),
    edit("setup", parent=None),
    edit("rollback", digest=None),
    promotion(),
    promotion(source=None),
    promotion(PROMOTION_REFUSED),
    deletion(),
]

STANDARD = {
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
    "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
    "dataQualityMetrics": facet_v2.data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet,
    "dataQualityAssertions": facet_v2.data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
}


def as_client(values: Mapping[str, Any]) -> event_v2.RunEvent:
    """The run event as the client's classes, which check each value and add their own schema URLs."""

    def facets(given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: made(name, dict(facet)) for name, facet in given.items()}

    def made(name: str, facet: dict[str, Any]) -> Any:
        producer = facet.pop("_producer")
        if name.startswith("raie_"):
            return {"_producer": producer, **facet}
        del facet["_schemaURL"]
        if name == "dataQualityAssertions":
            assertion = facet_v2.data_quality_assertions_dataset.Assertion
            facet["assertions"] = [assertion(**check, params=None) for check in facet["assertions"]]
        return STANDARD[name](**facet, producer=producer)

    def dataset(kind: Any, values: Mapping[str, Any], extra: str) -> Any:
        more = {extra: facets(values[extra])} if extra in values else {extra: None}
        return kind(values["namespace"], values["name"], facets=facets(values["facets"]), **more)

    return event_v2.RunEvent(
        eventTime=values["eventTime"],
        eventType=event_v2.RunState(values["eventType"]),
        producer=values["producer"],
        run=event_v2.Run(values["run"]["runId"], facets(values["run"]["facets"])),
        job=event_v2.Job(values["job"]["namespace"], values["job"]["name"], facets(values["job"]["facets"])),
        inputs=[dataset(event_v2.InputDataset, given, "inputFacets") for given in values["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, given, "outputFacets") for given in values["outputs"]],
    )


@pytest.mark.parametrize("given", EVENTS, ids=lambda given: f"{given.kind}")
def test_run_events_are_those_of_the_openlineage_client(given: OutboxEvent) -> None:
    made = run_events(given, SOURCE, RANGE)
    assert [values["eventType"] for values in made] in (["START", "COMPLETE"], ["START", "FAIL"])
    for values in made:
        assert Serde.to_dict(as_client(values)) == json.loads(json.dumps(values))


@pytest.mark.parametrize("given", EVENTS, ids=lambda given: f"{given.kind}")
def test_our_own_facets_fit_their_schema(given: OutboxEvent) -> None:
    schema = json.loads(
        resources.files("raie.registry.events").joinpath("facets.json").read_text(encoding="utf-8")
    )
    assert schema["$id"] == FACETS_ID
    facets = list(own_facets(run_events(given, SOURCE, RANGE)))
    assert facets
    for facet in facets:
        name = facet["_schemaURL"].removeprefix(f"{FACETS_ID}#/$defs/")
        jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", **schema}).validate(facet)
        unknown = facet | {"unknown": 1}
        assert not jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", **schema}).is_valid(unknown)


def own_facets(value: Any) -> Any:
    if isinstance(value, dict):
        for name, inner in value.items():
            if re.fullmatch(r"raie_\w+", name):
                yield inner
            else:
                yield from own_facets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from own_facets(inner)


def test_an_edit_reads_a_log_and_its_parent_and_makes_a_snapshot() -> None:
    start, end = run_events(edit(), SOURCE, RANGE)
    assert (start["eventTime"], end["eventTime"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.500Z")
    assert end["job"]["name"] == "recsys.edit"
    log, parent = end["inputs"]
    assert (log["namespace"], log["name"], log["facets"]["version"]["datasetVersion"]) == (
        "file",
        "/data/ratings.csv",
        LOG,
    )
    assert log["inputFacets"]["dataQualityMetrics"]["rowCount"] == 340
    interactions = log["inputFacets"]["raie_interactions"]
    assert (interactions["after"], interactions["until"]) == (
        "2023-11-14T22:13:20.000Z",
        "2023-11-15T22:13:20.000Z",
    )
    assert (parent["name"], parent["facets"]["version"]["datasetVersion"]) == ("recsys", OLD)
    (output,) = end["outputs"]
    assert output["facets"]["version"]["datasetVersion"] == NEW
    assert output["outputFacets"]["raie_snapshot"]["metrics"]["retention/Recall@10"] == 0.25
    assert end["run"]["facets"]["raie_change"]["auditHead"] == f"9:{LOG}"


def test_a_refused_promotion_is_a_run_that_fails_with_each_check() -> None:
    _, end = run_events(promotion(PROMOTION_REFUSED), SOURCE)
    assert (end["eventType"], end["job"]["name"], end["outputs"]) == ("FAIL", "recsys.promotion", [])
    assert end["run"]["facets"]["errorMessage"]["message"] == "second person: found none; evaluation: none"
    checks = end["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(check["success"], check["description"]) for check in checks] == [
        (False, "second person: found none"),
        (False, "evaluation: none"),
    ]


def test_the_end_of_an_alias_is_a_run_that_reads_it_and_makes_nothing() -> None:
    _, end = run_events(deletion(), SOURCE)
    assert (end["job"]["name"], end["outputs"]) == ("recsys.alias_deleted", [])
    (alias,) = end["inputs"]
    assert (alias["name"], alias["facets"]["version"]["datasetVersion"]) == ("recsys@staging", OLD)
    assert end["run"]["facets"]["raie_change"]["type"] == "alias_deleted"


def test_an_event_that_is_sent_twice_is_one_run_and_another_event_is_another() -> None:
    first, again = (run_events(edit(), SOURCE)[1]["run"]["runId"] for _ in range(2))
    second = run_events(event(SNAPSHOT_COMMITTED, edit().payload, 8), SOURCE)[1]["run"]["runId"]
    elsewhere = run_events(edit(), Source("r2", "9.9.9", "recommenders"))[1]["run"]["runId"]
    assert first == again
    assert len({first, second, elsewhere}) == 3


def test_every_kind_of_commit_but_a_rollback_is_an_edit() -> None:
    kinds = ("setup", "edit", "import", "merge", "split", "retire", EditKind.CHERRY_PICK.value)
    assert {type_of(edit(kind)) for kind in kinds} == {EventType.EDIT}
    assert type_of(edit("rollback")) is EventType.ROLLBACK
    assert type_of(event("of tomorrow", {})) is None
