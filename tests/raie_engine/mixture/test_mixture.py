"""The mixture: no worse than its best part, repeats as likely as the log says, each row by itself, the same again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from raie.engine.config import MIXTURE_PARTS, WindowConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.windows import Windows, evaluation_windows, last_windows
from raie.engine.errors import DamagedArtifact
from raie.engine.evaluation.metrics import mean_metrics, ranks
from raie.engine.mixture.fit import ALL, Fitted, Validated, _best, fit_mixture
from raie.engine.mixture.log_counts import count_rows
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import Mixture
from raie.engine.mixture.repeats import AGES, earlier_items
from raie.engine.mixture.weights import MODEL, MixtureWeights

ITEMS, USERS = 60, 200
CONFIG = WindowConfig(length=10, stride=5)


def _log(*, repeat: float, follow: float, seed: int = 0) -> Interactions:
    """Users who take an earlier item again, or the one after their last, or any."""
    random, rows = np.random.default_rng(seed), []
    for user in range(USERS):
        items = [int(random.integers(1, ITEMS + 1))]
        for _ in range(14):
            kind = random.random()
            if kind < repeat:
                items.append(int(random.choice(items)))
            elif kind < repeat + follow:
                items.append(items[-1] % ITEMS + 1)
            else:
                items.append(int(random.choice(np.setdiff1d(np.arange(1, ITEMS + 1), items))))
        rows += [(user, item, 1000 * index + user) for index, item in enumerate(items)]
    rows.sort(key=lambda row: row[2])
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    catalogue = Catalogue(tuple(map(str, range(USERS))), tuple(map(str, range(1, ITEMS + 1))))
    return Interactions(user.astype(np.int32), item.astype(np.int32), time.astype(np.int64), catalogue)


def _blind(windows: Windows) -> Tensor:
    scores = torch.zeros(len(windows), ITEMS + 1)
    scores[:, 0] = float("-inf")
    return scores


def _fitted(log: Interactions, names: tuple[str, ...] = MIXTURE_PARTS) -> tuple[Fitted, LogParts]:
    cut = int(np.quantile(log.timestamp, 0.7))
    parts = LogParts(count_rows(between(log, None, cut), None, ITEMS), ITEMS + 1)
    asked = evaluation_windows(between(log, None, int(np.quantile(log.timestamp, 0.85))), CONFIG, after=cut)
    half = asked.user % 2
    validated = {region: [Validated(asked.take(half == region), _blind, parts)] for region in (0, 1)}
    return fit_mixture(validated, ITEMS, names=names), parts


def _newest(log: Interactions) -> Windows:
    return evaluation_windows(log, CONFIG, after=int(np.quantile(log.timestamp, 0.85)))


def test_a_log_without_repeats_teaches_that_nobody_takes_an_item_again() -> None:
    log = _log(repeat=0.0, follow=0.0)
    fitted, parts = _fitted(log)
    windows = _newest(log)
    scores = Mixture(fitted.weights, parts).joined(_blind(windows), windows)
    earlier = earlier_items(windows)
    best = scores.topk(10, dim=1).indices
    had = torch.zeros_like(scores, dtype=torch.bool).index_put((earlier.row, earlier.item), torch.tensor(True))
    assert had.gather(1, best).float().mean() < 0.01


def test_a_log_of_repeats_teaches_that_what_a_user_had_comes_again() -> None:
    log = _log(repeat=0.8, follow=0.0)
    fitted, parts = _fitted(log, (MODEL,))
    windows = _newest(log)
    joined = Mixture(fitted.weights, parts)
    ranked = ranks(lambda some: joined.joined(_blind(some), some), windows)
    assert mean_metrics(ranked)["Recall@10"] > 0.7
    assert min(fitted.weights.repeats[:3]) > 1


def test_what_is_fitted_is_no_worse_than_each_part_alone_beyond_chance() -> None:
    for log in (_log(repeat=0.5, follow=0.3), _log(repeat=0.0, follow=0.9), _log(repeat=0.1, follow=0.1)):
        fitted, _ = _fitted(log)
        error = 2 * math.sqrt(0.25 / fitted.windows)
        assert fitted.quality >= max(fitted.alone.values()) - error
        assert set(fitted.alone) == set(MIXTURE_PARTS)
        assert set(fitted.regions) == {0, 1}


def test_a_part_is_left_out_only_where_that_gains_beyond_chance() -> None:
    users, ranks_of_all = np.arange(200), np.full(200, 11)
    once, often = ranks_of_all.copy(), ranks_of_all.copy()
    once[0], often[:20] = 1, 1
    for better, chosen in ((once, ALL), (often, "without last")):
        ranked = {ALL: ranks_of_all, "without last": better, "last alone": ranks_of_all}
        measured = {name: mean_metrics(rank)["NDCG@10"] for name, rank in ranked.items()}
        assert measured["without last"] > measured[ALL]
        assert _best(ranked, measured, users, seed=0) == chosen


def test_windows_before_and_after_new_items_are_fitted_together() -> None:
    log = _log(repeat=0.1, follow=0.8)
    cut, end = (int(np.quantile(log.timestamp, share)) for share in (0.7, 0.85))
    asked = evaluation_windows(between(log, None, end), CONFIG, after=cut)
    few = asked.without_items_above(ITEMS // 2)
    few = few.take(few.length > 0)
    parts = [LogParts(count_rows(between(log, None, cut), None, last), last + 1) for last in (ITEMS, ITEMS // 2)]
    both = [
        Validated(windows, lambda some, v=part.v: _blind(some)[:, :v], part)
        for windows, part in zip((asked, few), parts, strict=True)
    ]
    fitted = fit_mixture({0: both}, ITEMS, names=MIXTURE_PARTS)
    alone = fit_mixture({0: both[:1]}, ITEMS, names=MIXTURE_PARTS)
    assert fitted.windows > alone.windows
    assert fitted.weights.items == ITEMS
    assert fitted.weights != alone.weights


def test_a_useful_part_is_worth_more_than_one_that_says_nothing() -> None:
    fitted, _ = _fitted(_log(repeat=0.0, follow=0.9))
    assert fitted.worth["last"] + fitted.worth["short"] + fitted.worth["wide"] > fitted.worth[MODEL]
    assert fitted.quality > 0.5


def test_windows_that_no_part_reaches_teach_nothing() -> None:
    log = _log(repeat=0.0, follow=0.0)
    parts = LogParts(count_rows(log, None, ITEMS), ITEMS + 1)
    windows = evaluation_windows(log, CONFIG)
    windows = windows.take(np.flatnonzero(windows.target == ITEMS)[:20])
    windows = windows.take(~(windows.items == ITEMS).any(axis=1))

    def score(some: Windows) -> Tensor:
        return -torch.arange(ITEMS + 1.0).expand(len(some), -1)

    fitted = fit_mixture({0: [Validated(windows, score, parts)]}, ITEMS, names=(MODEL,))
    nothing = fit_mixture({0: [Validated(windows.take(slice(0, 0)), score, parts)]}, ITEMS, names=(MODEL,))
    assert len(windows) > 5
    assert fitted.weights == fitted.regions[0] == nothing.weights
    assert fitted.weights.parts[MODEL].power == 1
    assert (fitted.windows, nothing.windows) == (0, 0)


def test_weights_are_the_same_again_whatever_the_number_of_threads() -> None:
    log, threads = _log(repeat=0.4, follow=0.3), torch.get_num_threads()
    first = _fitted(log)[0]
    torch.set_num_threads(threads % 2 + 1)
    try:
        again = _fitted(log)[0]
    finally:
        torch.set_num_threads(threads)
    assert {r: w.to_bytes() for r, w in first.regions.items()} == {
        r: w.to_bytes() for r, w in again.regions.items()
    }


def test_a_window_scores_to_the_bit_as_it_does_among_others() -> None:
    log = _log(repeat=0.4, follow=0.3)
    fitted, parts = _fitted(log)
    windows, mixture = _newest(log), Mixture(fitted.weights, parts)
    scores = torch.randn(len(windows), ITEMS + 1, generator=torch.Generator().manual_seed(1))
    together = mixture.joined(scores, windows)
    for row in (0, 7, len(windows) - 1):
        alone = mixture.joined(scores[row : row + 1], windows.take(slice(row, row + 1)))
        assert torch.equal(alone[0], together[row])


def test_items_that_came_later_are_not_recommended_and_change_no_bit() -> None:
    log = _log(repeat=0.4, follow=0.3)
    fitted, parts = _fitted(log)
    windows, mixture = _newest(log).take(slice(0, 20)), Mixture(fitted.weights, parts)
    scores = torch.randn(20, ITEMS + 1, generator=torch.Generator().manual_seed(1))
    grown = mixture.joined(torch.cat([scores, torch.full((20, 5), 9.0)], dim=1), windows)
    assert torch.equal(grown[:, : ITEMS + 1], mixture.joined(scores, windows))
    assert grown[:, ITEMS + 1 :].isneginf().all()


def test_a_history_of_nothing_known_gets_what_is_popular() -> None:
    log = _log(repeat=0.4, follow=0.3)
    fitted, parts = _fitted(log, ("model", "trend"))
    windows = last_windows([[]], 10)
    best = Mixture(fitted.weights, parts).joined(torch.randn(1, ITEMS + 1), windows).topk(5).indices[0].tolist()
    assert best == np.argsort(-parts.counts.trend, kind="stable")[:5].tolist()


def test_earlier_items_know_the_newest_age_and_how_often() -> None:
    windows = last_windows([[5, 7, 5, 9]], 2)
    earlier = earlier_items(windows)
    assert dict(zip(earlier.item.tolist(), earlier.age.tolist(), strict=True)) == {9: 0, 5: 1, 7: 2}
    assert earlier.times[earlier.item == 5].item() == pytest.approx(np.log(2))
    many = earlier_items(last_windows([list(range(1, 400))], 2))
    assert int(many.age.max()) == AGES - 1


def test_weights_read_back_as_they_were_written_and_damaged_ones_are_refused() -> None:
    weights = _fitted(_log(repeat=0.4, follow=0.3))[0].weights
    assert MixtureWeights.from_bytes(weights.to_bytes()) == weights
    for damaged in (b"{}", b"[]", weights.to_bytes().replace(b"mixture 1", b"mixture 9"), weights.to_bytes()[:-2]):
        with pytest.raises(DamagedArtifact):
            MixtureWeights.from_bytes(damaged)
