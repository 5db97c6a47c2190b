"""Accuracy by leaving each user's last item out: hours on a CPU, so it is run on request and goes on where it stopped.

    python -m tests.benchmarks.leave_one_out ratings.dat --kind sasrec --work folder

Every rating is an interaction; items with fewer than 5 are left out, and every user with 3 or more interactions is
ranked. The last item is the test, the one before it validates, what is before them trains. All items are ranked but those
of the context. Prints one JSON line. An epoch takes 60 s on one core with SASRec, at most 105 with TiSASRec and 45 with
BERT4Rec; the first two need some 60 of them, BERT4Rec gets 150.
Reference NDCG@10 on MovieLens-1M: SASRec with cross-entropy 0.182, BERT4Rec 0.15 to 0.16 (arXiv 2309.07602, 2207.02808).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raie.engine.config import BackboneConfig, WindowConfig
from raie.engine.data.interactions import Interactions, read_log
from raie.engine.data.windows import Windows, cut_windows, last_windows
from raie.engine.evaluation.metrics import mean_metrics, ranks
from raie.engine.training.train_adapter import adapter_scores
from raie.engine.training.train_backbone import train_backbone

__all__ = ["Parts", "frequent", "leave_one_out"]

LENGTH, STRIDE = 200, 100
CONFIGS = {
    "sasrec": BackboneConfig(dim=64, layers=2, heads=2, batch=64, patience=10),
    "tisasrec": BackboneConfig(kind="tisasrec", dim=64, layers=2, heads=2, batch=64, patience=10),
    "bert4rec": BackboneConfig(
        kind="bert4rec", dim=64, layers=2, heads=2, batch=64, dropout=0.1, mask_share=0.4, patience=30, epochs=150
    ),
}


@dataclass(frozen=True)
class Parts:
    """Windows to train on, and one per user to validate and to test with."""

    train: Windows
    validation: Windows
    test: Windows


def frequent(log: Interactions, least: int) -> Interactions:
    """The interactions with items that occur at least so often; rows keep their items."""
    kept = np.bincount(log.item)[log.item] >= least
    return Interactions(log.user[kept], log.item[kept], log.timestamp[kept], log.catalogue)


def leave_one_out(log: Interactions, config: WindowConfig) -> Parts:
    """The last item of each user with three or more, the one before it, and windows of the rest."""
    order = np.argsort(log.user, kind="stable")
    user, ends = log.user[order], np.append(np.flatnonzero(np.diff(log.user[order])), len(order) - 1)
    begins = np.append(0, ends[:-1] + 1)
    long = ends - begins >= 2
    begins, ends = begins[long], ends[long]
    item, time_s = log.item[order], log.timestamp[order]

    def before(targets: np.ndarray) -> Windows:
        """One window per user, whose target stands at `place`."""
        spans = [slice(max(begin, at - config.length), at) for begin, at in zip(begins, targets, strict=True)]
        times = [time_s[span] for span in spans] if config.times else None
        made = last_windows([item[span] for span in spans], config.length, times)
        return replace(made, target=item[targets], user=user[targets], timestamp=time_s[targets])

    past = np.ones(len(order), bool)
    past[np.concatenate([ends, ends - 1])] = False
    rows = np.sort(order[past])
    rest = Interactions(log.user[rows], log.item[rows], log.timestamp[rows], log.catalogue)
    return Parts(cut_windows(rest, config), before(ends - 1), before(ends))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("--kind", choices=sorted(CONFIGS), default="sasrec")
    parser.add_argument("--work", type=Path, default=Path("leave-one-out"), help="where the checkpoint lies")
    parser.add_argument("--epochs", type=int, help="at most so many")
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    config = CONFIGS[given.kind]
    config = replace(config, epochs=given.epochs or config.epochs)
    window = WindowConfig(LENGTH, STRIDE, 1, "slice", times=given.kind == "tisasrec")
    log = frequent(read_log(given.log, duplicates="drop"), 5)
    parts = leave_one_out(log, window)
    print(f"{len(log):,} interactions, {len(parts.train):,} windows, {len(parts.test):,} users", flush=True)
    started = time.monotonic()
    model, trained = train_backbone(
        parts.train,
        parts.validation,
        int(log.item.max()),
        config,
        positions=STRIDE,
        seed=given.seed,
        checkpoint=given.work / f"{given.kind}.safetensors",
        progress=lambda epoch, score: print(f"{epoch} {score:.4f} {time.monotonic() - started:.0f} s", flush=True),
    )
    metrics = mean_metrics(ranks(adapter_scores(model, None), parts.test, batch=256))
    epochs = len(trained.scores) - 1
    print(json.dumps({"kind": given.kind, "epochs": epochs, **{name: round(v, 4) for name, v in metrics.items()}}))


if __name__ == "__main__":
    main()
