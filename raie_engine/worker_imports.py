"""What a worker imports before its first task: the trainer, and what torch imports for most of a second with its first
optimiser. Workers are forked from a process that has done so (`worker_pool.py`).
"""

from __future__ import annotations

import torch

import raie_engine.region_training  # noqa: F401

__all__ = []
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
