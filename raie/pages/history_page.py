"""The page of a model's whole history: a time line with a lane for each alias and region, to click, search and zoom."""

from __future__ import annotations

from typing import Any

from raie.pages.history_data import PublishedPages, history_data
from raie.pages.render import render
from raie.registry.edits.whole_history import WholeHistory

__all__ = ["history_page"]

# Each uses what those before it define.
_SCRIPTS = tuple(f"history_{name}.js" for name in ("data", "axis", "shapes", "view", "chart", "panel", "page"))


def history_page(history: WholeHistory, pages: PublishedPages | None = None, opened: str | None = None) -> str:
    """The page of a history.

    Args:
        history: All that happened to one model.
        pages: Where MLflow shows its snapshots; None for no links.
        opened: Id of the snapshot whose details are shown first; None for the whole history.

    Returns:
        One HTML document that loads nothing. The same history gives the same bytes.
    """
    data: dict[str, Any] = history_data(history, pages, opened)
    return render("history.html", styles=("history.css",), scripts=_SCRIPTS, model=history.model, data=data)
