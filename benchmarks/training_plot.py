"""The figure of the training benchmark, drawn from its rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

_WIDTH, _HEIGHT = 12, 4.5
_FIELDS = {"users_per_s": "users a second", "step_ms": "ms a step", "peak_mib": "peak memory, MiB"}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """What a step costs over the length of histories, a line for each model and number of items.

    Args:
        rows: of the benchmark.
        path: of the PNG.
    """
    histories = sorted({row["history"] for row in rows})
    figure, axes = plt.subplots(1, len(_FIELDS), figsize=(_WIDTH, _HEIGHT), layout="constrained")
    for part, (field, title) in zip(axes, _FIELDS.items()):
        for model, items in dict.fromkeys((row["model"], row["items"]) for row in rows):
            line = sorted((row["history"], row[field]) for row in rows
                          if (row["model"], row["items"]) == (model, items))
            part.plot(*zip(*line), marker="o", label=f"{model}, V = {items:,}")
        part.set(xscale="log", yscale="log", xlabel="L, events", title=title)
        part.set_xticks(histories, [f"{history:,}" for history in histories])
        part.minorticks_off()
        part.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        part.yaxis.set_major_formatter("{x:,.0f}")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
