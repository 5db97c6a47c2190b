"""Creates in MLflow that happen once: each is preceded by a search for the tag that it carries.

A lost answer is the reason: the create landed, nobody heard of it, and the next attempt must find it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from raie.registry.errors import NotFound
from raie.registry.events.openlineage import DataRange
from raie.registry.mlflow import payload as record
from raie.registry.mlflow import text as mlflow_text
from raie.registry.mlflow.client import artifact_location, page_address
from raie.registry.mlflow.payload import TRANSACTION, Payload, millis
from raie.registry.outbox import Progress

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["ModelUpserts", "dataset", "folder_of", "log", "region_parts", "regions_of"]

_PARAMS_PER_BATCH = 100
_BATCH_BYTES = 500_000
"""MLflow's server takes requests of up to a million bytes."""

_METRICS_PER_BATCH = 900
# MLflow 1 and 2 take this many characters of a version's tag, and MySQL 65,535 bytes.
_TAG_LENGTH = mlflow_text.TAG_LENGTH


@dataclass(frozen=True)
class ModelUpserts:
    """Where in MLflow one event goes; creates are made once by `progress` and by their transaction tag."""

    client: MlflowClient
    uri: str
    model: str
    progress: Progress

    @property
    def name(self) -> str:
        """The model's legal name: of its experiment and of its registered model."""
        return record.legal_model_name(self.model)

    def experiment(self) -> str:
        """The id of the model's experiment, created where it is missing."""
        known = self.client.get_experiment_by_name(self.name)
        if known is None:
            # The kind opens the experiment's pages on its runs instead of on traces.
            tags = {"mlflow.experimentKind": "custom_model_development", "raie.model": self.model}
            location = artifact_location(self.uri, self.name)
            return str(self.client.create_experiment(self.name, location, tags))
        if known.lifecycle_stage != "active":
            raise NotFound(
                f"Expected an active experiment {self.name!r} in MLflow, found a deleted one; restore it, or run "
                "`mlflow gc` to be rid of it, then sync again"
            )
        return str(known.experiment_id)

    def registered_model(self) -> str:
        """The name of the registered model, created where it is missing."""
        if not self.client.search_registered_models(f"name = '{self.name}'", max_results=1):
            about = record.registered_model_description(self.model)
            self.client.create_registered_model(self.name, {"raie.model": self.model}, about)
        return self.name

    def run(self, experiment: str, key: str, name: str, tags: Mapping[str, str], started: float) -> str:
        """The id of the run with this transaction tag, created where it is missing."""
        known = self.client.search_runs([experiment], f"tags.`{TRANSACTION}` = '{key}'", max_results=1)
        if known:
            return str(known[0].info.run_id)
        named = record.run_name(name)
        created = self.client.create_run(experiment, millis(started), {TRANSACTION: key, **tags}, named)
        return str(created.info.run_id)

    def logged_model(
        self,
        experiment: str,
        key: str,
        name: str,
        run: str,
        tags: Mapping[str, str],
        kind: str,
        params: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        """The logged model with this transaction tag, created where it is missing."""
        known = self.client.search_logged_models([experiment], f"tags.`{TRANSACTION}` = '{key}'", max_results=1)
        if known:
            return known[0]
        return self.client.create_logged_model(
            experiment, name, run, tags={TRANSACTION: key, **tags}, params=dict(params or {}), model_type=kind
        )

    def version_of(self, snapshot: str) -> dict[str, Any] | None:
        """The model version of a snapshot with its regions and logged model, None where MLflow has none."""
        known = self.model_version(snapshot)
        if known is None:
            return None
        tags = known.tags
        return {
            "version": str(known.version),
            "edit": int(tags["raie.edit"]),
            "run": known.run_id,
            "model_id": tags["raie.logged_model"],
            "regions": regions_of(tags),
        }

    def model_version(self, snapshot: str) -> ModelVersion | None:
        """The model version of a snapshot, None where MLflow has none."""
        where = f"name = '{self.name}' and tags.`raie.snapshot` = '{snapshot}'"
        return next(iter(self.client.search_model_versions(where, max_results=1)), None)

    def describe_anew(self, known: ModelVersion, description: str, tags: Mapping[str, str]) -> None:
        """Gives a version that is there these tags, and the description unless somebody wrote another.

        tags: also those of its regions; of an earlier release's there may have been more.
        """
        ours = known.tags.get(record.DESCRIBED)
        is_ours = ours == record.text_key(known.description or "") or record.is_earlier_description(
            known.description
        )
        if is_ours and known.description != description:
            self.client.update_model_version(self.name, known.version, description)
        for key in sorted(tags.keys() | {key for key in known.tags if key.startswith("raie.regions.")}):
            if key not in tags:
                self.client.delete_model_version_tag(self.name, known.version, key)
            elif known.tags.get(key) != tags[key]:
                self.client.set_model_version_tag(self.name, known.version, key, tags[key])

    def region_version(self, model: LoggedModel) -> dict[str, Any]:
        """A region's version as a version of the model names it, with the run and the edit that made it."""
        run, edit = model.source_run_id, model.tags.get("raie.edit")
        # An earlier release let only the run say so.
        edit = edit or self.client.get_run(run).data.tags["raie.edit"]
        number = int(model.tags["raie.version"])
        return {"version": number, "model_id": str(model.model_id), "run": run, "edit": int(edit)}

    def adapter_of(self, experiment: str, key: str) -> dict[str, Any] | None:
        """A region version's external model by its key, None where MLflow has none."""
        known = self.client.search_logged_models([experiment], f"tags.`{TRANSACTION}` = '{key}'", max_results=1)
        if not known:
            return None
        return self.region_version(known[0])

    def link_to_version(self, version: str) -> str:
        """A link to a version's page."""
        return record.link(page_address(self.uri), f"/models/{quote(self.name)}/versions/{version}")

    def link_to_run(self, experiment: str, run: str) -> str:
        """A link to a run's page."""
        return record.link(page_address(self.uri), f"/experiments/{experiment}/runs/{run}")

    def link_to_artifact(self, experiment: str, run: str, file: str) -> str:
        """A link to the page that shows a run's artifact."""
        return record.link(page_address(self.uri), f"/experiments/{experiment}/runs/{run}/artifacts/{file}")


def log(
    client: MlflowClient,
    run: str,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    at: int,
    model: str | None,
) -> None:
    """Params and metrics in as few requests as MLflow's limits allow; model: what the metrics are about."""
    from mlflow.entities import Metric, Param

    rows: Sequence[Metric] = [Metric(name, value, at, 0, model_id=model) for name, value in metrics.items()]
    for start in range(0, len(rows), _METRICS_PER_BATCH):
        client.log_batch(run, metrics=rows[start : start + _METRICS_PER_BATCH])
    # A param cannot be changed, and an earlier release cut long ones elsewhere.
    there = client.get_run(run).data.params if params else {}
    for batch in _batches({name: value for name, value in params.items() if name not in there}):
        client.log_batch(run, params=[Param(name, value) for name, value in batch])


def _batches(params: Mapping[str, str]) -> Iterator[list[tuple[str, str]]]:
    """The params in as few parts as MLflow's limits on their number and on a request's bytes allow."""
    batch, size = list[tuple[str, str]](), 0
    for pair in params.items():
        bytes_ = len(json.dumps(pair))
        if batch and (len(batch) == _PARAMS_PER_BATCH or size + bytes_ > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(pair)
        size += bytes_
    if batch:
        yield batch


def region_parts(regions: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a version that name its regions' adapters; several where one cannot hold them all."""
    text = json.dumps(regions, sort_keys=True)
    parts = [text[start : start + _TAG_LENGTH] for start in range(0, len(text), _TAG_LENGTH)]
    return {"raie.regions" if part == 0 else f"raie.regions.{part}": text for part, text in enumerate(parts)}


def regions_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """The regions that `region_parts` made these tags of."""
    later = sorted(int(key.removeprefix("raie.regions.")) for key in tags if key.startswith("raie.regions."))
    regions: dict[str, Any] = json.loads(tags["raie.regions"] + "".join(tags[f"raie.regions.{n}"] for n in later))
    return regions


def dataset(payload: Payload, data: DataRange | None) -> Any:
    """What an edit took of the interaction log as MLflow's dataset: digest, rows and times, nothing copied.

    Each edit has its own, as two edits take different rows of one log. MLflow keeps 36 characters of the digest.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest, number = payload["edit"]["data_digest"], payload["edit"]["number"]
    profile: dict[str, Any] = {"windows": sum(change["windows"] for change in payload["changes"])}
    if data is not None:
        profile |= {"rows": data.rows, "after": data.after, "until": data.until}
    source = json.dumps({"sha256": digest})
    shown = Dataset(f"interactions-edit-{number}", digest[:36], "sha256", source, profile=json.dumps(profile))
    return DatasetInput(shown, [InputTag("mlflow.data.context", "training")])


def folder_of(files: Mapping[str, str]) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder with these text files."""
    folder = tempfile.TemporaryDirectory(prefix="raie-mlflow-")
    for name, text in files.items():
        Path(folder.name, name).write_text(text, encoding="utf-8")
    return folder
