"""The figure of the index benchmark, drawn from its rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from benchmarks.ann.catalog import DRAWS

_WIDTH, _HEIGHT = 12, 5.5
_LABELS = {"items": "V, items", "categories": "C, categories"}


def draw(rows: Sequence[dict[str, Any]], table: str, path: Path) -> None:
    """Time of a user over V at the C that has most V, and over C at the V that has most C; swept methods only.

    Args:
        rows: of the benchmark.
        table: whose rows are drawn.
        path: of the PNG.
    """
    rows = [row for row in rows if row["table"] == table]
    sizes = {(row["items"], row["categories"]) for row in rows}
    swept = [method for method in dict.fromkeys(row["method"] for row in rows)
             if {(row["items"], row["categories"]) for row in rows if row["method"] == method} == sizes]
    figure, axes = plt.subplots(1, 2, figsize=(_WIDTH, _HEIGHT), layout="constrained", sharey=True)
    for part, along, fixed in zip(axes, _LABELS, reversed(_LABELS)):
        held = max({row[fixed] for row in rows}, key=lambda value: len({row[along] for row in rows
                                                                        if row[fixed] == value}))
        for number, method in enumerate(swept):
            for queries, style in zip(DRAWS, ("--", "-")):
                line = sorted((row[along], row["us_per_user"]) for row in rows if row["method"] == method
                              and row["queries"] == queries and row[fixed] == held)
                part.plot(*zip(*line), style, marker="o", color=f"C{number}", label=f"{method}, {queries}")
        part.set(xscale="log", yscale="log", xlabel=_LABELS[along], title=f"{_LABELS[fixed]}: {held:,}")
    axes[0].set_ylabel("µs a user")
    figure.suptitle(f"Table \"{table}\": time by size of the pool and number of categories")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    figure.savefig(path, dpi=110)
    plt.close(figure)
