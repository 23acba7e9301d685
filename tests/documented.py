"""The commands and code blocks of the pages, found by what they are, not by where they stand."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:\w+=\S+ )*(?:\S*python -m|\S*ulim|make) [^`]+)`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")

# `ulim NAME` is `python -m MODULE`.
_ROLES = {
    "tfx_pipeline.run_local": "train", "tfx_pipeline.refresh_index": "refresh-index",
    "tfx_pipeline.evaluate_only": "evaluate", "tfx_pipeline.rollback": "rollback",
    "tfx_pipeline.batch_inference": "batch", "tfx_pipeline.skew_check": "skew", "serving.server": "serve",
    "serving.client": "recommend", "ulim_tf.doctor": "doctor", "tfx_pipeline.demo": "demo",
    "tfx_pipeline.explain": "explain", "make demo": "demo"}


def blocks(page: Path, language: str) -> list[str]:
    """What stands in the fences of a language."""
    return [text for found, text in _FENCE.findall(page.read_text()) if found == language]


def languages(page: Path) -> set[str]:
    """Of the page's fences."""
    return {language for language, _ in _FENCE.findall(page.read_text())}


def commands(page: Path) -> list[list[str]]:
    """The words of each command in the shell blocks; lines that end with a backslash go on."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", "").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """The words of each command that stands in a sentence or in a table."""
    for text in _INLINE.findall(_FENCE.sub("", page.read_text())):
        yield shlex.split(text)


def role(words: list[str]) -> str:
    """What a command is: "train" (`ulim train` or its module), "benchmarks.index", "make test"; or "", none."""
    words = [word for number, word in enumerate(words)
             if not all(map(_ASSIGNMENT.fullmatch, words[:number + 1]))]
    program, *rest = words or [""]
    if program.rpartition("/")[2] == "python" and rest[:1] == ["-m"]:
        return _ROLES.get(rest[1], rest[1])
    if program.rpartition("/")[2] == "ulim" and rest:
        return f"benchmarks.{rest[1]}" if rest[0] == "bench" and rest[1:] else rest[0]
    if program == "make":
        return _ROLES.get(" ".join(words), " ".join(words))
    return ""
