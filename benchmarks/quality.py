"""Quality of retrieval, by one protocol for all models.

    python -m benchmarks.quality --dataset complete_journey [--split validation|test|both] [--models "ULIM,item-kNN"]
    python -m benchmarks.quality --peers

The log is cut at its last event - 28 days (test) or - 56 days (validation); each user's first basket after the cut is
to be found among all items. A trained model stops at its best Recall@100 on the validation split, and is trained anew
for as many steps on the test split, which is scored once; ablations have the validation split only, and no slices.

Figures are merged into quality.json, a list of rows, and what made them (date, command, machine, versions, seed, steps,
scores while training) into quality_runs.json: a model that was not asked for keeps its own. `--peers` adds the models
of other libraries, each of which gets a virtual environment (3.5 GB in all) and up to five minutes of training on one
core for each split.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import machine, plots, ulim
from benchmarks.baselines import counts, neural_candidate
from benchmarks.candidate import Candidate, CategoryPredictor
from benchmarks.peers.peer import Peer, peers
from tfx_pipeline.datasets import complete_journey
from ulim_tf import evaluate
from ulim_tf.event_log import EventLog, HeldOut, split_by_time

RESULTS = Path("benchmarks/results")
ROWS_FILE, RUNS_FILE = "quality.json", "quality_runs.json"
SPLITS = {"validation": 28, "test": 0}  # days that are left out at the end of the log
QUICK_USERS = 200

_DATA = Path(".bench/complete_journey")
_RANKED, _CATEGORIES = max(evaluate.AT), 100
_VERSIONS = ("tensorflow", "tf-keras", "tensorflow-recommenders", "scann", "numpy", "scipy")


def all_candidates() -> list[Candidate]:
    """Every model of the table, in its order."""
    return [counts.MostPopular(), counts.ItemKnn(), counts.OwnMostFrequent(), counts.OwnAndKnn(),
            *neural_candidate.candidates(), *peers(), *ulim.candidates()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark; see the module's text."""
    options = _options(arguments)
    models = all_candidates()
    wanted = [name.strip() for name in options.models.split(",")] if options.models else [
        one.name for one in models if (options.peers or not isinstance(one, Peer))
        and not (options.quick and one.name.startswith(ulim.ABLATION))]
    unknown = [name for name in wanted if name not in [one.name for one in models]]
    if unknown:
        sys.exit(f"error: --models must name models of the table, got {', '.join(unknown)}. "
                 f"They are: {', '.join(one.name for one in models)}")
    directory = Path(options.results)
    directory.mkdir(parents=True, exist_ok=True)
    events, catalog, _ = complete_journey.write(
        _DATA.with_name(f"{_DATA.name}-{QUICK_USERS}") if options.quick else _DATA,
        QUICK_USERS if options.quick else None)
    events, catalog = pd.read_parquet(events), pd.read_parquet(catalog)

    steps = _known_steps(directory)
    for split in SPLITS if options.split == "both" else [options.split]:
        log, held = split_by_time(events, catalog, skip_days=SPLITS[split], content=ulim.CONTENT)
        print(f"\n{split}: {len(held.user):,} users, {log.items:,} items, {log.categories} categories; left out: "
              f"{held.without_history} users without history, {held.without_target} with unseen items only, "
              f"{held.items_unseen} unseen target items", flush=True)
        for model in models:
            if model.name not in wanted or (split == "test" and model.name.startswith(ulim.ABLATION)):
                continue
            if split == "test" and model.name not in steps:
                sys.exit(f"error: {model.name} has no validation result in {directory / RUNS_FILE}, which says how "
                         "long to train it for the test split. Run --split both.")
            run, rows = _measure(model, split, log, held, steps.get(model.name), options)
            if split == "validation":
                steps[model.name] = run["steps"]
            _merge(directory, model.name, split, run, rows)
    plots.draw(machine.read(directory / ROWS_FILE), machine.read(directory / RUNS_FILE), directory)
    print(f"\n{directory / ROWS_FILE} and its plots are written")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["complete_journey"], default="complete_journey")
    parser.add_argument("--split", choices=[*SPLITS, "both"], default="both")
    parser.add_argument("--models", help="names, separated by commas; all of them but the peers by default")
    parser.add_argument("--peers", action="store_true", help="the models of other libraries as well")
    parser.add_argument("--quick", action="store_true",
                        help=f"{QUICK_USERS} households, short training, no ablations: does it run?")
    parser.add_argument("--results", default=str(RESULTS), help="folder of the figures and the plots")
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args(arguments)


