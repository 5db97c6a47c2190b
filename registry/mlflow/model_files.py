"""The files of a snapshot's MLflow model: code that loads the snapshot from the registry, and its digests.

No weights and no address: whoever serves it says where the registry is (RAIE_DATABASE_URL, RAIE_STORE), and every
blob is verified against the digests when it is loaded.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from string import Template
from typing import Any

from raie.registry.values import Content

__all__ = ["model_files"]

_MLMODEL = Template("""\
flavors:
  python_function:
    artifacts:
      snapshot:
        path: snapshot.json
        uri: snapshot.json
    config:
      alias: null
    loader_module: mlflow.pyfunc.model
    model_code_path: model.py
    python_version: $python
    streamable: false
is_signature_from_type_hint: false
mlflow_version: $mlflow
model_id: $model_id
run_id: $run_id
signature:
  inputs: '$inputs'
  outputs: '$outputs'
  params: '$params'
utc_time_created: '$created'
""")

_ITEMS = {"type": "array", "items": {"type": "string"}, "name": "items", "required": True}
_TIMES = {"type": "array", "items": {"type": "long"}, "name": "times", "required": False}
_SCORES = {"type": "array", "items": {"type": "double"}, "name": "scores", "required": True}
_REGION = {"type": "long", "name": "region", "required": True}
_IGNORED = {"type": "long", "name": "ignored", "required": True}
_SNAPSHOT = {"type": "string", "name": "snapshot", "required": True}
_COLD = {"type": "boolean", "name": "cold", "required": True}
_K = {"name": "k", "type": "long", "default": 10, "shape": None}
_EXCLUDE_SEEN = {"name": "exclude_seen", "type": "boolean", "default": None, "shape": None}


def model_files(
    model: str, snapshot: Mapping[str, Any], model_id: str, run_id: str, at: str, code: str
) -> dict[str, str]:
    """The files of a snapshot's MLflow model.

    Args:
        model: The model's name.
        snapshot: Its id, parent and content, as the event has them.
        model_id: MLflow's id of the logged model.
        run_id: MLflow's id of the edit's run.
        at: When it was committed.
        code: The Python that loads the snapshot from the registry.

    Returns:
        File name -> text.
    """
    content = Content.from_json(snapshot["content"])
    described = {"format": 1, "model": model, **snapshot, "digest": content.digest}
    mlmodel = _MLMODEL.substitute(
        python=platform.python_version(),
        mlflow=version("mlflow"),
        model_id=model_id,
        run_id=run_id,
        inputs=json.dumps([_ITEMS, _TIMES]),
        outputs=json.dumps([_ITEMS, _SCORES, _REGION, _IGNORED, _SNAPSHOT, _COLD]),
        params=json.dumps([_K, _EXCLUDE_SEEN]),
        created=at,
    )
    return {
        "MLmodel": mlmodel,
        "model.py": code,
        "requirements.txt": f"raie=={version('raie')}\n",
        "snapshot.json": json.dumps(described, indent=1, sort_keys=True),
    }
