"""A command, and the most memory that each of its processes ever had."""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Sequence

import psutil

_SECONDS_BETWEEN_LOOKS = 0.1


def run(command: Sequence[str]) -> tuple[str, list[float]]:
    """Runs a command to its end.

    Returns:
        Its standard output, and the peak of the resident memory, MiB, of each process that it was made of, its own
        first. A process is looked at ten times a second: one that ends within a tenth may be missed.

    Raises:
        subprocess.CalledProcessError: it failed; what it said to standard error has been passed on.
    """
    peak: dict[int, float] = {}
    with tempfile.TemporaryFile("w+") as output:
        process = psutil.Popen(command, stdout=output, text=True)
        code = None
        while code is None:
            for one in (process.pid, *(child.pid for child in _descendants(process))):
                peak[one] = max(peak.get(one, 0.0), _peak_mib(one))
            with contextlib.suppress(psutil.TimeoutExpired):
                code = process.wait(_SECONDS_BETWEEN_LOOKS)
        if code:
            raise subprocess.CalledProcessError(code, command)
        output.seek(0)
        return output.read(), [peak.pop(process.pid), *peak.values()]


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _peak_mib(pid: int) -> float:
    """0 of a process that has ended."""
    try:
        with open(f"/proc/{pid}/status") as status:
            found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0
