"""What was read, what was rejected and why, and what was odd."""

import json
import os
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.components.event_example_gen.executor import REJECTED_FILE, SUMMARY_FILE
from tfx_pipeline.report import charts
from tfx_pipeline.report.blocks import Block, Chart, Facts, Link, Missing, Table
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import day, moment, number, share

_KINDS = ("events", "catalog", "users")
_ODD = {  # counts that are not 0 are told
    "category_conflicts": "items with several categories in the log; the latest counts",
    "catalog_conflicts": "items with several categories in the catalogue; the first counts",
    "catalog_disagreements": "items whose category in the log is not the catalogue's, which counts",
    "items_missing_from_catalog": "items of the log that the catalogue does not have",
    "categories_missing_from_catalog": "categories of the log that the catalogue does not have",
    "events_out_of_order": "events that stand after a later one in their file",
    "duplicate_events": "events that repeat another; ingest.duplicates says what becomes of them",
    "events_cut_by_max_history": "events beyond ingest.max_history, the oldest of a user; left out",
    "held_out_events_cut_by_max_history": "the same of the held-out time",
    "target_items_unseen": "held-out items that nobody had before the cut; they are not looked for",
}


def summary(subject: Subject) -> dict[str, Any] | None:
    """`ingest_summary.json` of the run; None if the ingest did not finish."""
    examples = subject.output("EventExampleGen", "examples")
    return json.loads((examples / SUMMARY_FILE).read_text()) if examples else None


def blocks(subject: Subject) -> Iterator[Block]:
    """Rows by kind of file, reasons of rejection, what was odd, the span of the log."""
    counts, examples = summary(subject), subject.output("EventExampleGen", "examples")
    if counts is None or examples is None:
        yield Missing("The log was not read to its end.")
        rejected = subject.rejected / REJECTED_FILE
        if subject.failure and subject.failure.step == "EventExampleGen" and rejected.is_file():
            yield _link(subject, "The rows that were rejected, with their reasons", rejected)
        return
    yield Facts({
        "First event": moment(counts["first_time"]),
        "Last event": moment(counts["last_time"]),
        "Held out from": day(counts["cut_time"]),
        "Users held out": number(counts["eval_users"]),
    })
    rows = []
    for kind in _KINDS:
        read, rejected = counts.get(f"{kind}_rows_read", 0), sum(counts.get(f"{kind}_rows_rejected", {}).values())
        if read:
            rows.append([kind, number(read), number(read - rejected), number(rejected), share(rejected / read)])
    yield Table("Rows of the files", ["file", "read", "kept", "rejected", "share rejected"], rows)

    reasons = {f"{kind}: {reason}": count for kind in _KINDS
               for reason, count in counts.get(f"{kind}_rows_rejected", {}).items()}
    if reasons:
        yield Chart("Rejected rows by reason", charts.bars("rows", "reason", reasons),
                    "Rejected rows by reason: " + "; ".join(f"{name} {number(count)}"
                                                            for name, count in reasons.items()) + ".")
    if (examples / REJECTED_FILE).is_file():
        yield _link(subject, f"Every rejected row, with its reason ({REJECTED_FILE})", examples / REJECTED_FILE)
    odd = [[what, number(counts[name])] for name, what in _ODD.items() if counts.get(name)]
    if odd:
        yield Table("Worth knowing", ["what", "how many"], odd)
    yield _link(subject, f"All counts ({SUMMARY_FILE})", examples / SUMMARY_FILE)


def _link(subject: Subject, text: str, file: os.PathLike) -> Link:
    return Link(text, os.path.relpath(file, subject.directory))
