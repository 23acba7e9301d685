"""The figures of the quality benchmark, drawn from its JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from benchmarks.ulim import ABLATION

_WIDTH, _HEIGHT = 12, 5.5


def draw(figures: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]], directory: Path) -> list[Path]:
    """Writes recall.png, recall_novel.png, categories.png, ablations.png and minutes.png, those that have rows."""
    split = "test" if any(row["split"] == "test" for row in figures) else "validation"
    rows = [row for row in figures if row["split"] == split and row["slice"] == "all"]
    models = [row for row in rows if not row["model"].startswith(ABLATION)]
    validation = [row for row in figures if row["split"] == "validation" and row["slice"] == "all"]
    ablations = [row for row in validation if row["model"].startswith("ULIM")]
    drawn = [
        _bars([row for row in models if row["metric"] == "recall" and row["targets"] == "all"],
              f"Recall, {split} split", directory / "recall.png"),
        _bars([row for row in models if row["metric"] == "recall" and row["targets"] == "novel"],
              f"Recall of items new to the user, {split} split", directory / "recall_novel.png"),
        _bars([row for row in models if row["metric"] == "category_recall"],
              f"Share of a basket's categories among the first K, {split} split", directory / "categories.png"),
        _bars([row for row in ablations if row["metric"] == "recall" and row["targets"] == "all"],
              "Ablations: recall, validation split", directory / "ablations.png"),
        _minutes(runs, directory / "minutes.png"),
    ]
    return [path for path in drawn if path]


def _bars(rows: Sequence[dict[str, Any]], title: str, path: Path) -> Path | None:
    """A group of bars for each cut-off, a bar for each model, with its interval."""
    if not rows:
        return None
    models, cuts = list(dict.fromkeys(row["model"] for row in rows)), sorted({row["at"] for row in rows})
    figure, axes = plt.subplots(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    for number, model in enumerate(models):
        mine = {row["at"]: row for row in rows if row["model"] == model}
        at = [cut for cut in cuts if cut in mine]
        value = [mine[cut]["value"] for cut in at]
        error = [[mine[cut]["value"] - mine[cut]["low"] for cut in at],
                 [mine[cut]["high"] - mine[cut]["value"] for cut in at]]
        place = [cuts.index(cut) + (number + 0.5) / len(models) * 0.85 for cut in at]
        axes.bar(place, value, 0.85 / len(models), yerr=error, label=model, color=_colour(number),
                 error_kw={"linewidth": 0.7})
    axes.set_xticks([place + 0.42 for place in range(len(cuts))], [f"@{cut}" for cut in cuts])
    axes.set_title(f"{title} (mean over users, bootstrap 95 %)")
    _legend(figure)
    return _save(figure, path)


def _minutes(models: Sequence[dict[str, Any]], path: Path) -> Path | None:
    """Validation Recall@100 over training time, for models that are trained."""
    trained = [entry for entry in models if entry["split"] == "validation" and entry["validation_history"]
               and not entry["model"].startswith(ABLATION)]
    if not trained:
        return None
    figure, axes = plt.subplots(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    for number, entry in enumerate(trained):
        _, minutes, score = zip(*entry["validation_history"])
        axes.plot(minutes, score, marker="o", label=entry["model"], color=_colour(number))
    axes.set_xlabel("minutes of training")
    axes.set_title("Recall@100 on validation users while training")
    _legend(figure)
    return _save(figure, path)


def _colour(number: int) -> tuple[float, ...]:
    colours = plt.get_cmap("tab20")
    return colours(number % colours.N)


def _legend(figure: plt.Figure) -> None:
    """Beside the axes: with a peer of every kind it would cover what is drawn."""
    figure.legend(fontsize=8, loc="outside right upper")


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
