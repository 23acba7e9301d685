"""`ulim bench`: passes on to a benchmark of the checkout, which is not part of an installed package."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from ulim_tf import command_line

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = {
    "quality": "Recall, NDCG and more of every model and baseline, by one protocol",
    "index": "the indices beside FAISS, hnswlib and others",
    "ingest": "the Beam ingest beside pandas and Polars",
    "training": "what a step costs, by length of history",
    "serving": "latency and throughput of the served models",
}


def parser() -> argparse.ArgumentParser:
    """Of the command line; what follows the name is the benchmark's."""
    listed = "\n".join(f"  {name:<10} {line}" for name, line in BENCHMARKS.items())
    made = argparse.ArgumentParser(description=f"Runs a benchmark:\n{listed}",
                                   epilog="example:\n  %(prog)s index --items 100000 --categories 1000",
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("name", nargs="?", choices=list(BENCHMARKS), help="lists them if absent")
    made.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="of the benchmark: NAME --help")
    return made


def command(args: argparse.Namespace) -> int:
    """Runs the benchmark; returns its exit code: 0 done, 1 there is no checkout or something is not installed."""
    if args.name is None:
        print("\n".join(f"{name:<10} {line}" for name, line in BENCHMARKS.items()))
        return 0
    if not (ROOT / "benchmarks").is_dir():
        return command_line.fail(f"benchmarks are in a checkout of the repository only, got {ROOT}. Clone it, and run "
                                 f"there: make setup, then .venv/bin/python -m benchmarks.{args.name}", 1, False)
    sys.path.insert(0, str(ROOT))
    sys.argv = [f"ulim bench {args.name}", *args.arguments]
    try:
        benchmark = import_module(f"benchmarks.{args.name}")
    except ModuleNotFoundError as error:
        return command_line.fail(f"ulim bench {args.name} needs {error.name}: pip install 'ulim-tf[bench]'", 1, False)
    benchmark.main(args.arguments)
    return 0
