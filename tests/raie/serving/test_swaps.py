"""An alias that moves under load: nobody sees an error or a mixed answer, and memory stays bounded. Minutes long."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise

import pytest

from raie.serving.follower import Follower
from tests.raie.serving.conftest import Shop, stocked
from tests.raie.serving.load import Load, bodies, expected
from tests.raie.serving.processes import serving

pytestmark = pytest.mark.slow

INTERVAL_S, STILL_S, MOVING_S, EVERY_S = 1.0, 60.0, 120.0, 5.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return stocked(tmp_path_factory.mktemp("swaps"), users=600, dim=64)


def test_an_alias_that_moves_every_five_seconds_under_load_is_followed_without_an_error(shop: Shop) -> None:
    asked = bodies(shop)
    right = expected(shop, asked)
    with serving(shop.folder, "--interval", str(INTERVAL_S)) as running:
        running.wait_until_ready()
        with Load(running.url, asked, right) as load:
            time.sleep(2)
            begun = time.monotonic()
            time.sleep(STILL_S)
            still, moves = time.monotonic(), []
            for number in range(int(MOVING_S / EVERY_S)):
                target = shop.second if number % 2 == 0 else shop.first
                shop.promote(target)
                moves.append((time.monotonic(), target))
                time.sleep(EVERY_S)
            ended = time.monotonic()
        facts = running.get("/snapshot").json
        metrics = running.get("/metrics").body.decode()
    outcomes = load.outcomes()
    without, during = load.spread(begun, still), load.spread(still, ended)
    delays = [load.first_of(target, at) for at, target in moves]
    assert None not in delays
    rates = len(without.milliseconds) / STILL_S, len(during.milliseconds) / MOVING_S
    seconds = [delay for delay in delays if delay is not None]
    print(f"\nrequests {sum(outcomes.values()):,}: {dict(outcomes)}; swaps {facts['swaps']}")
    print(f"per second: without swaps {rates[0]:.0f}, with {rates[1]:.0f}")
    print(f"milliseconds, p50 / p99: without swaps {without}, with {during}")
    print(f"p99 with swaps to without: {during.p99 / without.p99:.2f}; most {during.milliseconds[-1]:.0f} ms")
    print(f"promotion to first new answer, s: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}")
    print([line for line in metrics.splitlines() if line.startswith("raie_snapshot_load_seconds")])
    assert set(outcomes) == {"200"}
    assert facts["swaps"] == len(moves)
    assert max(seconds) < INTERVAL_S * 1.2 + 5


def test_memory_is_bounded_over_fifty_swaps(shop: Shop) -> None:
    asked = bodies(shop)
    with serving(shop.folder, "--interval", "0.1") as running:
        running.wait_until_ready()
        sizes = []
        with running.client() as client:
            current = client.post(asked[0]).json["answers"][0]["snapshot"]
            for _ in range(52):
                current = shop.second if current == shop.first else shop.first
                shop.promote(current)
                running.wait_for(lambda wanted=current: client.ask("GET", "/ready").json["snapshot"] == wanted)  # type: ignore[misc]
                for body in asked:
                    assert client.post(body).json["answers"][0]["snapshot"] == current
                sizes.append(running.rss_mib())
        assert running.get("/snapshot").json["swaps"] >= 52
    print(
        f"\nRSS in MiB: after swap 2 {sizes[1]:.0f}, 10 {sizes[9]:.0f}, 52 {sizes[-1]:.0f}, most {max(sizes):.0f}"
    )
    assert max(sizes[10:]) < 1.1 * max(sizes[:10])


def test_a_second_server_of_the_same_model_does_not_ask_at_the_same_moments(shop: Shop) -> None:
    """Jitter: of many intervals none is the exact one, and none is off by more than a fifth."""
    source = shop.source()
    asked: list[float] = []
    plain = source.pointed_at
    source.pointed_at = lambda: (asked.append(time.monotonic()), plain())[1]  # type: ignore[method-assign]
    follower = Follower(source, interval_s=0.3)
    follower.start()
    time.sleep(6)
    follower.stop()
    gaps = [later - earlier for earlier, later in pairwise(asked[1:])]
    assert len({round(gap, 3) for gap in gaps}) > len(gaps) / 2
    assert min(gaps) > 0.3 * 0.8 - 0.01
