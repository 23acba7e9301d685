"""The figure of the serving benchmark, drawn from its rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

_WIDTH, _HEIGHT = 13, 5


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Time by history, what it goes to, and time by load, of the pool with most items.

    Args:
        rows: of the benchmark.
        path: of the PNG.
    """
    items = max(row["items"] for row in rows)
    rows = [row for row in rows if row["items"] == items and row["batch"] == 1]
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    figure, (by_history, by_part, by_load) = plt.subplots(1, 3, figsize=(_WIDTH, _HEIGHT), layout="constrained")
    for number, scenario in enumerate(scenarios):
        mine = [row for row in rows if row["scenario"] == scenario]
        for served, style in (("graph", "-"), ("grpc", "--")):
            line = sorted((row["history"], row["p50_ms"], row["p99_ms"]) for row in mine
                          if row["path"] == served and row["clients"] == 1)
            if not line:
                continue
            history, middle, late = zip(*line)
            by_history.plot(history, middle, style, marker="o", color=f"C{number}", label=f"{scenario}, {served}")
            by_history.scatter(history, late, marker="_", color=f"C{number}")
        loads = [row for row in mine if row["path"] == "grpc"]
        most = max((row["history"] for row in loads if row["clients"] > 1), default=None)
        loads = sorted((row["clients"], row["requests_per_s"], row["p99_ms"]) for row in loads
                       if row["history"] == most)
        _, rate, late = np.array(loads).reshape(-1, 3).T
        by_load.plot(rate, late, marker="o", color=f"C{number}")
        for clients, *place in loads:
            by_load.annotate(f" {clients}", place, fontsize=8)
    bars = {f"{row['scenario']}\nL = {row['history']:,}": row["parts_ms"] for row in rows if "parts_ms" in row}
    left = [0.0] * len(bars)
    for part in next(iter(bars.values()), ()):
        width = [parts[part] for parts in bars.values()]
        by_part.barh(list(bars), width, left=left, label=part)
        left = [start + more for start, more in zip(left, width)]
    by_part.invert_yaxis()
    by_part.set(xlabel="ms", title="where the graph's p50 goes")
    by_part.legend(fontsize=8)
    by_history.set(xscale="log", yscale="log", xlabel="L, events", ylabel="ms (line: p50, dash: p99)",
                   title="one user a request")
    by_history.legend(fontsize=8)
    by_load.set(yscale="log", xlabel="requests a second", ylabel="p99, ms", title="by clients at once, gRPC")
    figure.suptitle(f"V = {items:,}")
    figure.savefig(path, dpi=110)
    plt.close(figure)
