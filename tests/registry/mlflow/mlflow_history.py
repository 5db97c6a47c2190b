"""A small history in a registry, and what MLflow has of it, for the tests of the publisher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raie.registry import Author, Content, Digest, RegionChange, Registry, Snapshot
from raie.registry.mlflow import publisher
from raie.registry.outbox_records import SyncReport

__all__ = ["CODE", "change", "content", "edit", "history", "shape", "sync"]

CODE = "# what a published model runs\n"


def sync(registry: Registry, tracking_uri: str, *, again: bool = False) -> SyncReport:
    """Publish with a stand-in for the code of the models, which these tests never load."""
    return publisher.sync(registry, tracking_uri, CODE, again=again)


def content(registry: Registry, versions: Mapping[int, int]) -> Content:
    """A content whose region r has the bytes of version v."""

    def put(text: str) -> Digest:
        return registry.put(text.encode())

    regions = {r: {"state": put(f"state {r} {v}"), "lora": put(f"lora {r} {v}")} for r, v in versions.items()}
    shared = {"catalogue": (put("catalogue"),), "settings": (put("settings"),)}
    return Content({"weights": put("weights"), "config": put("config")}, put("space"), shared, regions)


def change(region: int, action: str) -> RegionChange:
    metrics = {"recall@10": 0.14, "a/../b": 1.0}
    return RegionChange(region, action, 120, 0.03, 0.6, 21.0, 900, (1.0, 0.0), metrics)


def edit(
    registry: Registry,
    model: str,
    kind: str,
    versions: Mapping[int, int],
    *changes: RegionChange,
    reason: str = "because <b>",
) -> Snapshot:
    parameters = {"gate": {"policy": "radius"}, "epochs": 10}
    number = registry.begin(
        model, kind, seed=7, author=Author("ada", reason), data_digest="d" * 64, parameters=parameters
    ).number
    return registry.commit(model, number, content(registry, versions), changes, {"test": {"recall@10": 0.15}})


def history(registry: Registry, model: str) -> list[Snapshot]:
    """Setup of two regions, an edit of one with a new one beside it, promotions, and a rollback of the edit."""
    first = edit(registry, model, "setup", {0: 1, 1: 1}, change(0, "setup"), change(1, "setup"))
    registry.promote(model, first.id, "production", Author("ada", "first"))
    second = edit(registry, model, "edit", {0: 2, 1: 1, 2: 1}, change(0, "update"), change(2, "add"))
    registry.promote(model, second.id, "candidate", Author("ada", "try it"))
    third = registry.rollback_edit(model, 2, Author("bob", "worse"))
    registry.promote(model, third.id, "production", Author("bob", "safe"))
    return [first, second, third]


def shape(client: Any, model: str) -> dict[str, Any]:
    """Everything MLflow has of a model, with names in the place of the ids that MLflow draws at random."""
    experiment = client.get_experiment_by_name(model)
    runs = [client.get_run(r.info.run_id) for r in client.search_runs([experiment.experiment_id])]
    models = list(client.search_logged_models([experiment.experiment_id]))
    versions = list(client.search_model_versions(f"name = '{model}'"))
    names = {run.info.run_id: _run_name(run) for run in runs} | {m.model_id: m.name for m in models}
    return {
        "runs": sorted(_run(client, run, names) for run in runs),
        "models": sorted((m.name, str(m.status), _renamed(m.tags, names), len(m.metrics or ())) for m in models),
        "versions": sorted(
            (int(v.version), names[v.run_id], _renamed(v.tags, names), _replaced(v.description, names))
            for v in versions
        ),
        "aliases": {alias: int(v) for alias, v in client.get_registered_model(model).aliases.items()},
    }


def _run_name(run: Any) -> str:
    return f"{run.data.tags['raie.edit']}/{run.info.run_name}"


def _run(client: Any, run: Any, names: Mapping[str, str]) -> tuple[Any, ...]:
    inputs = sorted(names[m.model_id] for m in run.inputs.model_inputs)
    outputs = sorted(names[m.model_id] for m in (run.outputs.model_outputs if run.outputs else ()))
    data = [(d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs]
    files = sorted(a.path for a in client.list_artifacts(run.info.run_id))
    values = (sorted(run.data.params.items()), sorted(run.data.metrics.items()))
    times = (run.info.start_time, run.info.end_time)
    tags = _renamed(run.data.tags, names)
    return (_run_name(run), run.info.status, times, tags, values, inputs, outputs, data, files)


def _renamed(tags: Mapping[str, str], names: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((key, _replaced(value, names)) for key, value in tags.items())


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for unique, name in names.items():
        text = text.replace(unique, name)
    return text
