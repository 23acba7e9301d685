"""Runs one method once and prints what it took, without starting Python and imports: {"seconds": , "cpu_seconds": }.

    python -m benchmarks.ingesting.timed MODULE LOG OUTPUT WORKERS

The method gets as many cores as it has workers.
"""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    module, log, output, workers = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(workers)])
    run = importlib.import_module(f"benchmarks.ingesting.{module}").run
    start, own_start = time.perf_counter(), _processor_time()
    run(Path(log), Path(output), int(workers))
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu_seconds": _processor_time() - own_start}))


def _processor_time() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
