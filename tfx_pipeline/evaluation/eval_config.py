"""What TFMA computes and demands, from the settings."""

import json
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation import metrics
from ulim_tf import evaluate

MODULE = "tfx_pipeline.evaluation.extractor"
SPLITS = ["train", "eval", "catalog"]


def make_eval_config(config: PipelineConfig) -> tfma.EvalConfig:
    """The metrics of `results.py`, sliced by the length of the history, and the thresholds of `config.evaluation`.

    Raises:
        ValueError: `evaluation.at` is more than the servable answers.
    """
    demanded, results = config.evaluation, config.retrieval.results
    if demanded.at > results:
        raise ValueError(f"evaluation.at must be at most retrieval.results, got {demanded.at} and {results}. "
                         f"Write for example evaluation: {{at: {results}}}.")
    at = sorted({demanded.at, *(cut for cut in evaluate.AT if cut <= results)})
    wanted = [
        *(_metric(metrics.Ranking, at=at, targets=targets)
          for targets in (metrics.ALL, metrics.NOVEL, metrics.HEAD, metrics.TAIL)),
        *(_metric(metrics.Ranking, at=at, ranking=ranking, targets=targets)
          for ranking in (metrics.POPULAR, metrics.FREQUENT) for targets in (metrics.ALL, metrics.HEAD, metrics.TAIL)),
        _metric(metrics.CategoryRecall,
                at=[cut for cut in evaluate.CATEGORIES_AT if cut <= config.retrieval.categories]),
        _metric(metrics.OverPopular, at=demanded.at),
        _metric(metrics.Users, event_types=list(config.features.event_types),
                user_profile=list(config.features.user_profile)),
    ]
    thresholds = {
        metrics.ranking_name("recall", demanded.at): tfma.MetricThreshold(
            value_threshold=_at_least(demanded.least_recall),
            change_threshold=tfma.GenericChangeThreshold(
                relative=wrappers_pb2.DoubleValue(value=-demanded.most_loss),
                direction=tfma.MetricDirection.HIGHER_IS_BETTER)),
        metrics.over_popular_name(demanded.at): tfma.MetricThreshold(
            value_threshold=_at_least(demanded.least_over_popular)),
    }
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec()],  # TFX adds the last blessed model where there is one
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=[metrics.HISTORY])],
        metrics_specs=[tfma.MetricsSpec(metrics=wanted, per_slice_thresholds={
            name: tfma.PerSliceMetricThresholds(thresholds=[
                tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=threshold)])
            for name, threshold in thresholds.items()})])  # `thresholds` would demand it of every slice


def _metric(kind: type[tfma.metrics.Metric], **config: Any) -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name=kind.__name__, module=kind.__module__, config=json.dumps(config))


def _at_least(bound: float) -> tfma.GenericValueThreshold:
    return tfma.GenericValueThreshold(lower_bound=wrappers_pb2.DoubleValue(value=bound))
