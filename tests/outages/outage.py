"""What every outage has in common: work goes wrong while it lasts, and ends as if nothing had been when done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from raie.registry import Author, Registry, digest_of
from raie.registry.maintenance.verify import gc, verify
from tests.outages.report import Ended, attempt
from tests.registry.building import MODEL, World

__all__ = ["ORPHAN", "SECRET", "WORKS", "Outage", "Work", "collect", "edit", "load", "one_clear_line"]

Work = Callable[[Registry], str]

SECRET = "hunter2-very-secret"
ORPHAN = b"nobody's"


def edit(registry: Registry) -> str:
    """One edit of a region, begun or gone on with; the id of its snapshot."""
    world = World(registry)
    begun = (
        next((open_edit for open_edit in registry.edits(MODEL) if open_edit.kind == "edit"), None) or world.begin()
    )
    base = registry.resolve(MODEL, str(begun.base)).content
    return world.commit(begun, world.changed(base, {1: "a"}), 1).id


def load(registry: Registry) -> str:
    """Everything that serving reads; the id of the snapshot."""
    head = registry.resolve(MODEL, "head")
    for digest in sorted(head.content.blobs()):
        registry.get(digest)
    return head.id


def collect(registry: Registry) -> str:
    """A gc of everything that nothing needs, and then whether what was nobody's is gone."""
    gc(registry, author=Author("ada"), grace_s=0, orphans=True)
    return "there" if registry.store.exists(digest_of(ORPHAN)) else "gone"


WORKS = (load, collect, edit)


@dataclass(frozen=True)
class Outage:
    """A registry and what goes wrong around it.

    fault: lasts while its block runs.  during, after: the registry as it is reached then and later.  direct: past the
    fault.  results: of each work where nothing goes wrong, so of `load` the first head and of `edit` the second.
    """

    fault: AbstractContextManager[object]
    during: Registry
    after: Registry
    direct: Registry
    results: Mapping[Work, str]

    def outcome(self, work: Work, expected: type[Exception] | None) -> tuple[Ended, str]:
        """Does the work during the fault and after it, and checks both, and what is there in between."""
        with self.fault:
            ended = attempt(lambda: work(self.during))
        if expected is None:
            assert ended.error is None, ended.error
            assert ended.result == self.results[work]
        else:
            assert type(ended.error) is expected, ended
            assert one_clear_line(ended.error)
        self.check_whole()
        again = attempt(lambda: work(self.after))
        assert again.error is None, again.error
        assert again.result == self.results[work]
        self.check_whole()
        return ended, "same result"

    def check_whole(self) -> None:
        """Nothing is lost and nothing half there: the head is the old one or the new one, and everything reads back."""
        head = self.direct.head(MODEL)
        assert head is not None
        assert head.id in (self.results[load], self.results[edit])
        open_edit = verify(self.direct)
        assert open_edit.ok, open_edit


def one_clear_line(error: Exception) -> bool:
    """Whether the error's text is one line of a bearable length that says what was expected and holds no secret."""
    words = str(error)
    return words.startswith("Expected ") and "\n" not in words and len(words) < 700 and SECRET not in words
