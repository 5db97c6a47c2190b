"""A drifting interaction log whose truth is known: which user's windows call for Update, Expand or Add, and when.

Items belong to topics. A topic has core items, which its users take nearly always, and fringe items, which few
take at first. Within core and within fringe a Markov chain says what tends to follow what. Time goes setup,
edit 1, edit 2, test (or a test slice after each edit). In an edit's slice some topics are active, and some users

- go on, with core items whose chain has changed a little: Update;
- broaden, and mostly take the fringe of their own topic: Expand;
- turn to a new topic, of which the setup holds no more than glimpses: Add.

The edits touch different topics unless the configuration says otherwise, so that the first can be rolled back under
the second.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raie.engine.data.synthetic_truth import ADD, EXPAND, UPDATE, Truth
from raie.engine.errors import ConfigError

__all__ = [
    "Drift",
    "SyntheticConfig",
    "SyntheticLog",
    "drifting_log",
    "one_topic_in_five",
    "write_csv",
]

_START = 1_704_067_200  # 2024-01-01T00:00:00Z
_DAY = 86_400
_SUCCESSORS = np.array([0.6, 0.3, 0.1])  # how often the first, second and third successor follows


@dataclass(frozen=True)
class Drift:
    """What happens in the slice of one edit.  Topics count from 0; those in no field are silent.

    stable: every user goes on.  expand, add: `share` of the topic's users broaden or turn to the new topic, the
    others go on.
    """

    stable: tuple[int, ...] = ()
    expand: tuple[int, ...] = ()
    add: tuple[int, ...] = ()
    share: float = 0.5


@dataclass(frozen=True)
class SyntheticConfig:
    """Size and strength of the drift.

    core_items, fringe_items: per topic.  new_items: of the new topic, of which unseen_items no setup holds at all.
    setup_length, edit_length, test_length: fewest and most interactions of a user in such a slice.
    chain: chance that the next item follows the chain; else popularity chooses it.
    changed: share of core items whose successors differ after the setup.
    noise: chance that an interaction is with any item at all.
    glimpses, glimpse_length: chance at each step of the setup that a user takes a few items of the new topic, and
        how many: enough for the backbone to tell them from others, too few to be a region.
    wanderers, wander: share of each topic's users whose setup goes to its fringe, and the chance of a fringe item
        at each step. A little under 1 - q they give the setup far windows, between R_k and R_max of the radius
        gate.
    broadened: chance of a fringe item at each step of a user who broadens.
    test_after_each: a test slice after each edit instead of one at the end; a later edit takes its rows in too.
    """

    seed: int = 42
    users: int = 1_800
    topics: int = 5
    core_items: int = 30
    fringe_items: int = 20
    new_items: int = 30
    unseen_items: int = 6
    setup_length: tuple[int, int] = (16, 31)
    edit_length: tuple[int, int] = (16, 21)
    test_length: tuple[int, int] = (11, 16)
    chain: float = 0.6
    changed: float = 0.5
    noise: float = 0.005
    glimpses: float = 0.003
    glimpse_length: int = 3
    wanderers: float = 0.09
    wander: float = 0.85
    broadened: float = 0.85
    first: Drift = Drift(stable=(1,), expand=(0,), add=(4,))
    second: Drift = Drift(stable=(3,), expand=(2,))
    setup_days: int = 120
    edit_days: int = 30
    test_days: int = 30
    test_after_each: bool = False

    def __post_init__(self) -> None:
        for drift in (self.first, self.second):
            named = drift.stable + drift.expand + drift.add
            if len(set(named)) < len(named) or not all(0 <= topic < self.topics for topic in named):
                raise ConfigError(
                    f"a drift must name topics 0 to {self.topics - 1} once each, found {sorted(named)}"
                )
        for name in ("setup_length", "edit_length", "test_length"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ConfigError(f"{name} must be (fewest, most) with 1 <= fewest <= most, found {(low, high)}")

    @property
    def slices(self) -> tuple[tuple[str, int, int], ...]:
        """Name, days and edit number (0 for none yet) of every slice in time order."""
        setup, last = ("setup", self.setup_days, 0), ("test_2", self.test_days, 2)
        edits = [("edit_1", self.edit_days, 1), ("edit_2", self.edit_days, 2)]
        if self.test_after_each:
            edits.insert(1, ("test_1", self.test_days, 1))
        return (setup, *edits, last)


def one_topic_in_five(seed: int = 42) -> SyntheticConfig:
    """The log in which every topic is active in the first edit and exactly one of five drifts, by broadening.

    The others go on exactly as before: their items follow each other as they did.

    Args:
        seed: of everything random in it.

    Returns:
        The configuration.
    """
    everywhere_stable = Drift(stable=(0, 1, 2, 3, 4))
    return SyntheticConfig(
        seed=seed, changed=0.0, first=Drift(stable=(1, 2, 3, 4), expand=(0,), share=1.0), second=everywhere_stable
    )


@dataclass(frozen=True, eq=False)
class SyntheticLog:
    """Text ids [n] and epoch seconds UTC [n], ascending, and the truth about them."""

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    timestamps: NDArray[np.int64]
    truth: Truth


def write_csv(log: SyntheticLog, path: str | Path) -> None:
    """Write the log as CSV with the columns user_id, item_id and timestamp.

    Args:
        log: synthetic.
        path: the file.
    """
    Path(path).write_bytes(csv_bytes(log))


def csv_bytes(log: SyntheticLog) -> bytes:
    """The log as the UTF-8 text of a CSV file with the columns user_id, item_id and timestamp.

    Args:
        log: synthetic.

    Returns:
        UTF-8 text.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("user_id", "item_id", "timestamp"))
    writer.writerows(zip(log.users.tolist(), log.items.tolist(), log.timestamps.tolist(), strict=True))
    return file.getvalue().encode()


