"""What a passed gate leaves behind, and its reader: for the next run's gate, the summary and the run report.

A folder with

    data_gate.json      {"baseline": folder of the gate that this run was compared with, or null,
                         "checks": [{"rule", "verdict", "value", "bound", "baseline", "setting", "told"}, ...]}
    profile-train.json  {"category_events": {category: events}, "history_users": {events of a history: users},
    profile-eval.json    "day_events": {days since 1970: events}}
    FeatureStats.pb     the statistics of the split train, with which the next run's are compared

A check's verdict is "pass", "warn" or "stop"; `value` is what was measured, `bound` what `setting` allows and
`baseline` the earlier run's value, each null where there is none; `told` is a sentence for people. Of a gate that
stopped its run only `data_gate.json` is kept, in DIR/rejected.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tfx.dsl.io import fileio

REPORT_FILE = "data_gate.json"
STATISTICS_FILE = "FeatureStats.pb"

PASS, WARN, STOP = "pass", "warn", "stop"


class Profile(NamedTuple):
    """What the histories of a split are made of, counted.

    Attributes:
        category_events: category -> events.
        history_users: events of a history -> users who have so many.
        day_events: whole days since 1970 -> events.
    """

    category_events: Mapping[str, int]
    history_users: Mapping[int, int]
    day_events: Mapping[int, int]


class Check(NamedTuple):
    """One rule and what it found; see the module's description."""

    rule: str
    verdict: str
    value: float | None
    bound: float | None
    baseline: float | None
    setting: str | None
    told: str


class Report(NamedTuple):
    """`data_gate.json`."""

    baseline: str | None
    checks: Sequence[Check]

    def of(self, verdict: str) -> list[Check]:
        """The checks with a verdict."""
        return [check for check in self.checks if check.verdict == verdict]


def write_report(report: Report, directory: str) -> None:
    """Writes `data_gate.json`."""
    content = {"baseline": report.baseline, "checks": [check._asdict() for check in report.checks]}
    with fileio.open(os.path.join(directory, REPORT_FILE), "w") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)


def read_report(directory: str) -> Report:
    """Reads `data_gate.json` from the folder of the gate's artifact, or from DIR/rejected."""
    content = _read(directory, REPORT_FILE)
    return Report(content["baseline"], [Check(**check) for check in content["checks"]])


def profile_file(split: str) -> str:
    """Name of the file with the profile of a split."""
    return f"profile-{split}.json"


def profile_as_text(profile: Profile) -> str:
    """What that file holds."""
    return json.dumps(profile._asdict(), ensure_ascii=False)


def read_profile(directory: str, split: str) -> Profile:
    """Reads the profile of a split from the folder of the gate's artifact."""
    content = _read(directory, profile_file(split))
    return Profile(content["category_events"], _int_keys(content["history_users"]), _int_keys(content["day_events"]))


def _read(directory: str, name: str) -> dict[str, Any]:
    with fileio.open(os.path.join(directory, name)) as file:
        return json.load(file)


def _int_keys(counts: Mapping[str, int]) -> dict[int, int]:
    return {int(key): count for key, count in counts.items()}
