"""What reading a log and grouping it by user costs: the pipeline's ingest beside pandas and Polars.

    python -m benchmarks.ingest --json FILE                                     all rows: some 35 minutes on 2 cores
    python -m benchmarks.ingest --json FILE --quick                             those of the shortest Parquet log
    python -m benchmarks.ingest --json FILE --events 1000000 --method pandas    some; others in the file stay

The log is invented (`benchmarks/ingesting/invented.py`): real histories of Complete Journey, drawn with replacement.
What a method does with it is told by its `run` in `benchmarks/ingesting/in_*.py`: the ingest does a good deal more than
the others, which only sort and group. Each repetition is a process of its own on as many cores as workers. Fields of a
row:

    method, format, events  "ingest", "pandas" or "Polars"; of the log; its rows
    workers                 the ingest: processes of Beam's local runner, 1 being no other process than the command's;
                            Polars: threads
    repetitions             of which seconds are medians
    load                    the machine's load average of a minute before the first: above 1, others were at work
    events_per_s            events over the seconds of the work, without starting Python and imports; the start of
                            Beam's workers is part of it
    cpu_seconds             that all processes used in this time, median; what a busy machine changes least
    peak_mib                most resident memory of the largest process, Python and libraries included
    processes_mib           the same of every process, the command's first; of the repetition that had the largest
    bytes_per_event         of all that was written, compressed
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import machine
from benchmarks.ingesting import invented, plot, watched

Row = dict[str, Any]

DIRECTORY = Path(".bench/ingest")
METHODS = {"ingest": "in_beam", "pandas": "in_pandas", "Polars": "in_polars"}
SEED = 17

LEAST_EVENTS_PER_S = 150_000
LEAST_OF_TWO_WORKERS = 1.7
MOST_BYTES_PER_EVENT = 40

_SHELL_MIB = 10  # Beam starts its workers by shells, which are smaller
_PACKAGES = ("apache-beam", "pyarrow", "numpy", "pandas", "polars", "tfx-bsl", "psutil")


class Case(NamedTuple):
    """A row that is wanted."""

    method: str
    format: str
    events: int
    workers: int


CASES = [Case(method, extension, events, workers)
         for extension, events in (("parquet", 1_000_000), ("csv", 1_000_000), ("parquet", 10_000_000))
         for method, workers in (("ingest", 1), ("ingest", 2), ("pandas", 1), ("Polars", 1), ("Polars", 2))]
# So long that what starts Beam, and what starts two workers, does not count.
CASES += [Case("ingest", extension, events, workers) for extension, events, workers in (
    ("csv", 10_000_000, 1), ("parquet", 100_000_000, 1), ("parquet", 100_000_000, 2))]


def measure(case: Case, repetitions: int, directory: Path = DIRECTORY) -> Row:
    """One row.

    Args:
        case: what is measured.
        repetitions: at least 1.
        directory: where the logs are kept for later calls, and where methods write.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = invented.write(directory, case.events, f".{case.format}", SEED)
    told, peaks, written, load = [], [], 0, os.getloadavg()[0]
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory(dir=directory) as output:
            printed, peak_mib = watched.run([sys.executable, "-m", "benchmarks.ingesting.timed", METHODS[case.method],
                                             str(log), output, str(case.workers)])
            told.append(json.loads(printed))
            peaks.append([peak for peak in peak_mib if peak > _SHELL_MIB])
            written = sum(path.stat().st_size for path in Path(output).rglob("*") if path.is_file())
    largest = max(peaks, key=max)
    return case._asdict() | {
        "repetitions": repetitions, "load": load,
        "events_per_s": case.events / statistics.median(one["seconds"] for one in told),
        "cpu_seconds": statistics.median(one["cpu_seconds"] for one in told),
        "peak_mib": max(largest), "processes_mib": largest, "bytes_per_event": written / case.events}


def goals(rows: Sequence[Row]) -> list[tuple[str, float, str, float]]:
    """What is asked of the ingest's rows: the goal, the measured value, "at least" or "at most", the bound."""
    of = {Case(*(row[name] for name in Case._fields)): row for row in rows if row["method"] == "ingest"}
    judged = []
    for case, row in of.items():
        at = f"{case.events:,} events of {case.format}"
        if case.workers == 1:
            judged += [(f"events_per_s of one worker, {at}", row["events_per_s"], "at least", LEAST_EVENTS_PER_S),
                       (f"bytes_per_event, {at}", row["bytes_per_event"], "at most", MOST_BYTES_PER_EVENT)]
        elif alone := of.get(case._replace(workers=1)):
            judged.append((f"{case.workers} workers' events_per_s over one's, {at}",
                           row["events_per_s"] / alone["events_per_s"], "at least", LEAST_OF_TWO_WORKERS))
    return judged


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write the rows to, and a .png beside it")
    parser.add_argument("--method", choices=list(METHODS), help="only its rows")
    parser.add_argument("--format", choices=sorted({case.format for case in CASES}), help="only rows of such a log")
    parser.add_argument("--events", type=int, choices=sorted({case.events for case in CASES}),
                        help="only rows of so long a log")
    parser.add_argument("--workers", type=int, choices=sorted({case.workers for case in CASES}),
                        help="only rows of so many workers")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--quick", action="store_true",
                        help=f"as --format {CASES[0].format} --events {CASES[0].events}")
    given = parser.parse_args(arguments)
    given.json.parent.mkdir(parents=True, exist_ok=True)  # now, and not when all is measured
    if given.quick:
        given.format, given.events = CASES[0].format, CASES[0].events

    rows = {}
    if given.json.exists():
        rows = {Case(*(row[name] for name in Case._fields)): row for row in json.loads(given.json.read_text())["rows"]}
    for case in CASES:
        if all(getattr(given, name) in (None, wanted) for name, wanted in case._asdict().items()):
            rows[case] = measure(case, given.repetitions)
            print("  ".join(f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
                            for name, value in rows[case].items() if name != "processes_mib"), flush=True)
            found = [rows[case] for case in CASES if case in rows]
            given.json.write_text(json.dumps(machine.made_by(_PACKAGES, SEED) | {"rows": found}, indent=1) + "\n")
    plot.draw(found, given.json.with_suffix(".png"))
    for goal, value, side, bound in goals(found):
        met = value >= bound if side == "at least" else value <= bound
        print(f"{'met   ' if met else 'MISSED'}  {goal}: {value:,.4g}, {side} {bound:,}")


if __name__ == "__main__":
    main()