def drifting_log(config: SyntheticConfig = SyntheticConfig()) -> SyntheticLog:
    """The log of a configuration; the same configuration gives the same log.

    Args:
        config: the options.

    Returns:
        The log and its truth.
    """
    rng = np.random.default_rng(config.seed)
    world = _world(config, rng)
    shuffled = rng.permutation(config.users)
    topic = shuffled % config.topics
    # The same share of every topic: regions would else get radii from very different shares of far windows.
    wanders = shuffled < config.wanderers * config.users
    action = np.stack([_actions(topic, drift, rng) for drift in (config.first, config.second)], axis=1)
    ends = _START + _DAY * np.array(list(accumulate(days for _, days, _ in config.slices)), dtype=np.int64)
    parts = list(_slices(config, world, topic, wanders, action, ends, rng))
    user, item, time = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    names = np.array([f"u{row:05d}" for row in range(config.users)])
    truth = Truth(tuple(name for name, _, _ in config.slices), ends, tuple(names.tolist()), topic, action)
    return SyntheticLog(names[user[order]], world.names[item[order]], time[order], truth)


@dataclass(frozen=True, eq=False)
class _World:
    """The items, of all topics and styles.  A style is core (2 t) or fringe (2 t + 1) of topic t; the last is new.

    start: [styles].  style: [items].  Two of each of the following, in the setup and after it:
    sizes: [styles], each style's items are [start, start + size).  successors: [items, 3], in the same style.
    names: external ids [items].
    """

    start: NDArray[np.int64]
    style: NDArray[np.int64]
    sizes: tuple[NDArray[np.int64], NDArray[np.int64]]
    successors: tuple[NDArray[np.int64], NDArray[np.int64]]
    names: NDArray[np.str_]


def _world(config: SyntheticConfig, rng: np.random.Generator) -> _World:
    size = np.array([config.core_items, config.fringe_items] * config.topics + [config.new_items])
    start = np.cumsum(size) - size
    style = np.repeat(np.arange(len(size)), size)
    seen = size - np.append(np.zeros(2 * config.topics, dtype=np.int64), config.unseen_items)
    before = _random_successors(start[style], seen[style], rng)
    changed = rng.random(len(style)) < config.changed
    after = np.where(changed[:, None], _random_successors(start[style], size[style], rng), before)
    kinds = [f"t{number // 2}-{('core', 'fringe')[number % 2]}" for number in range(2 * config.topics)] + ["new"]
    names = [f"{kinds[s]}-{i - start[s]:02d}" for i, s in enumerate(style)]
    return _World(start, style, (seen, size), (before, after), np.array(names))


