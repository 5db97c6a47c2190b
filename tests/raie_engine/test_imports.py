"""What stays unimported, because it takes a second of every command."""

from __future__ import annotations

import subprocess
import sys

from tests.raie_engine.world import ROOT


def test_neither_training_nor_loading_a_backbone_imports_torchs_compiler() -> None:
    script = """
import sys
from raie.engine.training.train_backbone import train_backbone
from raie.engine.backbones import load_backbone
from raie.engine.config import BackboneConfig
from tests.raie_engine.world import ITEMS, successor_windows

small = BackboneConfig(dim=16, batch=32, epochs=1)
model, _ = train_backbone(successor_windows(60, 0), successor_windows(20, 1), ITEMS, small, positions=3, seed=0)
load_backbone(*model.to_bytes())
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
