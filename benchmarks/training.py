"""What a training step costs, by length of history and size of the pool: ULIM against SASRec.

    python -m benchmarks.training --json training.json              about ten minutes on 2 cores
    python -m benchmarks.training --json training.json --quick      without the longest histories

Histories are invented (`benchmarks/synthetic.py`). Each row is measured in a process of its own, since its peak memory
is a process's. What made the rows (machine, versions, seed) is written to NAME_runs.json beside NAME.json. Fields of a
row:

    model, history, items   ulim or sasrec, L, V
    samples_per_s           ULIM: target items; SASRec: positions, each of which predicts the next item
    users_per_s             ULIM: moments, each a user's history with the items of one basket; SASRec: sequences
    step_ms                 a training step, its wait for input included (median)
    ms_per_sample           step_ms over the samples of a step
    input_share             time to draw a batch with nothing else running, over step_ms: what input would cost if no
                            other core made batches during a step
    blocked_share           the part of step_ms the loop really waited for its batch
    peak_mib                resident memory of the process, TensorFlow itself included
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import concurrent.futures
import json
import multiprocessing
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from benchmarks import machine, synthetic, training_plot
from benchmarks.sasrec import SasRec, sequences
from benchmarks.step_timing import time_steps
from ulim_tf import data
from ulim_tf.config import HistoryConfig, UlimConfig
from ulim_tf.model import UlimModel

Row = dict[str, Any]

ITEMS, MANY_ITEMS = 60_000, 600_000
HISTORIES = (300, 1000, 3000)
SEED = 17

MOST_LONG_TO_SHORT = 1.3
MOST_INPUT_SHARE = 0.15
MOST_BY_ITEMS = 1.1

_USERS = 256
_SASREC_POSITIONS = 6000  # a batch's, so that attention at the longest history fits into memory
_ULIM_STEPS, _SASREC_STEPS = 40, 8
_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-recommenders", "numpy")


def measure(model: str, history: int, items: int, users: int = _USERS, steps: int | None = None) -> Row:
    """One row, measured in this process.

    Args:
        model: "ulim" or "sasrec".
        history: L.
        items: V.
        users: of the invented log.
        steps: that are timed; None for as many as give a steady median.
    """
    keras.utils.set_random_seed(SEED)
    log = synthetic.event_log(users, history, items, SEED)
    if model == "ulim":
        config = UlimConfig(history=HistoryConfig(long=history))
        trained = UlimModel(config, log.items, log.categories)
        trained.set_catalog(log.item_category)
        dataset = data.training_dataset_in_memory(log, config.history, config.training)
    else:
        trained = SasRec(log.items, history)
        dataset = sequences(log, history, max(_SASREC_POSITIONS // history, 1), SEED)
    trained.compile()
    timing = time_steps(trained, dataset, steps or (_ULIM_STEPS if model == "ulim" else _SASREC_STEPS))
    if model == "ulim":
        samples = np.mean([np.count_nonzero(batch[data.TARGET_REAL]) for batch in timing.batches])
        of_users = np.mean([len(batch[data.TARGET_REAL]) for batch in timing.batches])
    else:
        samples = np.mean([batch[:, 1:].shape.num_elements() for batch in timing.batches])
        of_users = np.mean([len(batch) for batch in timing.batches])
    return {"model": model, "history": history, "items": items,
            "samples_per_s": 1000 * samples / timing.step_ms, "users_per_s": 1000 * of_users / timing.step_ms,
            "step_ms": timing.step_ms, "ms_per_sample": timing.step_ms / samples,
            "input_share": timing.draw_ms / timing.step_ms, "blocked_share": timing.blocked_ms / timing.step_ms,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def goals(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """What is asked of ULIM's rows: the goal, the measured value, the most it may be."""
    ulim = [row for row in rows if row["model"] == "ulim"]
    items = min(row["items"] for row in ulim)
    by_history = {row["history"]: row for row in ulim if row["items"] == items}
    short, long = min(by_history), max(by_history)
    by_items = {row["items"]: row for row in ulim if row["history"] == short}
    many = max(by_items)
    return [
        (f"ms_per_sample at L = {long:,} over L = {short:,}",
         by_history[long]["ms_per_sample"] / by_history[short]["ms_per_sample"], MOST_LONG_TO_SHORT),
        (f"step_ms at V = {many:,} over V = {items:,}",
         by_items[many]["step_ms"] / by_items[items]["step_ms"], MOST_BY_ITEMS),
        *((f"input_share at L = {row['history']:,}, V = {row['items']:,}", row["input_share"], MOST_INPUT_SHARE)
          for row in ulim)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write the rows to")
    parser.add_argument("--quick", action="store_true", help=f"histories of up to {HISTORIES[-2]:,} events only")
    given = parser.parse_args(arguments)
    given.json.parent.mkdir(parents=True, exist_ok=True)  # now, and not when all is measured
    file, histories = given.json, HISTORIES[:-1] if given.quick else HISTORIES

    wanted = [*(("ulim", history, ITEMS) for history in histories), ("ulim", histories[0], MANY_ITEMS),
              *(("sasrec", history, ITEMS) for history in histories)]
    rows = []
    for what in wanted:
        rows.append(measure_alone(*what))
        print("  ".join(f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in rows[-1].items()), flush=True)
        file.write_text(json.dumps(rows, indent=1) + "\n")
    machine.write_run(file, machine.made_by(_PACKAGES, SEED))
    training_plot.draw(rows, file.with_suffix(".png"))
    print("\nA sample is a target item for ULIM and a position for SASRec, which trains on all of a sequence at once.")
    for goal, value, most in goals(rows):
        print(f"{'met   ' if value <= most else 'MISSED'}  {goal}: {value:.2f}, at most {most}")


def measure_alone(model: str, history: int, items: int, users: int = _USERS, steps: int | None = None) -> Row:
    """`measure` in a fresh process, for its peak memory."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, model, history, items, users, steps).result()


if __name__ == "__main__":
    main()
