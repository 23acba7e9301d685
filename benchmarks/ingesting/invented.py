"""An invented log of any length that has the lengths, baskets, times, items and categories of the real one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tfx_pipeline.datasets import complete_journey

_PARAMETERS = b"invented"
_ROWS_OF_GROUP = 2**18


def write(directory: Path, events: int, extension: str, seed: int) -> Path:
    """Writes the log, unless it is there with the same parameters.

    Users are households of Complete Journey (`tfx_pipeline/datasets/complete_journey.py`), drawn with replacement until
    there are enough events; each draw is a user of its own, with baskets of its own, so that a user's history is a real
    one. The last user is cut to the number of events. Rows ascend in time, as a log is written.

    Args:
        directory: where to; made if missing. It holds the real log too.
        events: rows.
        extension: ".parquet" (Snappy, row groups of 262,144) or ".csv".
        seed: of the draw.

    Returns:
        Its path.
    """
    path = directory / f"events-{events}-{seed}{extension}"
    if path.exists():
        return path
    real = pq.read_table(complete_journey.write(directory / "complete_journey").events)
    unfinished = path.with_name(f".{path.name}")
    table = _invent(real, events, seed)
    if extension == ".csv":
        pyarrow.csv.write_csv(table, unfinished)
    else:
        pq.write_table(table, unfinished, row_group_size=_ROWS_OF_GROUP)
    unfinished.replace(path)
    return path


def _invent(real: pa.Table, events: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    household, names = pd.factorize(real["user_id"].to_numpy())
    rows_of = np.argsort(household, kind="stable")
    length = np.bincount(household)
    start = np.cumsum(length) - length
    drawn = random.integers(len(names), size=events)  # enough: a household has an event at least
    drawn = drawn[:1 + np.searchsorted(np.cumsum(length[drawn]), events)]
    name = random.permutation(len(drawn))  # so that a household's copies are not side by side in the output

    user = np.repeat(np.arange(len(drawn)), length[drawn])
    within = np.arange(len(user)) - np.repeat(np.cumsum(length[drawn]) - length[drawn], length[drawn])
    row = rows_of[start[drawn][user] + within][:events]
    user = name[user[:events]]
    order = np.argsort(real["timestamp"].to_numpy()[row], kind="stable")
    row, user = row[order], user[order]
    basket, _ = pd.factorize(real["group_id"].to_numpy())
    kept = real.select(["item_id", "category_id", "timestamp"]).take(pa.array(row))
    return pa.table({
        "user_id": pa.array(user).cast(pa.string()),
        **{column: kept[column] for column in kept.column_names},
        "group_id": pa.array(basket[row] * len(drawn) + user).cast(pa.string()),
    })
