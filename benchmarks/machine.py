"""What made a benchmark's figures: the machine, the versions, the seed, the time and the command."""

import datetime
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def made_by(packages: Iterable[str], seed: Any) -> dict[str, Any]:
    """Of a benchmark that runs now, ready for its JSON.

    Args:
        packages: distributions whose versions count.
        seed: of everything random, or seeds by name.

    Returns:
        "made" (UTC), "command", "seed", "machine" and "versions".
    """
    return {"made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "command": " ".join(["python", *sys.orig_argv[1:]]), "seed": seed, "machine": machine(),
            "versions": {"python": platform.python_version()} | {
                name: importlib.metadata.version(name) for name in packages}}


def machine() -> dict[str, Any]:
    """The computer: its processor, cores, memory (GiB) and system."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": model[1] if model else platform.machine(), "cpus": os.cpu_count(),
            "memory_gib": round(memory / 2**30, 1), "system": platform.platform()}


def read(file: Path) -> list[dict[str, Any]]:
    """A list that a benchmark wrote; empty if there is no file."""
    return json.loads(file.read_text()) if file.exists() else []


def write_run(rows: Path, run: Mapping[str, Any], of: Mapping[str, Any] | None = None) -> None:
    """Writes what made the rows of NAME.json to NAME_runs.json beside it, a list of runs.

    Args:
        rows: NAME.json.
        run: as `made_by` gives it.
        of: what tells these rows from others of the file, which were made by runs of their own; None if no others are
            left.
    """
    of = dict(of or {})
    file = rows.with_name(f"{rows.stem}_runs.json")
    kept = [one for one in read(file) if of and {name: one.get(name) for name in of} != of]
    lines = ",\n".join(json.dumps(one) for one in [*kept, {**of, **run}])
    unfinished = file.with_name(f"{file.name}.part")
    unfinished.write_text(f"[\n{lines}\n]\n")
    unfinished.rename(file)
