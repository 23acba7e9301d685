"""Reads what the Evaluator wrote: the metrics by slice, and what it decided.

Slices are named as those of `ulim_tf/evaluate.py`, and come in the order of SLICES. Metrics, means over the users of a
slice:

    recall@R  hit_rate@R  ndcg@R               of the held-out basket; in head and tail categories, of its items there
    novel_recall@R  novel_hit_rate@R  novel_ndcg@R
                                               of its items that the user never had, in the ranking without those had
    popular_recall@R  ...                      of the most popular items, as a baseline; all three measures
    frequent_recall@R  ...                     of the user's own most frequent items, as a baseline
    category_recall@K  category_item_recall@K  of the basket's categories, and of the categories of its items
    recall_over_popular@R                      recall@R divided by popular_recall@R, of the R that decides
    users                                      how many users were asked

R are those of 20, 50, 100, 500 that the servable answers and `evaluation.at`; K are 1, 5, 10, 20, 50 and 100 up to
`retrieval.categories`. The slices of categories have recall, hit_rate and ndcg alone, and those of the baselines. Where
no user of a slice has such a target, there is no such metric.
"""

import math
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tensorflow_model_analysis.writers import eval_config_writer

from tfx_pipeline.evaluation import metrics

ALL = "all"
SLICES = (ALL, "history <100", "history 100-500", "history 500-1000", "history >1000", "head categories",
          "tail categories")
CANDIDATE, LAST_BLESSED = tfma.CANDIDATE_KEY, tfma.BASELINE_KEY

Metrics = dict[str, dict[str, float]]  # slice -> metric -> value

_CATEGORY_SLICES = {metrics.HEAD: "head categories", metrics.TAIL: "tail categories"}
_IN_CATEGORIES = re.compile(rf"({metrics.POPULAR}_|{metrics.FREQUENT}_|)({metrics.HEAD}|{metrics.TAIL})_")


def read_metrics(evaluation: str | Path, model: str = CANDIDATE) -> Metrics:
    """The metrics of a model, slice -> metric -> value, named as the module's docstring says.

    Args:
        evaluation: the folder of the Evaluator's artifact `evaluation`, or its URI.
        model: `CANDIDATE`, or `LAST_BLESSED`, the servable it was compared with, on the same users.

    Returns:
        An empty mapping if nobody was held out, or for `LAST_BLESSED` if there was none.
    """
    found: Metrics = defaultdict(dict)
    for record in tfma.load_metrics(str(evaluation)):
        of_slice = _slice_name(record.slice_key)
        for one in record.metric_keys_and_values:
            name, value = one.key.name, one.value.double_value.value
            if one.key.is_diff or (one.key.model_name or CANDIDATE) != model or math.isnan(value):
                continue
            in_categories = _IN_CATEGORIES.match(name)
            if not in_categories:
                found[of_slice][name] = value
            elif of_slice == ALL:
                ranking, categories = in_categories.groups()
                found[_CATEGORY_SLICES[categories]][ranking + name[in_categories.end():]] = value
    return {part: found[part] for part in SLICES if part in found}


def figure(name: str, value: float) -> str:
    """A metric for people."""
    return f"{value:,.0f}" if name == metrics.USERS else f"{value:.4f}"


class Verdict(NamedTuple):
    """What was demanded of the servable, and what it reached."""

    blessed: bool
    at: int  # R of the Recall that decides
    recall: float  # NaN if nobody was held out
    least_recall: float
    popular_recall: float  # of the most popular items; NaN if nobody was held out
    least_over_popular: float  # in times popular_recall
    last_blessed_recall: float | None  # None where there was no such servable
    reasons: list[str]  # why it was not blessed, in words


def read_verdict(evaluation: Path) -> Verdict:
    """What the Evaluator demanded, and what the servable reached.

    Args:
        evaluation: the folder of the Evaluator's artifact `evaluation`.
    """
    validation = tfma.load_validation_result(str(evaluation))
    failed = {(failure.metric_key.name, failure.metric_key.is_diff)
              for part in validation.metric_validations_per_slice for failure in part.failures}
    eval_config, *_ = eval_config_writer.load_eval_run(str(evaluation))
    thresholds = {name: of_slices.thresholds[0].threshold
                  for name, of_slices in eval_config.metrics_specs[0].per_slice_thresholds.items()}
    at = next(int(name.rpartition("@")[2]) for name in thresholds)
    recall_name, over_popular_name = metrics.ranking_name("recall", at), metrics.over_popular_name(at)
    least_recall = thresholds[recall_name].value_threshold.lower_bound.value
    least_over_popular = thresholds[over_popular_name].value_threshold.lower_bound.value
    overall = read_metrics(evaluation).get(ALL, {})
    recall, over_popular, popular_recall = (
        overall.get(name, math.nan)
        for name in (recall_name, over_popular_name, metrics.ranking_name("recall", at, metrics.POPULAR)))
    before = read_metrics(evaluation, LAST_BLESSED).get(ALL, {}).get(recall_name)
    reasons = []
    if not overall:
        reasons.append("nobody was held out, so nothing could be measured; ingest.holdout_days says how long that is")
    elif (recall_name, False) in failed:
        reasons.append(f"Recall@{at} {recall:.4f} is less than evaluation.least_recall, {least_recall}")
    if overall and (over_popular_name, False) in failed:
        reasons.append(f"Recall@{at} {recall:.4f} is {over_popular:.2f} times that of the most popular items, "
                       f"{popular_recall:.4f}; evaluation.least_over_popular demands {least_over_popular} times")
    if before is not None and (recall_name, True) in failed:
        most_loss = -thresholds[recall_name].change_threshold.relative.value
        reasons.append(f"Recall@{at} {recall:.4f} is too much less than that of the last blessed servable on the same "
                       f"users, {before:.4f}; evaluation.most_loss allows {most_loss:.1%} of it")
    return Verdict(validation.validation_ok, at, recall, least_recall, popular_recall, least_over_popular, before,
                   reasons)


def _slice_name(key: metrics_for_slice_pb2.SliceKey) -> str:
    return " ".join(f"{one.column} {one.bytes_value.decode()}" for one in key.single_slice_keys) or ALL