def _random_successors(
    start: NDArray[np.int64], size: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Three successors of every item inside its own style: [items, 3]."""
    return start[:, None] + (rng.random((len(start), 3)) * size[:, None]).astype(np.int64)


def _actions(topic: NDArray[np.int64], drift: Drift, rng: np.random.Generator) -> NDArray[np.int8]:
    """What begins for each user in one edit, int8 [users]."""
    drifts = rng.random(len(topic)) < drift.share
    action = np.full(len(topic), UPDATE, dtype=np.int8)
    action[drifts & np.isin(topic, drift.expand)] = EXPAND
    action[drifts & np.isin(topic, drift.add)] = ADD
    return action


def _slices(
    config: SyntheticConfig,
    world: _World,
    topic: NDArray[np.int64],
    wanders: NDArray[np.bool_],
    action: NDArray[np.int8],
    ends: NDArray[np.int64],
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """User, item and time of each slice's interactions."""
    everyone = np.arange(config.users)
    lengths = {"setup": config.setup_length, "edit": config.edit_length, "test": config.test_length}
    for (name, days, edit), end in zip(config.slices, ends, strict=True):
        active = everyone
        if name.startswith("edit"):
            drift = (config.first, config.second)[edit - 1]
            active = everyone[np.isin(topic, drift.stable + drift.expand + drift.add)]
        begun = np.zeros(len(everyone), dtype=np.int8)
        for column in range(edit):
            begun = np.where(action[:, column] > 0, action[:, column], begun)
        fringe = np.where(begun == EXPAND, config.broadened, config.wander * wanders * (edit == 0))
        home = np.where(begun == ADD, len(world.start) - 1, 2 * topic)
        low, high = lengths[name.partition("_")[0]]
        length = rng.integers(low, high + 1, len(active))
        items = _walk(config, world, home[active], fringe[active], int(edit > 0), high, rng)  # [active, high]
        times = _times(len(active), high, int(end) - days * _DAY, int(end), rng)  # [active, high]
        taken = np.arange(high) < length[:, None]
        yield np.repeat(active, length), items[taken], times[taken]


def _walk(
    config: SyntheticConfig,
    world: _World,
    home: NDArray[np.int64],
    fringe: NDArray[np.float64],
    era: int,
    steps: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Every user's items: [users, steps].  home: core style of each.  era: 0 in the setup, 1 after it."""
    items = np.empty((len(home), steps), dtype=np.int64)
    current = np.full(len(home), -1)
    left = np.zeros(len(home), dtype=np.int64)  # steps left of a glimpse
    for step in range(steps):
        begins = rng.random(len(home)) < config.glimpses * (era == 0)
        left = np.where(begins, config.glimpse_length, np.maximum(left - 1, 0))
        style = np.where(left > 0, len(world.start) - 1, home + (rng.random(len(home)) < fringe))
        drawn = _popular(world.start[style], world.sizes[era][style], rng)
        follows = (rng.random(len(home)) < config.chain) & (current >= 0) & (world.style[current] == style)
        successor = world.successors[era][current, rng.choice(3, len(home), p=_SUCCESSORS)]
        current = np.where(follows, successor, drawn)
        anything = rng.random(len(home)) < config.noise
        items[:, step] = np.where(anything, rng.integers(0, world.start[-1], len(home)), current)
    return items


def _popular(start: NDArray[np.int64], size: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One item of each given style, earlier items more often: the squared uniform is a Zipf-like popularity."""
    return start + (rng.random(len(start)) ** 2 * size).astype(np.int64)


def _times(users: int, steps: int, start: int, end: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ascending seconds in (start, end], different for each step of a user: [users, steps]."""
    drawn = np.sort(rng.integers(start + 1, end - steps + 1, (users, steps)), axis=1)
    return drawn + np.arange(steps)
