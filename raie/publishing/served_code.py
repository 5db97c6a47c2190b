"""The code of a published MLflow model: it opens the snapshot that it describes through raie, and holds no weights."""

from __future__ import annotations

__all__ = ["MODEL_CODE"]

MODEL_CODE = '''"""Serves one snapshot of the registry that RAIE_DATABASE_URL and RAIE_STORE name; no weights lie here."""

from mlflow.models import set_model

from raie.serve import open_described
from raie.engine.serving import SnapshotModel

set_model(SnapshotModel(open_described))
'''
