"""Clients that ask without a pause, each on its own connection, and what each of them saw."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raie.engine.answers import Query, Wanted, answers
from raie.serving.schema import answered
from raie.serving.sources import load
from tests.benchmarks.measuring import Spread
from tests.raie.serving.conftest import MODEL, Shop
from tests.raie.serving.processes import Client

Expected = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Seen:
    """One request: when it began (monotonic), seconds, what came of it, and the snapshot that answered."""

    at: float
    seconds: float
    outcome: str
    snapshot: str | None


def bodies(shop: Shop, count: int = 32) -> list[dict[str, Any]]:
    """Requests of one to three histories, some of unknown items."""
    items = load(shop.registry, shop.registry.resolve(MODEL, shop.first), None).view.catalogue.items
    generator = random.Random(7)
    return [
        {
            "histories": [
                {"items": generator.sample(items, generator.randint(1, 12)) + ["nobody has this"] * (number % 3)}
                for _ in range(1 + number % 3)
            ],
            "k": 10,
        }
        for number in range(count)
    ]


def expected(shop: Shop, asked: Sequence[Mapping[str, Any]]) -> Expected:
    """By snapshot what a plain call answers to each request."""
    by_snapshot = {}
    for snapshot in (shop.first, shop.second):
        loaded = load(shop.registry, shop.registry.resolve(MODEL, snapshot), None)
        made = [
            [
                answered(a)
                for a in answers(loaded, [Query(tuple(h["items"]), None, Wanted(10)) for h in body["histories"]])
            ]
            for body in asked
        ]
        by_snapshot[snapshot] = json.loads(json.dumps(made))
    return by_snapshot


@dataclass
class Load:
    """Clients that ask until they are stopped."""

    url: str
    asked: Sequence[Mapping[str, Any]]
    expected: Expected
    clients: int = 4
    seen: list[Seen] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, seed: int) -> None:
        generator, client = random.Random(seed), Client(self.url)
        while not self._stopped.is_set():
            number, begun = generator.randrange(len(self.asked)), time.monotonic()
            try:
                reply = client.post(self.asked[number])
                snapshot, outcome = None, str(reply.status)
                if reply.status == 200:
                    made = reply.json["answers"]
                    snapshot = made[0]["snapshot"]
                    outcome = "200" if self.expected[snapshot][number] == made else "200, another answer"
            except (OSError, http.client.HTTPException) as error:
                snapshot, outcome, client = None, type(error).__name__, Client(self.url)
                time.sleep(0.01)
            self.seen.append(Seen(begun, time.monotonic() - begun, outcome, snapshot))

    def outcomes(self, since: float = 0.0) -> Counter[str]:
        """How often each outcome was seen from a time on."""
        return Counter(seen.outcome for seen in list(self.seen) if seen.at >= since)

    def spread(self, since: float, until: float) -> Spread:
        """Milliseconds of the requests that began between two times."""
        chosen = [seen.seconds * 1000 for seen in list(self.seen) if since <= seen.at < until]
        return Spread(tuple(sorted(chosen)))

    def first_of(self, snapshot: str, since: float) -> float | None:
        """Seconds from a time to the end of the first request that a snapshot answered."""
        ends = [s.at + s.seconds - since for s in list(self.seen) if s.at >= since and s.snapshot == snapshot]
        return min(ends, default=None)
