"""The whole way in one command, `make demo`: a public event log -> TFX pipeline -> server -> recommendations by name.

Everything is kept in .demo/, so a second run reuses it. DEMO_USERS=n, or --users n, takes n households, for a quicker
look.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import dataclasses
import random
import statistics
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import tensorflow as tf

from serving.client import Client, History
from serving.histories import read_user
from serving.server.process import NotServed, serve
from tfx_pipeline import flags, run_local
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets import complete_journey
from ulim_tf import command_line, features
from ulim_tf.config import FeaturesConfig
from ulim_tf.evaluate import recall_at

ROOT = Path(".demo")
SHOWN_HOUSEHOLDS, SHOWN_ITEMS, SHOWN_CATEGORIES = 3, 12, 5
TIMED_REQUESTS, BATCH = 100, 64
RECALL_AT = 100
_START_SECONDS = 120


class HeldOut(NamedTuple):
    """A household up to the cut, and what it bought in its first basket after it."""

    user_id: str
    history: History
    target: list[str]

    def last_basket(self) -> list[str]:
        """What it bought at its newest moment."""
        newest = max(self.history.timestamps)
        return [item for item, time in zip(self.history.item_ids, self.history.timestamps) if time == newest]


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.demo().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """Runs the demo and prints what it does; returns its exit code: 0 done, 1 a step failed, 2 there are too few
    households, 3 a gate refused the servable."""
    try:
        return _demo(args.users)
    except (run_local.PipelineFailed, NotServed) as error:
        return command_line.fail(error, 1, False)


def _demo(users: int | None) -> int:
    directory = ROOT / (f"users-{users}" if users else "all")
    print(f"Complete Journey: {users or 'all'} households -> {directory}", flush=True)
    events, catalog, _ = complete_journey.write(directory / "data", users)

    start = time.monotonic()
    run = run_local.run(events=str(events), catalog=str(catalog), columns={}, workdir=directory,
                        config=_config(users))
    minutes = (time.monotonic() - start) / 60
    if not run.servable:
        print(f"not pushed: {'; '.join(run.refusals)}", file=sys.stderr)
        return 3
    names = pd.read_parquet(catalog).set_index("item_id")
    with serve(run.servable.parent, _START_SECONDS, told=_print_command) as target, Client(target) as client:
        held_out = list(_read_held_out(run.example_files(features.SPLIT_EVAL), run.features_config))
        if not held_out:
            return command_line.fail("none of these households bought anything in the held-out days. Take more of "
                                     "them, for example: DEMO_USERS=200 make demo", 2, False)
        for household in random.Random(0).sample(held_out, min(SHOWN_HOUSEHOLDS, len(held_out))):
            _show(household, client, names)
        recall = _recall(client, held_out)
        latency = statistics.median(_latencies(client, held_out[:TIMED_REQUESTS]))
    print(f"demo: ok, pipeline {minutes:.1f} minutes, median request {latency * 1000:.1f} ms, "
          f"Recall@{RECALL_AT} {recall:.4f} on {len(held_out):,} users, servable {run.servable}")
    return 0


def _config(users: int | None) -> PipelineConfig:
    """The defaults, with what describes the products, and fewer steps for fewer users."""
    config = PipelineConfig()
    steps = max(100, config.training.steps * min(users or flags.HOUSEHOLDS, flags.HOUSEHOLDS) // flags.HOUSEHOLDS)
    return dataclasses.replace(config, training=dataclasses.replace(config.training, steps=steps),
                               features=FeaturesConfig(item_content=("product_type", "manufacturer_id")))


def _print_command(command: Sequence[str]) -> None:
    print("\n$", " ".join(["python", *command[1:]]), flush=True)


def _read_held_out(files: Sequence[str], config: FeaturesConfig) -> Iterator[HeldOut]:
    for example in tf.data.TFRecordDataset(list(files), "GZIP").as_numpy_iterator():
        user_id, history = read_user(example, config)
        target = tf.train.Example.FromString(example).features.feature[features.TARGET_ITEM].bytes_list.value
        yield HeldOut(user_id, history, [item.decode() for item in target])


def _show(household: HeldOut, client: Client, names: pd.DataFrame) -> None:
    recommended = client.recommend(household.history)
    bought, first = set(household.target), {item.item_id for item in recommended[:RECALL_AT]}

    def name(item: str) -> str:
        return str(names.title.get(item) or item)

    def day(timestamp: int) -> str:
        return time.strftime("%d %B %Y", time.gmtime(timestamp))

    def listed(items: Sequence[str], mark: Collection[str] = ()) -> str:
        lines = [f"\n    {'*' if item in mark else ' '} {name(item)}" for item in items[:SHOWN_ITEMS]]
        return "".join(lines) + (f"\n      and {len(items) - SHOWN_ITEMS} more" if len(items) > SHOWN_ITEMS else "")

    print(f"\n--- household {household.user_id}: {len(household.history.item_ids)} purchases, "
          f"asked on {day(household.history.now)}")
    print(f"  bought last, on {day(max(household.history.timestamps))}:{listed(household.last_basket())}")
    print(f"  {'next categories':<42} probability  of it copied from the history")
    for prediction in client.predict_categories(household.history)[:SHOWN_CATEGORIES]:
        print(f"      {prediction.category_id:<38} {prediction.probability:>10.1%} {prediction.copy_share:>8.0%}")
    print(f"  {'recommended (* it is in the next basket)':<52} {'category':<28} channel")
    for item in recommended[:SHOWN_ITEMS]:
        print(f"    {'*' if item.item_id in bought else ' '} {name(item.item_id):<48.48} {item.category_id:<28.28} "
              f"{item.channel}")
    print(f"  its next basket, {len(bought & first)} of {len(bought)} among the first {RECALL_AT} recommended (*):"
          f"{listed(household.target, first)}", flush=True)


def _recall(client: Client, held_out: Sequence[HeldOut]) -> float:
    ranked = []
    for start in range(0, len(held_out), BATCH):
        batch = held_out[start:start + BATCH]
        ranked += [[item.item_id for item in answer]
                   for answer in client.recommend_batch([household.history for household in batch])]
    return recall_at(ranked, [household.target for household in held_out], RECALL_AT)


def _latencies(client: Client, held_out: Sequence[HeldOut]) -> Iterator[float]:
    for household in held_out:
        start = time.perf_counter()
        client.recommend(household.history)
        yield time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