def _measure(model: Candidate, split: str, log: EventLog, held: HeldOut, steps: int | None,
             options: argparse.Namespace) -> tuple[dict[str, Any], list[evaluate.Row]]:
    """How the model was made, and its figures."""
    start = time.monotonic()
    print(f"\n  {model.name}", flush=True)
    validating = split == "validation"
    trained = model.fit(log, validation=held if validating else None, steps=None if validating else steps,
                        seed=options.seed, quick=options.quick)
    count = min(_RANKED, log.items)
    rows = evaluate.evaluate(
        log, held, model.rank(log, held, count, exclude_seen=False), model.rank(log, held, count, exclude_seen=True),
        model.rank_categories(log, held, _CATEGORIES) if isinstance(model, CategoryPredictor) else None,
        model.rank_in_true_categories(log, held, count) if isinstance(model, ulim.ExactUlim) else None,
        seed=options.seed)
    if model.name.startswith(ulim.ABLATION):
        rows = [row for row in rows if row.slice == "all"]
    _print_rows(rows)
    print(f"    trained {trained.minutes:.1f} minutes to the best score, {time.monotonic() - start:.0f} s in all",
          flush=True)
    made = machine.made_by(_VERSIONS, options.seed)
    run = {
        "dataset": options.dataset, "date": made["made"], "command": made["command"],
        "versions": model.versions if isinstance(model, Peer) else made["versions"], "machine": made["machine"],
        "cpus": made["machine"]["cpus"], "seed": options.seed, "quick": options.quick, "steps": trained.steps,
        "train_minutes": round(trained.minutes, 2),
        "validation_history": [list(point) for point in trained.history],
        "users_without_history": held.without_history, "users_with_unseen_items_only": held.without_target,
        "unseen_target_items": held.items_unseen,
    }
    return run, rows


def _print_rows(rows: Sequence[evaluate.Row]) -> None:
    for targets in ("all", "novel"):
        for metric in ("recall", "ndcg", "oracle_category_recall", "category_recall"):
            found = [row for row in rows if (row.targets, row.slice, row.metric) == (targets, "all", metric)]
            if found:
                print(f"    {targets:<6}{metric:<23}" + "  ".join(
                    f"@{row.at} {row.value:.4f} [{row.low:.3f}, {row.high:.3f}]" for row in found), flush=True)


def _known_steps(directory: Path) -> dict[str, int]:
    return {run["model"]: run["steps"] for run in machine.read(directory / RUNS_FILE) if run["split"] == "validation"}


def _merge(directory: Path, model: str, split: str, run: dict[str, Any], rows: Sequence[evaluate.Row]) -> None:
    """Puts a model's figures in the place of its old ones."""
    key = {"model": model, "split": split}
    figures = [{**key, **row._asdict(), **{name: round(getattr(row, name), 5) for name in ("value", "low", "high")},
                "train_minutes": run["train_minutes"]} for row in rows]
    for name, new in ((RUNS_FILE, [{**key, **run}]), (ROWS_FILE, figures)):
        kept = [one for one in machine.read(directory / name) if {"model": one["model"], "split": one["split"]} != key]
        lines = ",\n".join(json.dumps(one) for one in [*kept, *new])
        written = directory / f"{name}.part"
        written.write_text(f"[\n{lines}\n]\n")
        written.rename(directory / name)  # the whole file at once


if __name__ == "__main__":
    main()
