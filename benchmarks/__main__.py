"""Every benchmark, one after the other, and what they found beside what is committed.

    python -m benchmarks                      all five on a small scale, to .bench/quick: under 30 minutes on 2 cores
    python -m benchmarks index serving        some of them
    python -m benchmarks --full               all of them as committed, to benchmarks/results: hours, see
                                              benchmarks/README.md

Each runs in a process of its own. One that fails does not keep the next from running; the exit code is 1 in the end.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import figures, machine

RESULTS = Path("benchmarks/results")
QUICK_RESULTS = Path(".bench/quick")


def command(name: str, full: bool) -> list[str]:
    """Of one benchmark."""
    directory = RESULTS if full else QUICK_RESULTS
    if name == "quality":
        arguments = ["--peers"] if full else ["--quick"]
        arguments += ["--results", str(directory)]
    else:
        arguments = [] if full else ["--quick"]
        arguments += ["--json", str(directory / f"{name}.json")]
    return [sys.executable, "-m", f"benchmarks.{name}", *arguments]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for. Returns 0, or 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(figures.FIGURES)}; all by default")
    parser.add_argument("--full", action="store_true", help="the committed sizes; replaces the committed results")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in figures.FIGURES]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}. There are {', '.join(figures.FIGURES)}.")

    directory = RESULTS if given.full else QUICK_RESULTS
    directory.mkdir(parents=True, exist_ok=True)
    print("  ".join(f"{name} {value}" for name, value in machine.machine().items()))
    found, failed, start = [], [], time.monotonic()
    for name in given.names or figures.FIGURES:
        committed = figures.rows(RESULTS / f"{name}.json")  # before --full replaces them
        asked, begun = command(name, given.full), time.monotonic()
        print(f"\n=== {name}: python {' '.join(asked[1:])}", flush=True)
        code = subprocess.run(asked).returncode
        print(f"=== {name}: {f'FAILED with exit code {code}' if code else 'done'}, "
              f"{(time.monotonic() - begun) / 60:.1f} minutes", flush=True)
        if code:
            failed.append(name)
        else:
            found += figures.compare(name, figures.rows(directory / f"{name}.json"), committed)
    print(f"\n{figures.table(found)}\n\n{(time.monotonic() - start) / 60:.1f} minutes; the files are in {directory}")
    if not given.full and any(one.benchmark == "quality" for one in found):
        print("quality asks 200 households of 2,469 with short training: its ratios are no judgement.")
    if failed:
        print(f"error: {', '.join(failed)} failed; see above", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
