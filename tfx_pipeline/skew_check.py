"""Do users ask for what the model was trained on? `python -m tfx_pipeline.skew_check --requests GLOB --workdir DIR`.

Reads the histories in the request logs of clients (`serving/client/request_log.py`) or of TF Serving, and compares
their items, categories, lengths and ages with those of the newest run in DIR that passed its data gate, by that gate's
rules (`served_checks`). Prints every check.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import glob
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from serving.client import History
from serving.client.request_log import read_histories
from tfx_pipeline import flags, run_summary
from tfx_pipeline.catalog_split import item_categories
from tfx_pipeline.components.data_gate import report, rules
from tfx_pipeline.components.data_gate.executor import GATE
from tfx_pipeline.components.data_gate.report import STOP, Check, Profile
from tfx_pipeline.config import DataGateConfig, PipelineConfig
from tfx_pipeline.run_local import METADATA_FILE, metadata_connection
from ulim_tf import command_line, features
from ulim_tf import config as settings
from ulim_tf.sequences import DAY_SECONDS

_LEAST_HISTORIES = 100  # fewer differ from the training users by chance


class Served(NamedTuple):
    """What was asked about, counted; the arguments of `rules.served_checks`."""

    profile: Profile
    age_events: Mapping[int, int]
    unknown_events: int


def check(*, requests: str, workdir: Path, config: DataGateConfig = DataGateConfig()) -> list[Check]:
    """Compares logged requests with a run.

    Args:
        requests: file or glob of request logs.
        workdir: of a run of `run_local`.
        config: the bounds.

    Raises:
        ValueError: an argument is wrong, a log is damaged, or too few histories are in it.
    """
    files = sorted(glob.glob(requests))
    if not files:
        raise ValueError(f"--requests must name at least one file, got {requests!r}. A client writes them with "
                         "Client(.., request_log=RequestLog(..)).")
    run = _passed_run(workdir.absolute())
    gate = next(step.outputs[GATE] for step in run.steps if GATE in step.outputs)
    train = report.read_profile(str(gate), features.SPLIT_TRAIN)
    served = count(read_histories(files), item_categories(run.example_files(features.SPLIT_CATALOG)))
    histories = sum(served.profile.history_users.values())
    if histories < _LEAST_HISTORIES:
        raise ValueError(f"--requests must hold at least {_LEAST_HISTORIES} histories with events, for fewer differ by "
                         f"chance; {requests!r} has {histories}. Log for longer, or with a higher rate.")
    return rules.served_checks(*served, train, config)


def count(histories: Iterable[History], category_of: Mapping[bytes, bytes]) -> Served:
    """What some histories are made of; those without an event are left out.

    Args:
        histories: as they were sent.
        category_of: item id -> category id, of the items that training knew.
    """
    categories: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    days: Counter[int] = Counter()
    ages: Counter[int] = Counter()
    unknown = 0
    for history in histories:
        if not history.item_ids:
            continue
        lengths[len(history.item_ids)] += 1
        today = (history.now or max(history.timestamps)) // DAY_SECONDS
        for item, timestamp in zip(history.item_ids, history.timestamps):
            day = timestamp // DAY_SECONDS
            days[day] += 1
            ages[max(0, today - day)] += 1
            category = category_of.get(item.encode())
            if category is None:
                unknown += 1
            else:
                categories[category.decode()] += 1
    return Served(Profile(categories, lengths, days), ages, unknown)


def _passed_run(workdir: Path) -> run_summary.Run:
    remedy = "Give the --workdir of a finished `python -m tfx_pipeline.run_local`."
    if not (workdir / METADATA_FILE).is_file():
        raise ValueError(f"--workdir must be one that run_local worked in, but {workdir} has no {METADATA_FILE}. "
                         f"{remedy}")
    run = run_summary.newest(metadata_connection(workdir), "DataGate")
    if run is None:
        raise ValueError(f"--workdir must be one whose data passed the gate, but no DataGate of {workdir} ever "
                         f"finished. {remedy}")
    return run


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.skew().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 within the bounds, 2 an argument is wrong, 3 beyond a bound."""
    try:
        config = settings.load(PipelineConfig, args.config) if args.config else PipelineConfig()
        checks = check(requests=args.requests, workdir=args.workdir, config=config.data_gate)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for one in checks:
        print(f"{one.verdict:<4}  {one.rule}: {one.told} (data_gate.{one.setting} = {one.bound:g})")
    broken = [one.rule for one in checks if one.verdict == STOP]
    if broken:
        print(f"beyond the bound: {'; '.join(broken)}. Users ask for what training did not see: look at what clients "
              "send, or train anew; where the difference is meant, raise the setting named.", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
