"""How many epochs a training with early stopping will take, guessed while it runs, for a bar that shows its progress.

The upper limit says little: of 200 epochs, 20 are usual. Trainings that ended before say more, and the patience says
when the one that runs could end at the earliest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

__all__ = ["EpochEstimate", "estimated"]


@dataclass(frozen=True)
class EpochEstimate:
    """What is known of how long a training takes, before it begins.

    Attributes:
        limit: Epochs at most.
        patience: Epochs without a better score after which training stops; 0 for never.
        earlier: Epochs that like trainings took before.
    """

    limit: int
    patience: int
    earlier: tuple[int, ...] = ()

    def after(self, epoch: int, best: int) -> int:
        """The epochs that the training will take in all, as far as is known after an epoch.

        Args:
            epoch: Its number, from 1.
            best: The epoch with the best score so far.

        Returns:
            From `epoch` to `limit`.
        """
        if not self.patience:
            return self.limit
        earliest = best + self.patience
        # Without any experience, what still improves is taken to be half done.
        usual = round(median(self.earlier)) if self.earlier else 2 * best if best == epoch else earliest
        return max(epoch, min(self.limit, max(earliest, usual)))


def estimated(
    progress: Callable[[str, int, int], None], stage: str, estimate: EpochEstimate
) -> Callable[[int, float], None]:
    """What a training calls after each epoch, for a bar that counts up to the estimate.

    Args:
        progress: Called with the stage and its score, the epoch, and the epochs that are expected.
        stage: What is trained.
        estimate: Of the training.
    """

    best, best_score = 0, float("-inf")

    def after_epoch(epoch: int, score: float) -> None:
        nonlocal best, best_score
        if score > best_score:
            best, best_score = epoch, score
        progress(f"{stage}, validation NDCG@10 {score:.4f}", epoch, estimate.after(epoch, best))

    return after_epoch
