"""`ulim completion`: a script that completes commands, flags and files, made of the commands' own parsers."""

import argparse
from typing import Any

import shtab

from tfx_pipeline.command.table import COMMANDS

_EXAMPLES = r"""examples:
  %(prog)s bash > ~/.local/share/bash-completion/completions/ulim
  %(prog)s zsh > ~/.zsh/completions/_ulim

The folder of zsh must be in its fpath before compinit, in ~/.zshrc:
  fpath=(~/.zsh/completions $fpath); autoload -U compinit; compinit"""


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(description="Prints a script that completes `ulim`.", epilog=_EXAMPLES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("shell", choices=("bash", "zsh"))
    return made


def command(args: argparse.Namespace) -> int:
    """Prints the script; returns 0."""
    whole = argparse.ArgumentParser("ulim")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers()
    for one in COMMANDS.values():
        added = commands.add_parser(one.name, parents=[one.parser()], add_help=False, help=one.line)
        actions: list[Any] = added._actions  # shtab looks for an attribute that they do not have
        for action in actions:
            if action.metavar == "DIR":
                action.complete = shtab.DIRECTORY
            elif str(action.metavar).startswith("FILE"):
                action.complete = shtab.FILE
    print(shtab.complete(whole, args.shell))
    return 0
