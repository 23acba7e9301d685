"""The command lines of the pipeline's commands, apart from what they do: none of this waits for TensorFlow.

Each function makes a parser whose name is that of the module; `ulim` gives it its own.
"""

import argparse
import os
import textwrap
from pathlib import Path

BEAM_FLAG = "--beam_pipeline_args"

HOUSEHOLDS = 2469  # of Complete Journey
DEMO = Path(".demo/all")  # where the demo of all of them works
_BEAM_HELP = ("flags of Beam for every Beam step, as one shell-quoted string of --flag or --flag=value, for example "
              f'{BEAM_FLAG}="--direct_running_mode=multi_processing --direct_num_workers=2"; docs/scaling.md has more')


def train() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.run_local`."""
    parser = _parser("run_local", "Runs the pipeline on this machine: an event log in, a pushed servable out. Writes "
                     "DIR/serving/ulim/VERSION, DIR/report/index.html and DIR/pipeline.log. A second run reuses every "
                     "step whose inputs and settings have not changed.", r"""
  %(prog)s --events transactions.parquet --catalog products.parquet --workdir runs/shop \
      --columns user_id=household_id,item_id=product_id""")
    parser.add_argument("--events", required=True, metavar="FILE_OR_GLOB",
                        help="event log: CSV(.gz), Parquet or TFRecord with user_id, item_id, category_id, timestamp "
                             "(unix seconds), and group_id if events come in baskets")
    parser.add_argument("--catalog", metavar="FILE", help="item_id, category_id, title; derived from the log if absent")
    parser.add_argument("--users", metavar="FILE", help="user_id and the columns that features.user_profile names")
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="everything is written below it")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML of settings; the rest keep their defaults")
    _add_columns(parser, "the log")
    parser.add_argument("--schema", metavar="FILE|inferred",
                        help="of the examples, a text proto; the package's own by default, 'inferred' makes one from "
                             "the log itself, which says little about it")
    parser.add_argument("--train_steps", type=int, metavar="N", help="overrides training.steps")
    parser.add_argument("--seed", type=int, metavar="N", help="overrides training.seed and ingest.seed")
    add_beam(parser)
    _add_json(parser)
    return parser


def refresh_index() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.refresh_index`."""
    parser = _parser("refresh_index", "A new catalogue into service without training: the newest model of DIR with "
                     "another index, checked and pushed as the pipeline does.", """
  %(prog)s --workdir runs/shop --catalog new_products.csv --columns item_id=product_id""")
    _add_workdir(parser)
    parser.add_argument("--catalog", required=True, metavar="FILE_OR_GLOB",
                        help="everything on offer: item_id, category_id and the columns of features.item_content; "
                             "CSV(.gz), Parquet or TFRecord")
    _add_columns(parser, "the catalogue")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML of settings; ingest and serving count")
    _add_json(parser)
    return parser


def evaluate() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.evaluate_only`."""
    parser = _parser("evaluate_only", "What a servable is worth, without training and pushing: on the newest run's "
                     "held-out users, or on those of another log.", r"""
  %(prog)s --workdir runs/shop
  %(prog)s --workdir runs/shop --version 1767225600 --events december.parquet \
      --catalog products.parquet --columns user_id=household_id,item_id=product_id""")
    _add_workdir(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, metavar="N", help="pushed version to ask; the newest if absent")
    which.add_argument("--servable", type=Path, metavar="DIR", help="folder to ask, of one that was not pushed")
    parser.add_argument("--events", metavar="FILE_OR_GLOB",
                        help="event log, as of run_local, whose newest ingest.holdout_days are held out: days that the "
                             "servable was not trained on; if absent, the newest run's held-out users")
    parser.add_argument("--catalog", metavar="FILE", help="item catalogue of that log, as of run_local")
    parser.add_argument("--users", metavar="FILE", help="users file of that log, as of run_local")
    _add_columns(parser, "that log")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="YAML of settings; those of the workdir's newest run if absent")
    add_beam(parser)
    _add_json(parser)
    return parser


