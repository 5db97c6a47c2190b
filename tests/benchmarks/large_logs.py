"""Logs of any size with the skew of real ones, written some rows at a time: ids are text, items Zipf, users log-normal.

python -m tests.benchmarks.large_logs 25000000 FILE.parquet
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

__all__ = ["LogShape", "batches", "write_log"]

_BATCH = 1_000_000
_START = 1_735_689_600  # 2025-01-01
_DAYS = 365
_DAY_S = 86_400


@dataclass(frozen=True)
class LogShape:
    """rows: in time order over a year.  mean: interactions per user.  spread: of the logarithm of a user's rate.
    exponent: of the popularity of items.
    """

    rows: int
    mean: int = 50
    spread: float = 1.2
    items: int = 100_000
    exponent: float = 1.0
    seed: int = 7


def batches(shape: LogShape) -> Iterator[pa.Table]:
    """The log, a million rows at a time.

    Args:
        shape: how large it is, and how skewed.

    Yields:
        user_id and item_id of text, timestamp in epoch seconds, rating of 1 to 5.
    """
    random = np.random.default_rng(shape.seed)
    users = max(1, shape.rows // shape.mean)
    rate = np.cumsum(random.lognormal(0.0, shape.spread, users))
    popularity = np.cumsum(random.permutation(np.arange(1, shape.items + 1) ** -shape.exponent))
    user_ids = pa.array([f"user-{number:08x}" for number in random.permutation(users)])
    item_ids = pa.array([f"sku-{number:07d}" for number in random.permutation(shape.items)])
    for first in range(0, shape.rows, _BATCH):
        size = min(_BATCH, shape.rows - first)
        share = (first + np.arange(size) + random.random(size)) / shape.rows
        yield pa.table(
            {
                "user_id": user_ids.take(pa.array(_drawn(rate, size, random))),
                "item_id": item_ids.take(pa.array(_drawn(popularity, size, random))),
                "timestamp": pa.array((_START + share * _DAYS * _DAY_S).astype(np.int64)),
                "rating": pa.array(random.integers(1, 6, size)),
            }
        )


def _drawn(cumulative: NDArray[np.float64], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    drawn = np.searchsorted(cumulative, random.random(size) * cumulative[-1], side="right")
    return np.minimum(drawn, len(cumulative) - 1)


def write_log(path: Path, shape: LogShape) -> None:
    """Write a log as one CSV or Parquet file, by its name's ending.

    Args:
        path: the file.
        shape: how large it is, and how skewed.
    """
    parts = batches(shape)
    first = next(parts)
    kind: Any = pa.csv.CSVWriter if path.suffix == ".csv" else pa.parquet.ParquetWriter
    options = {"write_options": pa.csv.WriteOptions(quoting_style="none")} if path.suffix == ".csv" else {}
    with kind(str(path), first.schema, **options) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


if __name__ == "__main__":
    write_log(Path(sys.argv[2]), LogShape(int(sys.argv[1])))
