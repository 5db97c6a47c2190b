"""A registry with two snapshots of one small model, made once; every test works on a copy of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raie.edits.workflow import apply_edit, plan_edit, run_setup
from raie.engine.config import BackboneConfig, EditConfig, EngineConfig, RegionConfig
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.engine.model import Settings
from raie.migrations import upgrade
from raie.registry import Author, Registry
from raie.serving.sources import AliasSource
from raie.workspace_file import read

MODEL = "recsys"


@dataclass(frozen=True)
class Shop:
    """A folder with a registry; first, second: ids of its snapshots, of which the first is in production."""

    folder: Path
    first: str
    second: str

    @property
    def registry(self) -> Registry:
        return read(self.folder / "raie.toml").registry()

    def source(self, alias: str = "production") -> AliasSource:
        return AliasSource(lambda: self.registry, MODEL, alias)

    def promote(self, snapshot: str, alias: str = "production") -> None:
        self.registry.promote(MODEL, snapshot, alias, Author("ada"))

    def blob(self, digest: str) -> Path:
        return next(path for path in (self.folder / "blobs").rglob(f"*{digest[2:]}*") if path.is_file())


@pytest.fixture(scope="session")
def _stocked(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("stocked"))


def stocked(
    folder: Path, users: int = 60, database: str = "sqlite:///registry.db", store: str = "blobs", dim: int = 16
) -> Shop:
    """A shop whose model was set up and edited once."""
    write_csv(drifting_log(SyntheticConfig(users=users)), folder / "log.csv")
    backbone = BackboneConfig(dim=dim, layers=1, heads=1, epochs=1)
    edits = EditConfig(epochs=1, shared_epochs=1, max_validation=100)
    engine = EngineConfig(backbone=backbone, regions=RegionConfig(regions=2), edit=edits)
    (folder / "raie.toml").write_text(f'database = "{database}"\nstore = "{store}"\n', encoding="utf-8")
    workspace = read(folder / "raie.toml")
    upgrade(workspace.database)
    registry = workspace.registry()
    names: dict[str, Any] = {"actor": "ada", "reason": "", "work": folder / "work", "progress": lambda *_: None}
    first = run_setup(registry, MODEL, folder / "log.csv", "0.5", Settings(engine, LogSettings()), **names)
    registry.promote(MODEL, "head", "production", Author("ada"))
    plan = plan_edit(registry, MODEL, folder / "log.csv", "0.7", None)
    _, second = apply_edit(registry, MODEL, plan, workers=1, **names)
    return Shop(folder, first.id, second.id)


@pytest.fixture
def shop(_stocked: Shop, tmp_path: Path) -> Shop:
    """A copy of that shop."""
    shutil.copytree(_stocked.folder, tmp_path / "shop")
    return Shop(tmp_path / "shop", _stocked.first, _stocked.second)
