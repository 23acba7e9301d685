"""How the commands end: without a traceback where they can help it, and alone on stdout with their JSON."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator

INTERRUPTED = 130


def interruptible(command: Callable[[], int]) -> int:
    """The exit code of a command: its own, or 130 where Ctrl-C ended it."""
    try:
        return command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def fail(error: object, code: int, as_json: bool) -> int:
    """Says what went wrong, on stderr for people and, if `as_json`, on stdout as the command's one object.

    Returns:
        `code`.
    """
    print(f"error: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": str(error)}))
    return code


def timed_progress() -> Callable[[str], None]:
    """Prints what begins, each time with the seconds since now."""
    start = time.monotonic()

    def progress(what: str) -> None:
        print(f"[{time.monotonic() - start:5.0f} s] {what}", flush=True)

    return progress


@contextlib.contextmanager
def nothing_on_stdout(as_json: bool) -> Iterator[None]:
    """While entered, if `as_json`, what this process and those it starts print goes to stderr."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
