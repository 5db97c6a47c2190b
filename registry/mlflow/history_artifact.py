"""The page of a model's whole history in MLflow: a run of its own holds it, and the registered model links to it.

The page is an artifact that each sync with something to publish writes over; a sync with nothing to publish leaves it.
"""

from __future__ import annotations

import hashlib
import time

from raie.registry.canonical import canonical_json
from raie.registry.mlflow import payload as record
from raie.registry.mlflow.payload import millis
from raie.registry.mlflow.upserts import ModelUpserts, folder_of

__all__ = ["HISTORY_FILE", "publish_history"]

HISTORY_FILE = "history.html"


def publish_history(upserts: ModelUpserts, page: str) -> None:
    """Puts the page of a model's history into MLflow, in place of the one that is there.

    Args:
        upserts: of the model.
        page: the HTML, which loads nothing.
    """
    experiment = upserts.experiment()
    key = hashlib.sha256(canonical_json(["history", upserts.model])).hexdigest()[:32]
    tags = {"mlflow.source.name": "raie", "raie.model": upserts.model, "raie.kind": "history"}
    tags["mlflow.note.content"] = f"The whole history of the model: the artifact {HISTORY_FILE}."
    run = upserts.run(experiment, key, "history", tags, time.time())
    with folder_of({HISTORY_FILE: page}) as folder:
        upserts.client.log_artifacts(run, folder)
    # It took what the first page took: a later one would let it last for months.
    if upserts.client.get_run(run).info.status != "FINISHED":
        upserts.client.set_terminated(run, "FINISHED", millis(time.time()))
    _link(upserts, upserts.link_to_artifact(experiment, run, HISTORY_FILE))


def _link(upserts: ModelUpserts, link: str) -> None:
    """Lets the registered model's description lead to the page; one that somebody wrote stays as it is."""
    name = upserts.registered_model()
    without = record.registered_model_description(upserts.model)
    if upserts.client.get_registered_model(name).description == without:
        upserts.client.update_registered_model(name, record.registered_model_description(upserts.model, link))
