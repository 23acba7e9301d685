"""The figure of the ingest benchmark, drawn from its rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

_WIDTH, _HEIGHT = 12, 4.5
_FIELDS = {"events_per_s": "events a second", "peak_mib": "peak memory of the largest process, MiB",
           "bytes_per_event": "bytes an event, written"}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A group of bars for each log, a bar for each method and number of workers.

    Args:
        rows: of the benchmark.
        path: of the PNG.
    """
    logs = sorted({(row["events"], row["format"]) for row in rows})
    methods = list(dict.fromkeys((row["method"], row["workers"]) for row in rows))
    figure, axes = plt.subplots(1, len(_FIELDS), figsize=(_WIDTH, _HEIGHT), layout="constrained")
    for part, (field, title) in zip(axes, _FIELDS.items()):
        for number, (method, workers) in enumerate(methods):
            mine = {(row["events"], row["format"]): row[field] for row in rows
                    if (row["method"], row["workers"]) == (method, workers)}
            part.bar([logs.index(log) + (number + 0.5) / len(methods) * 0.85 for log in mine], list(mine.values()),
                     0.85 / len(methods), label=f"{method}, {workers} worker{'s' * (workers > 1)}", color=f"C{number}")
        part.set_xticks([place + 0.42 for place in range(len(logs))],
                        [f"{events // 1_000_000} M,\n{extension}" for events, extension in logs])
        part.set_title(title)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=len(methods))
    figure.savefig(path, dpi=110)
    plt.close(figure)
