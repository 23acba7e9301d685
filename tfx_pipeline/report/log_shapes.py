"""The shapes of the log, from what the data gate counted exactly: lengths of histories, events by day, categories."""

from collections.abc import Iterator, Mapping

import numpy as np

from tfx_pipeline.components.data_gate import report as gate
from tfx_pipeline.report import charts
from tfx_pipeline.report.blocks import Block, Chart, Missing
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import day, number, share
from ulim_tf import features
from ulim_tf.sequences import DAY_SECONDS

_TOP = 20
_BINS = 30


def blocks(subject: Subject) -> Iterator[Block]:
    """Of the split train; a line where the data gate has counted nothing."""
    step = subject.step("DataGate")
    folders = step.outputs.values() if step else ()
    counted = next((folder for folder in folders if (folder / gate.profile_file(features.SPLIT_TRAIN)).is_file()), None)
    if counted is None:
        yield Missing("Lengths of histories, categories and events by day are counted by the data gate, which has left "
                      "no counts.")
        return
    profile = gate.read_profile(str(counted), features.SPLIT_TRAIN)
    if profile.history_users:
        yield _history_lengths(profile.history_users)
    if profile.day_events:
        yield _events_by_day(profile.day_events)
    if profile.category_events:
        yield from _categories(profile.category_events)


def _history_lengths(history_users: Mapping[int, int]) -> Chart:
    length, users = np.array(sorted(history_users.items())).T
    edges = np.unique(np.round(np.geomspace(1, length.max() + 1, _BINS)).astype(int))
    counts, _ = np.histogram(length, edges, weights=users)
    median = length[np.searchsorted(np.cumsum(users), users.sum() / 2)]
    figure = charts.histogram("events of a user (logarithmic)", "users", edges.tolist(), counts.tolist())
    figure.update_xaxes(type="log", dtick=1)
    return Chart("Length of histories", figure,
                 "Users by the number of their events, bins of equal width on a logarithmic axis; the median is "
                 f"{number(median)}, the longest {number(length.max())}.")


def _events_by_day(day_events: Mapping[int, int]) -> Chart:
    days = range(min(day_events), max(day_events) + 1)
    events = [day_events.get(one, 0) for one in days]
    dates = [day(one * DAY_SECONDS) for one in days]
    figure = charts.lines("day (UTC)", "events", {"events": (dates, events)})
    return Chart("Events by day", figure, f"Events of each day from {dates[0]} to {dates[-1]}: "
                                          f"{number(round(np.mean(events)))} a day on average, "
                                          f"{number(max(events))} at most.")


def _categories(category_events: Mapping[str, int]) -> Iterator[Chart]:
    falling = dict(sorted(category_events.items(), key=lambda pair: (-pair[1], pair[0])))
    reached = np.cumsum(list(falling.values())) / sum(falling.values())
    figure = charts.lines("categories, the largest first", "share of all events",
                          {"share": (range(1, len(reached) + 1), reached.tolist())})
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    yield Chart("Share of events in the largest categories", figure,
                f"Cumulative share of events: {number(int(np.searchsorted(reached, 0.5)) + 1)} of "
                f"{number(len(reached))} categories hold half of them.")
    top = dict(list(falling.items())[:_TOP])
    yield Chart("Categories with most events", charts.bars("events", "category", top),
                f"The {len(top)} categories with most events, first {next(iter(top))} with {share(reached[0])} of all.")
