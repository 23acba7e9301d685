"""The command `ulim`: finds what its first word names, and imports that and no more."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from tfx_pipeline.command.table import COMMANDS, EXIT_CODES
from ulim_tf import __version__, command_line

_HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code, of `EXIT_CODES`.

    Args:
        argv: words after `ulim`; those of this process if None.

    Raises:
        SystemExit: from the command's parser: 0 after its help, 2 where an argument is wrong.
    """
    return command_line.interruptible(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    name, *rest = argv or ["--help"]
    if name in _HELP:
        print(_help())
        return 0
    if name == "--version":
        print(f"ulim-tf {__version__}")
        return 0
    command = COMMANDS.get(name)
    if command is None:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        return command_line.fail(f"ulim has no command {name!r}.{meant} `ulim --help` lists them.", 2, False)
    if not command.is_installed() and not set(_HELP) & set(rest):
        return command_line.fail(f"ulim {name} needs the extra {command.extra!r}: "
                                 f"pip install 'ulim-tf[{command.extra}]'", 1, False)
    args = command.parser().parse_args(rest)
    return importlib.import_module(command.module).command(args)


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = [f"  {one.name:<{width}}  {one.line}" + (f" [{one.extra}]" if one.extra else "")
                for one in COMMANDS.values()]
    return "\n".join([
        "usage: ulim COMMAND ...", "       ulim COMMAND --help", "       ulim --version", "",
        "Candidate retrieval from a user's whole history, by category.", "",
        "commands, and in brackets the extra that one needs (pip install 'ulim-tf[EXTRA]'):", *commands, "",
        "exit codes:", *(f"  {code:<{width}}  {meaning}" for code, meaning in EXIT_CODES.items()), "",
        "example:", "  ulim train --events 'log/*.parquet' --catalog products.csv --workdir runs/shop"])


if __name__ == "__main__":
    sys.exit(main())
