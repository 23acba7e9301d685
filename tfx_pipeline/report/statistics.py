"""The page `statistics.html`: what TensorFlow Data Validation counted in each split, and the shapes of the log."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2

from tfx_pipeline.report import charts, guarded, log_shapes
from tfx_pipeline.report.blocks import NEUTRAL, Block, Chart, Headline, Link, Page, Table
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import day, duration, number, share
from ulim_tf import features

FILE = "statistics.html"

_TOP = 20
_SPLITS = {
    features.SPLIT_TRAIN: "Histories before the cut (train)",
    features.SPLIT_EVAL: "Held-out users (eval)",
    features.SPLIT_CATALOG: "Catalogue (catalog)",
}
_LENGTHS = {features.EVENT_ITEM: "Events of a history", features.CATEGORY: "Categories of a history",
            features.TARGET_ITEM: "Items of a held-out basket"}
_TOPS = {features.EVENT_ITEM: "items of events", features.CATEGORY: "categories by users",
         features.TARGET_ITEM: "items of held-out baskets", features.CATALOG_CATEGORY: "categories by items",
         features.PROFILE: "profile tokens", features.CATALOG_CONTENT: "content tokens"}


def page(subject: Subject, report: Link) -> Page | None:
    """The page; None where the run came to no statistics.

    Args:
        subject: the run.
        report: leads back to it.
    """
    folder = subject.output("StatisticsGen", "statistics")
    if folder is None:
        return None
    splits = [split for split in _SPLITS if (folder / f"Split-{split}").is_dir()]
    return Page(
        title="Statistics of the examples", elsewhere=report, figures={},
        headline=Headline(NEUTRAL, "What the examples hold",
                          "Counted by TensorFlow Data Validation over every example, before Transform."),
        sections=[guarded.section("log", "The log", lambda: log_shapes.blocks(subject)),
                  *(guarded.section(split, _SPLITS[split], functools.partial(_split, folder / f"Split-{split}"))
                    for split in splits)])


def read(folder: Path) -> statistics_pb2.DatasetFeatureStatistics:
    """The statistics that StatisticsGen wrote of a split."""
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(
        (folder / "FeatureStats.pb").read_bytes()).datasets[0]


def _split(folder: Path) -> Iterator[Block]:
    counted = read(folder)
    filled = {_name(feature): feature for feature in counted.features if _common(feature).tot_num_values}
    yield Table(
        f"Features that have values in {number(counted.num_examples)} examples",
        ["feature", "type", "values", "missing", "fewest in a list", "mean", "most in a list", "distinct"],
        [[name, _type(feature), number(_common(feature).tot_num_values),
          share(_common(feature).num_missing / counted.num_examples), number(_common(feature).min_num_values),
          number(_common(feature).avg_num_values), number(_common(feature).max_num_values),
          number(feature.string_stats.unique) if feature.HasField("string_stats") else ""]
         for name, feature in filled.items()], words=2)
    numeric = {name: feature.num_stats for name, feature in filled.items() if feature.HasField("num_stats")}
    if numeric:
        yield Table("Numbers", ["feature", "smallest", "median", "mean", "largest", "deviation", "zeros"],
                    [_numbers(name, stats) for name, stats in numeric.items()])
    for name in filter(filled.__contains__, _LENGTHS):
        edges, counts = _histogram(_common(filled[name]).num_values_histogram)
        yield Chart(_LENGTHS[name],
                    charts.histogram(f"values of {name} in an example", "examples for each value of the axis",
                                     edges, _density(edges, counts)),
                    f"{_LENGTHS[name]}: from {number(edges[0])} to {number(edges[-1])}. A bar is a tenth of the "
                    "examples, or several.")
    for name, feature in filled.items():
        top = {bucket.label: bucket.sample_count for bucket in feature.string_stats.rank_histogram.buckets[:_TOP]}
        if name in _TOPS and top and max(top.values()) > 1:
            yield Chart(f"Most frequent {_TOPS[name]}", charts.bars("times", name, top),
                        f"The {len(top)} most frequent values of {name}, first {next(iter(top))}.")


def _numbers(name: str, stats: statistics_pb2.NumericStatistics) -> list[str]:
    is_time = name in (features.EVENT_TIMESTAMP, features.TARGET_TIMESTAMP)
    places = [(day if is_time else number)(value) for value in (stats.min, stats.median, stats.mean, stats.max)]
    return [name, *places, duration(stats.std_dev) if is_time else number(stats.std_dev), number(stats.num_zeros)]


def _name(feature: statistics_pb2.FeatureNameStatistics) -> str:
    return ".".join(feature.path.step) or feature.name


def _type(feature: statistics_pb2.FeatureNameStatistics) -> str:
    return statistics_pb2.FeatureNameStatistics.Type.Name(feature.type).lower()


def _common(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _histogram(histogram: statistics_pb2.Histogram) -> tuple[list[float], list[float]]:
    """Edges [n + 1] and counts [n]; buckets of no width are joined with the one after them, or before the end."""
    by_end: dict[float, float] = {}
    for bucket in histogram.buckets:
        by_end[bucket.high_value] = by_end.get(bucket.high_value, 0.0) + bucket.sample_count
    if not by_end:
        return [], []
    low = histogram.buckets[0].low_value
    edges, counts = [low], []
    carried = by_end.pop(low, 0.0)
    for end, count in by_end.items():
        edges.append(end)
        counts.append(count + carried)
        carried = 0.0
    return edges, counts


def _density(edges: Sequence[float], counts: Sequence[float]) -> list[float]:
    return [count / (high - low) for low, high, count in zip(edges, edges[1:], counts)]