def rollback() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.rollback`."""
    parser = _parser("rollback", "An earlier version back into service, under a new number.", """
  %(prog)s --workdir runs/shop --list
  %(prog)s --workdir runs/shop --version 1767225600""")
    _add_workdir(parser)
    parser.add_argument("--version", type=int, metavar="N",
                        help="what to go back to; the version before the one that is served if absent")
    parser.add_argument("--list", action="store_true", help="print the versions and change nothing")
    return parser


def batch() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.batch_inference`."""
    parser = _parser("batch_inference", "Recommendations for all users of the newest run, into Parquet.", r"""
  %(prog)s --workdir runs/shop --output recommendations
  %(prog)s --workdir runs/shop --output recommendations --now 1767225600 \
      --beam_pipeline_args="--direct_running_mode=multi_processing --direct_num_workers=2" """)
    _add_workdir(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to make")
    parser.add_argument("--servable", type=Path, metavar="DIR",
                        help="version folder to ask; the newest in the workdir if absent")
    parser.add_argument("--now", type=int, default=0, metavar="SECONDS",
                        help="request time, unix seconds; 0: the time of each user's newest event")
    add_beam(parser)
    return parser


def skew() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.skew_check`."""
    parser = _parser("skew_check", "Do users ask for what the model was trained on? Compares request logs with the "
                     "newest run whose data passed the gate.", """
  %(prog)s --requests 'logs/asked-*.tfrecord' --workdir runs/shop""")
    parser.add_argument("--requests", required=True, metavar="FILE_OR_GLOB", help="TFRecord files of PredictionLog")
    _add_workdir(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML of settings; data_gate counts")
    return parser


def explain() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.explain`."""
    parser = _parser("explain", "Why a user is recommended what they are: one HTML page that needs no network.", """
  %(prog)s --workdir runs/shop --user 1425
  %(prog)s --workdir runs/shop --user 1425 --version 1767225600 --output 1425.html""")
    parser.add_argument("--user", required=True, metavar="ID", help="user_id in the log")
    parser.add_argument("--workdir", type=Path, metavar="DIR",
                        help=f"of a finished run of run_local; required, unless the demo left one in {DEMO}")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="the page to write, or to replace; DIR/explanations/ID.html if absent")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, metavar="N", help="pushed version to ask; the newest if absent")
    which.add_argument("--servable", type=Path, metavar="DIR", help="folder to ask, of one that was not pushed")
    return parser


def demo() -> argparse.ArgumentParser:
    """Of `tfx_pipeline.demo`."""
    parser = _parser("demo", "From a public log of 1.47 M purchases to served recommendations, by name. Everything is "
                     "kept in .demo/, so a second run reuses it.", """
  %(prog)s --users 200""")
    parser.add_argument("--users", type=_households, default=os.environ.get("DEMO_USERS") or None, metavar="N",
                        help="take this many households, for a quicker look; DEMO_USERS if absent, else all")
    return parser


def add_beam(parser: argparse.ArgumentParser) -> None:
    """Adds the flag whose value `beam_arguments.parse` reads."""
    parser.add_argument(BEAM_FLAG, default="", metavar="FLAGS", help=_BEAM_HELP)


def _parser(module: str, description: str, examples: str) -> argparse.ArgumentParser:
    several = examples.count("%(prog)s") > 1
    return argparse.ArgumentParser(f"python -m tfx_pipeline.{module}", description=textwrap.fill(description, 80),
                                   epilog=f"example{'s' * several}:{examples}",
                                   formatter_class=argparse.RawDescriptionHelpFormatter)


def _add_workdir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="of a finished run of run_local")


def _add_columns(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument("--columns", default="", metavar="STANDARD=NAME,...",
                        help=f"how {of} calls the standard columns")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true",
                        help="print one JSON object of what came of it, and all else to stderr")


def _households(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= HOUSEHOLDS:
        raise argparse.ArgumentTypeError(f"must be a whole number of households, 1 to {HOUSEHOLDS}, got {text!r}. "
                                         "Write for example: DEMO_USERS=200 make demo")
    return int(text)
