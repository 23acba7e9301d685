"""The same grouping in Polars, a thread for each worker."""

from pathlib import Path

import polars as pl


def run(log: Path, output: Path, workers: int) -> None:
    """All rows sorted by user and time (stable), each user's grouped to lists, one gzipped Parquet file.

    One lazy query in Polars's streaming engine. No row is checked; there are no categories inside a history, no cut, no
    targets and no catalogue.
    """
    if log.suffix == ".csv":
        ids = ("user_id", "item_id", "category_id", "group_id")
        events = pl.scan_csv(log, schema_overrides=dict.fromkeys(ids, pl.String))
    else:
        events = pl.scan_parquet(log)
    (events
     .sort("user_id", "timestamp", maintain_order=True)
     .group_by("user_id", maintain_order=True).agg(pl.all())
     .sink_parquet(output / "users.parquet", compression="gzip"))
