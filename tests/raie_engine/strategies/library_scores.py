"""Scores of item-kNN and EASE as RecTools 0.19 and its implicit (pm-implicit 0.7) compute them, for test_closed_form.py.

Neither is a dependency of this project. To write library_scores.json again, in an environment of its own:

    python -m venv rectools && rectools/bin/pip install rectools==0.19.0
    rectools/bin/python tests/raie_engine/strategies/library_scores.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

L2, NEIGHBOURS = 5.0, 5
USERS, ITEMS, ROWS = 25, 12, 120
NUMBERS = Path(__file__).with_suffix(".json")


def log() -> list[tuple[int, int]]:
    """(user, item), items from 1, in time order; each pair once, some items far more often than others."""
    generator = np.random.default_rng(7)
    users = generator.integers(0, USERS, ROWS).tolist()
    items = (1 + (ITEMS * generator.random(ROWS) ** 2).astype(int)).tolist()
    return list(dict.fromkeys(zip(users, items, strict=True)))


def main() -> None:
    """Write the log and, for each user, the score of each item from that user's whole history."""
    import pandas as pd
    from implicit.nearest_neighbours import CosineRecommender
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import EASEModel
    from scipy.sparse import csr_matrix

    rows = log()
    user, item = (np.array(column) for column in zip(*rows, strict=True))
    have = csr_matrix((np.ones(len(rows)), (user, item - 1)), shape=(USERS, ITEMS))
    # An item is a neighbour of its own there. With so many neighbours no tie decides who the last one is.
    cosine = CosineRecommender(K=NEIGHBOURS + 1, num_threads=1)
    cosine.fit(have, show_progress=False)
    similar = cosine.similarity.toarray()
    np.fill_diagonal(similar, 0)
    frame = pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1.0})
    frame[Columns.Datetime] = pd.Timestamp("2024-01-01")
    dataset = Dataset.construct(frame)
    ease = EASEModel(regularization=L2)
    ease.fit(dataset)
    order = dataset.item_id_map.convert_to_internal(np.arange(1, ITEMS + 1))
    numbers = {
        "rows": rows,
        "l2": L2,
        "neighbours": NEIGHBOURS,
        "item-knn": (have @ similar).tolist(),
        "ease": (have @ ease.weight[np.ix_(order, order)]).tolist(),
    }
    NUMBERS.write_text(json.dumps(numbers) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
