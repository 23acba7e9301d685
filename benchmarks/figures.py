"""What the benchmarks say in short: one figure a line, from the rows that they wrote."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Figure(NamedTuple):
    """A line of the table that ends a run.

    Attributes:
        benchmark: its name.
        what: is measured.
        value: measured.
        committed: the same in the committed results; None where they lack it.
    """

    benchmark: str
    what: str
    value: float
    committed: float | None


def rows(file: Path) -> list[Row]:
    """The rows of a benchmark's JSON, whether it is a list or has one; none if there is no file."""
    if not file.exists():
        return []
    read = json.loads(file.read_text())
    return read if isinstance(read, list) else read["rows"]


def compare(benchmark: str, measured: Sequence[Row], committed: Sequence[Row]) -> list[Figure]:
    """What a benchmark measured, beside what is committed.

    Args:
        benchmark: its name.
        measured: its rows.
        committed: those that are committed.
    """
    figures = FIGURES[benchmark]
    known = dict(figures(committed))
    return [Figure(benchmark, what, value, known.get(what)) for what, value in figures(measured)]


def table(figures: Sequence[Figure]) -> str:
    """The table; a ratio is of the measured figure to the committed one."""
    lines = [("benchmark", "what", "figure", "committed", "ratio")]
    for one in figures:
        known = one.committed is not None
        lines.append((one.benchmark, one.what, _number(one.value), _number(one.committed) if known else "-",
                      f"{one.value / one.committed:.2f}" if known and one.committed else "-"))
    width = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(f"{benchmark:<{width[0]}}  {what:<{width[1]}}  {value:>{width[2]}}  {committed:>{width[3]}}  "
                     f"{ratio:>{width[4]}}".rstrip() for benchmark, what, value, committed, ratio in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.4f}"


def _quality(rows: Sequence[Row]) -> Iterator[tuple[str, float]]:
    of = {(row["model"], row["at"]): row["value"] for row in rows
          if (row["split"], row["targets"], row["slice"], row["metric"]) == ("test", "all", "all", "recall")}
    for model in ("own most frequent", "two-tower", "ULIM"):
        for at in (20, 100, 500):
            if (model, at) in of:
                yield f"Recall@{at}, {model}", of[model, at]


def _index(rows: Sequence[Row]) -> Iterator[tuple[str, float]]:
    methods = ("ULIM ScaNN exact", "ULIM ScaNN quantised", "ULIM blocked", "FAISS IVFFlat", "FAISS IVF-SQ8")
    for row in rows:
        of = (row["queries"], row["items"], row["categories"])
        if of == ("popular", 200_000, 1_000) and row["method"] in methods and row["table"] in ("search 10", "one user"):
            yield f"us a user, {row['method']}, {row['table']}", row["us_per_user"]


def _ingest(rows: Sequence[Row]) -> Iterator[tuple[str, float]]:
    for row in rows:
        if (row["format"], row["events"]) == ("parquet", 1_000_000):
            yield f"events/s, {row['method']}, {row['workers']} at work", row["events_per_s"]


def _training(rows: Sequence[Row]) -> Iterator[tuple[str, float]]:
    for row in rows:
        yield f"users/s, {row['model']}, L = {row['history']:,}, V = {row['items']:,}", row["users_per_s"]


def _serving(rows: Sequence[Row]) -> Iterator[tuple[str, float]]:
    for row in rows:
        of = f"{row['scenario']}, V = {row['items']:,}, L = {row['history']:,}"
        if row["batch"] == 1 and row["clients"] == 1:
            yield f"p50 ms, {row['path']}, {of}", row["p50_ms"]
        elif row["clients"] == 16:
            yield f"requests/s of 16 clients, {of}", row["requests_per_s"]


FIGURES: Mapping[str, Callable[[Sequence[Row]], Iterator[tuple[str, float]]]] = {
    "quality": _quality, "index": _index, "ingest": _ingest, "training": _training, "serving": _serving}
