"""Any sequence of edits, rollbacks, promotions, cherry-picks, expiries and collections, against dictionaries.

What the dictionaries say is in `dictionaries.py`. The registry holds another model already, which nothing here may touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from raie.registry import (
    AliasConflict,
    Author,
    CommitConflict,
    Content,
    EditStateError,
    NotFound,
    RollbackConflict,
    Snapshot,
    SnapshotExpired,
)
from raie.registry.db.engine import reading
from raie.registry.db.queries import version_row
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from raie.registry.states import EditKind
from tests.registry.building import MODEL, World, change
from tests.registry.crash.grounds import Ground
from tests.registry.crash.promises import incomplete_uploads
from tests.registry.db.dictionaries import (
    Change,
    State,
    content_of,
    differing,
    entry_of,
    replayed,
    undone,
    with_keys,
)

T = TypeVar("T")

OURS = "books"
FEW = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a failure that is shown at once; the long test makes it short
    suppress_health_check=list(HealthCheck),
)
MANY = settings(
    FEW, derandomize=False, phases=[Phase.generate, Phase.shrink], max_examples=200, stateful_step_count=50
)

RETIRE, NEW = 4, 5
WHAT = st.sets(st.integers(0, NEW), max_size=3)
EDITS = st.lists(WHAT, min_size=1, max_size=3)
"""What an edit does: RETIRE a region, make a NEW one, or update the region of that place in the order."""


class Machine(RuleBasedStateMachine):
    """A registry and the dictionaries that it must agree with after every step."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.exit = ExitStack()
        self.site, self.client = self.exit.enter_context(ground.copy())
        self.other = self.client.registry.head(MODEL)
        self.states: dict[str, State] = {}
        self.line: list[str] = []
        self.moves: dict[str, list[str]] = {}
        self.expired: set[str] = set()
        self.running: dict[int, Change] = {}
        self.landed: dict[int, Change] = {}
        self.versions: dict[int, list[str]] = {}
        self.named: dict[str, str] = {}

    @property
    def world(self) -> World:
        return World(self.client.registry, OURS)

    @property
    def head(self) -> str:
        return self.line[-1]

    @property
    def now(self) -> State:
        return self.states[self.head]

    def served(self, alias: str) -> str:
        return self.moves[alias][-1] if alias in self.moves else ""

    # Steps

    @initialize()
    def set_up(self) -> None:
        state: State = {0: "0 v0", 1: "1 v0", 2: "2 v0", "mark": "mark 0"}
        self._put(["weights", "config", "space", "items", *state.values()])
        edit = self.client.registry.begin(OURS, "setup", seed=0, author=Author("ada"))
        changes = [change(region, "setup") for region in range(3)]
        self._land(
            self.client.registry.commit(OURS, edit.number, content_of(state), changes), Change("", {}, state)
        )

    @rule(what=WHAT, marks=st.booleans(), meanwhile=EDITS)
    def edit(self, what: set[int], marks: bool, meanwhile: list[set[int]]) -> None:
        """While others land first: theirs are kept, or they are in its way."""
        mine = self._begin(what, marks)
        self._edit(meanwhile)
        self._commit(mine)

    @rule(what=WHAT, marks=st.booleans())
    def begin(self, what: set[int], marks: bool) -> None:
        self._begin(what, marks)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 9))
    def commit(self, which: int) -> None:
        self._commit(nth(sorted(self.running), which))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 9))
    def abort(self, which: int) -> None:
        number = nth(sorted(self.running), which)
        self.client.registry.abort(OURS, number)
        del self.running[number]

    @rule(which=st.integers(0, 99))
    def roll_back_to(self, which: int) -> None:
        target = nth(list(self.states), which)
        with self._refused_if(target in self.expired):
            snapshot = self.client.registry.rollback_to(OURS, target, Author("ada"))
            self._rolled_back(snapshot, self.states[target])

    @rule(which=st.integers(0, 99))
    def roll_back_what_is_no_edit_of_the_head(self, which: int) -> None:
        """The setup, a cherry-pick, or an edit that runs or was aborted."""
        numbers = range(1, self.client.registry.edits(OURS)[0].number + 1)
        with pytest.raises(EditStateError):
            self.client.registry.rollback_edit(
                OURS, nth(sorted({*numbers} - {*self.landed} | {1}), which), Author("ada")
            )

    @rule(edits=EDITS, which=st.integers(0, 9))
    def roll_back_an_edit(self, edits: list[set[int]], which: int) -> None:
        number = self._one_of_the_last(edits, which)
        made = self.landed[number]
        expected = made.base if self.now == made.result else undone(made.base, made.result, self.now)
        if expected is None:
            with pytest.raises(RollbackConflict):
                self.client.registry.rollback_edit(OURS, number, Author("ada"))
        else:
            with self._refused_if(made.before in self.expired and expected != self.now):
                self._rolled_back(self.client.registry.rollback_edit(OURS, number, Author("ada")), expected)

    @rule(edits=EDITS, which=st.integers(0, 9))
    def roll_back_an_edit_and_what_is_in_its_way(self, edits: list[set[int]], which: int) -> None:
        number = self._one_of_the_last(edits, which)
        made, before, order = self.landed[number], self.now, list(self.landed)
        since = [self.landed[later] for later in order[order.index(number) :]]
        try:
            snapshot = self.client.registry.rollback_edit(OURS, number, Author("ada"), cascade=True)
        except RollbackConflict:
            assert undone(made.base, made.result, before) is None
            return
        except SnapshotExpired:
            assert self.expired & {edit.before for edit in since}
            return
        # Which edits had to go is for the registry to say; that the change is gone, and what nobody touched is not.
        self._rolled_back(snapshot, self._state_of(snapshot.content))
        touched = differing(made.base, made.result) - {"mark"}
        assert with_keys({}, self.now, touched) == with_keys({}, made.base, touched)
        assert differing(before, self.now) <= set().union(*(differing(edit.base, edit.result) for edit in since))

    @rule(which=st.integers(0, 99), alias=st.sampled_from(["production", "canary"]), believes=st.booleans())
    def promote(self, which: int, alias: str, believes: bool) -> None:
        """With what is true of the alias as the belief, or with what is not."""
        target, served = nth(list(self.states), which), self.served(alias)
        belief = served if believes else (self.head if not served else "")
        with self._refused_if(target in self.expired):
            if believes:
                self.client.registry.promote(OURS, target, alias, Author("ada"), expected=belief)
                self._move(alias, target)
            else:
                with pytest.raises(AliasConflict):
                    self.client.registry.promote(OURS, target, alias, Author("ada"), expected=belief)

    @rule(alias=st.sampled_from(["production", "canary"]), which=st.integers(0, 9), version=st.integers(0, 9))
    def cherry_pick(self, alias: str, which: int, version: int) -> None:
        region = nth(sorted(self.versions), which)
        number = 1 + version % len(self.versions[region])
        if alias not in self.moves:
            with pytest.raises(NotFound):
                self.client.registry.promote_region(OURS, region, number, alias, Author("ada"))
            return
        served, text = self.states[self.served(alias)], self.versions[region][number - 1]
        try:
            snapshot, move = self.client.registry.promote_region(OURS, region, number, alias, Author("ada"))
        except SnapshotExpired:
            assert text not in {self.states[kept].get(region) for kept in self.states.keys() - self.expired}
            return
        expected = dict(served) | {region: text}
        assert snapshot.content == content_of(expected)
        assert move.target == snapshot.id
        assert (snapshot.id == self.served(alias)) == (expected == served)
        self.states[snapshot.id] = expected
        self._move(alias, snapshot.id)

    @rule(last=st.integers(1, 4))
    def expire(self, last: int) -> None:
        report = expire(self.client.registry, OURS, Rule(keep_last=last), author=Author("ada"))
        kept = {*self.line[-last:], *(edit.before for edit in self.running.values())}
        kept |= {target for targets in self.moves.values() for target in targets[-last:]}
        expired = self.states.keys() - kept - self.expired
        assert {verdict.snapshot for verdict in report.expired} == expired
        self.expired |= expired

    @rule()
    def collect(self) -> None:
        """After somebody uploaded what nobody names."""
        self._put_new("junk")
        gc(self.client.registry, author=Author("ada"), grace_s=0.0)
        assert verify(self.client.registry).ok

    @rule()
    def open_again(self) -> None:
        """As another process, which takes over the edits that run."""
        self.client = self.site.open()
        for number in self.running:
            self.client.registry.resume(OURS, number, force=True)

    # What is always so

    @invariant()
    def the_registry_says_what_the_dictionaries_say(self) -> None:
        registry = self.client.registry
        if not self.line:
            return
        head = registry.head(OURS)
        assert head is not None
        assert (head.id, head.content) == (self.head, content_of(self.now))
        assert {alias.name: alias.snapshot for alias in registry.aliases(OURS)} == {
            alias: targets[-1] for alias, targets in self.moves.items()
        }
        states = {edit.number: edit.state for edit in registry.edits(OURS) if edit.kind != EditKind.CHERRY_PICK}
        closed = dict.fromkeys(self.landed, "committed")
        aborted = dict.fromkeys(states.keys() - closed.keys() - self.running.keys(), "aborted")
        assert states == aborted | closed | dict.fromkeys(self.running, "running")

    def teardown(self) -> None:
        with self.exit:
            registry = self.client.registry
            for snapshot, state in self.states.items():
                with self._refused_if(snapshot in self.expired):
                    assert registry.resolve(OURS, snapshot).content == content_of(state)
            with reading(registry.engine) as connection:
                for region, texts in self.versions.items():
                    for number, text in enumerate(texts, 1):
                        assert version_row(connection, OURS, region, number).entry == entry_of(text)
            assert registry.head(MODEL) == self.other
            for number in self.running:
                registry.abort(OURS, number)
            assert incomplete_uploads(self.client) == []
            assert verify(registry).ok

    # How a step is done

    def _refused_if(self, expired: bool) -> AbstractContextManager[object]:
        return pytest.raises(SnapshotExpired) if expired else nullcontext()

    def _move(self, alias: str, target: str) -> None:
        if target != self.served(alias):
            self.moves.setdefault(alias, []).append(target)
        self.expired.discard(target)

    def _one_of_the_last(self, edits: list[set[int]], which: int) -> int:
        """Makes edits, and names one of those that landed last."""
        self._edit(edits)
        return nth(list(self.landed)[:0:-1], which)

    def _edit(self, edits: list[set[int]]) -> None:
        for what in edits:
            self._commit(self._begin(what, marks=False))

    def _put_new(self, about: object) -> str:
        """Uploads a text that was never there before, and returns it."""
        text = f"{about} v{len(self.named)}"
        self._put([text])
        return text

    def _put(self, texts: Iterable[str]) -> None:
        kinds = {f"{kind}{text}": text for text in texts for kind in ("", "state ", "lora ")}
        self.named |= dict(zip(self.world.blobs(*kinds), kinds.values(), strict=True))

    def _begin(self, what: set[int], marks: bool) -> int:
        """Begins an edit of some regions: each an old one with a new text, one that goes, or a new one."""
        base, edit = self.now, self.client.registry.begin(OURS, "edit", seed=1, author=Author("ada"))
        regions = sorted(set(base) - {"mark"})
        actions = {
            nth(regions, choice): "retire" if choice == RETIRE else "update" for choice in what - {NEW} if regions
        }
        if NEW in what:
            actions[self.client.registry.next_region_id(OURS)] = "add"
        changed = {region: self._put_new(region) for region, action in actions.items() if action != "retire"}
        if marks:
            changed["mark"] = self._put_new("mark")
        result = {key: text for key, text in base.items() if key not in actions} | changed
        self.running[edit.number] = Change(self.head, base, result, actions)
        return edit.number

    def _commit(self, number: int) -> None:
        mine, registry = self.running.pop(number), self.client.registry
        expected = replayed(mine.base, mine.result, self.now)
        # An id that another edit took is not free again when that edit was rolled back.
        taken = any(action == "add" and region in self.versions for region, action in mine.actions.items())
        changes = [change(region, action) for region, action in mine.actions.items()]
        step = partial(registry.commit, OURS, number, content_of(mine.result), changes)
        if expected is None or taken:
            with pytest.raises(CommitConflict):
                step()
            registry.abort(OURS, number)
        else:
            self._land(step(), Change(self.head, self.now, expected))

    def _rolled_back(self, snapshot: Snapshot, expected: State) -> None:
        if expected == self.now:
            assert snapshot.id == self.head
        else:
            self._land(snapshot, Change(self.head, self.now, expected))

    def _land(self, snapshot: Snapshot, made: Change) -> None:
        assert snapshot.content == content_of(made.result)
        edits = self.client.registry.edits(OURS)
        (number,) = (
            edit.number for edit in edits if edit.result == snapshot.id and edit.kind != EditKind.CHERRY_PICK
        )
        self.landed[number] = made
        self.line.append(snapshot.id)
        self.states[snapshot.id] = made.result
        self.expired.discard(snapshot.id)
        for key in differing(made.base, made.result) & made.result.keys() - {"mark"}:
            known = self.versions.setdefault(key, [])
            if made.result[key] not in known:
                known.append(made.result[key])

    def _state_of(self, content: Content) -> State:
        regions = {region: self.named[entry["lora"]] for region, entry in content.regions.items()}
        return regions | {"mark": self.named[content.shared["watermark"][0]]}


def nth(values: Sequence[T], which: int) -> T:
    return values[which % len(values)]


def run_machine(ground: Ground, how: settings) -> None:
    run_state_machine_as_test(partial(Machine, ground), settings=how)


@pytest.mark.parametrize("ground", ["sqlite-folder"], indirect=True)
def test_the_registry_does_what_a_dictionary_does(ground: Ground) -> None:
    run_machine(ground, settings(FEW, max_examples=4, stateful_step_count=20))


@pytest.mark.parametrize("ground", ["postgresql-folder"], indirect=True)
def test_the_registry_does_what_a_dictionary_does_on_postgresql(ground: Ground) -> None:
    run_machine(ground, settings(FEW, max_examples=2, stateful_step_count=15))


@pytest.mark.slow
@pytest.mark.parametrize("ground", ["sqlite-folder", "postgresql-folder"], indirect=True)
def test_the_registry_does_what_a_dictionary_does_for_long(ground: Ground) -> None:
    run_machine(ground, MANY)
