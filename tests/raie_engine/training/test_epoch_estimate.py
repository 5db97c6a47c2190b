"""How long a training will take is guessed from its patience, and from what early stopping did before."""

from __future__ import annotations

from raie.engine.training.epoch_estimate import EpochEstimate, estimated


def guesses(estimate: EpochEstimate, scores: list[float]) -> list[int]:
    """What a bar counts to, after each epoch."""
    totals: list[int] = []
    report = estimated(lambda stage, done, total: totals.append(total), "backbone", estimate)
    for epoch, score in enumerate(scores, start=1):
        report(epoch, score)
    return totals


def test_without_experience_what_improves_is_half_done_and_what_does_not_ends_with_the_patience() -> None:
    assert guesses(EpochEstimate(200, 3), [0.1, 0.2, 0.3, 0.4, 0.4, 0.3, 0.2]) == [4, 5, 6, 8, 7, 7, 7]


def test_the_trainings_before_say_how_long_this_one_takes() -> None:
    assert guesses(EpochEstimate(200, 3, (20, 24, 40)), [0.1, 0.2, 0.1]) == [24, 24, 24]
    assert guesses(EpochEstimate(200, 3, (4,)), [0.1, 0.2, 0.3, 0.4]) == [4, 5, 6, 7]


def test_a_guess_is_never_over_the_limit_or_behind_what_is_done() -> None:
    assert guesses(EpochEstimate(5, 3), [0.1, 0.2, 0.3, 0.4, 0.5]) == [4, 5, 5, 5, 5]
    assert guesses(EpochEstimate(7, 0), [0.2, 0.1]) == [7, 7]
    assert EpochEstimate(200, 3, (4,)).after(9, 5) == 9


def test_a_bar_is_given_the_epoch_and_the_guess() -> None:
    seen: list[tuple[str, int, int]] = []
    report = estimated(lambda *step: seen.append(step), "backbone", EpochEstimate(200, 3, (9,)))
    report(1, 0.25)
    assert seen == [("backbone, validation NDCG@10 0.2500", 1, 9)]
