"""An earlier version back into service: `python -m tfx_pipeline.rollback --workdir DIR`.

A server serves the highest version. So the earlier one is published again under a new number, beside the bad one, and
in one step: a server goes over to it as to any new version, and is never without one. Nothing is copied: both numbers
share their files. The next run that has something new to push pushes it after them.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import sys
import time
from pathlib import Path

from serving.contract import MODEL_NAME, SERVABLES
from tfx_pipeline import flags
from tfx_pipeline.components.pusher import versions
from ulim_tf import command_line


def rollback(base: Path, version: int | None = None) -> Path:
    """Publishes an earlier version again, as the newest; that of the other servables with it, where there is one.

    Args:
        base: model base path.
        version: its number; None is the one before the newest, or, if the newest was itself published again, the one
            before its origin.

    Returns:
        the new version folder.

    Raises:
        ValueError: there is no such version, or it is served already.
    """
    there = versions.numbers(str(base))
    listed = ", ".join(map(str, there)) or "none"
    if not there:
        raise ValueError(f"--workdir must be one that a servable was pushed in, but {base} has no version. "
                         "Run the pipeline first: python -m tfx_pipeline.run_local")
    served = versions.origin(str(base), there[0])
    if version is None:
        earlier = [number for number in there if number < served]
        if not earlier:
            raise ValueError(f"there must be a version before {served}, which is served, but {base} has {listed}. "
                             "Name another with --version, or push a new one.")
        version = earlier[0]
    if version not in there:
        raise ValueError(f"--version must be one of {base}, got {version}; it has {listed}. More are kept with "
                         "serving.versions_kept.")
    if versions.origin(str(base), version) == served:
        raise ValueError(f"--version must not be the one that is served, got {version}. Choose another of {listed}.")
    published = Path(versions.publish_again(str(base), version))
    for name in SERVABLES:
        its_base = versions.base_of(name, str(base))
        if name != MODEL_NAME and version in versions.numbers(its_base):
            versions.publish_again(its_base, version, int(published.name))
    return published


def table(base: Path) -> str:
    """The versions, the newest first, a line each."""
    lines = [f"{'version':<20} {'made':<20}"]
    for place, number in enumerate(versions.numbers(str(base))):
        made = time.localtime(Path(versions.folder_of(str(base), number)).stat().st_mtime)
        origin = versions.origin(str(base), number)
        notes = ["served"] * (place == 0) + [f"{origin} published again"] * (origin != number)
        lines.append(f"{number:<20} {time.strftime('%Y-%m-%d %H:%M:%S', made):<20} {', '.join(notes)}".rstrip())
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.rollback().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 done, 1 the disk refused, 2 an argument is wrong."""
    base = args.workdir.absolute() / "serving" / MODEL_NAME
    try:
        if not args.list:
            print(f"published {rollback(base, args.version)}")
        print(table(base))
    except (ValueError, OSError) as error:
        print(f"error: {error}\nNothing was changed.", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
