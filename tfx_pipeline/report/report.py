"""Writes the pages of a run: what every step left, read section by section, however far the run came."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from tfx_pipeline.report import guarded, page, statistics
from tfx_pipeline.report.blocks import Block, Link, Page
from tfx_pipeline.report.sections import categories, data, index, ingest, push, quality, steps, training
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import duration, number

FILE = "index.html"

_TITLE = "ULIM pipeline run"
_SECTIONS: tuple[tuple[str, str, Callable[[Subject], Iterable[Block]]], ...] = (
    ("read", "What was read", ingest.blocks),
    ("data", "Data and drift", data.blocks),
    ("training", "Training", training.blocks),
    ("quality", "Quality on held-out users", quality.blocks),
    ("categories", "Category predictions", categories.blocks),
    ("index", "Index", index.blocks),
    ("push", "Gates and push", push.blocks),
    ("steps", "Steps", steps.durations),
    ("settings", "Settings and versions", steps.settings),
)


def write(subject: Subject) -> Path:
    """Writes `index.html`, and `statistics.html` if the run counted statistics, into the subject's directory.

    Returns:
        The file of the report.
    """
    counted = statistics.page(subject, Link("The run's report", FILE))
    pages = {FILE: make(subject, Link("Statistics of the data", statistics.FILE) if counted else None)}
    if counted:
        pages[statistics.FILE] = counted
    else:
        (subject.directory / statistics.FILE).unlink(missing_ok=True)  # an earlier run's
    page.write(pages, subject.directory)
    return subject.directory / FILE


def make(subject: Subject, elsewhere: Link | None) -> Page:
    """The page of a run.

    Args:
        subject: the run.
        elsewhere: leads to the statistics.
    """
    return Page(
        title=_TITLE, headline=push.headline(subject), figures=_figures(subject), elsewhere=elsewhere,
        sections=[guarded.section(anchor, title, functools.partial(blocks, subject))
                  for anchor, title, blocks in _SECTIONS])


def _figures(subject: Subject) -> dict[str, str]:
    counts, decided = ingest.summary(subject), quality.verdict(subject)
    figures = {name.capitalize(): number(counts[name]) for name in ("events", "users", "items", "categories")
               } if counts else {}
    if decided:
        figures[f"Recall@{decided.at}"] = f"{decided.recall:.4f}"
    return {**figures, "Duration": duration(steps.total_seconds(subject.run))}
