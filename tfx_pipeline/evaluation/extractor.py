"""The module of the Evaluator: held-out users ask the servables, and the answers become TFMA extracts.

TFX calls `custom_eval_shared_model` for the candidate and the last blessed model, then `custom_extractors`.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.utils import model_util

from serving.histories import read_user
from tfx_pipeline.evaluation import log_facts, measures, metrics
from tfx_pipeline.evaluation.servable import Answer, AskedServable
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

_BATCH = 64  # users who ask at once
_REPORT = 512  # users between two progress lines


def custom_eval_shared_model(eval_saved_model_path: str, model_name: str, eval_config: tfma.EvalConfig,
                             **_: Any) -> tfma.types.EvalSharedModel:
    """A servable that each worker loads once."""
    return tfma.types.EvalSharedModel(
        model_path=eval_saved_model_path, model_name=model_name, model_type=tfma.TF_GENERIC,
        is_baseline=any(spec.is_baseline for spec in eval_config.model_specs if spec.name == model_name),
        model_loader=tfma.types.ModelLoader(functools.partial(AskedServable, eval_saved_model_path)))


def custom_extractors(eval_shared_model: tfma.types.EvalSharedModel | list[tfma.types.EvalSharedModel],
                      eval_config: tfma.EvalConfig, **_: Any) -> list[tfma.extractors.Extractor]:
    """From record batches of the splits `train`, `eval` and `catalog` to an extract for each held-out user, as
    `metrics.py` reads it, with the keys of its slices."""
    models = eval_shared_model if isinstance(eval_shared_model, list) else [eval_shared_model]
    loaders = {model.model_name: model.model_loader for model in models}
    return [
        tfma.extractors.Extractor("AskServable", _AskServable(
            loaders, _metric_config(eval_config, metrics.Ranking)["at"],
            FeaturesConfig(**_metric_config(eval_config, metrics.Users)))),
        tfma.extractors.SliceKeyExtractor(eval_config=eval_config, materialize=False)]


def _metric_config(eval_config: tfma.EvalConfig, metric: type[tfma.metrics.Metric]) -> dict[str, Any]:
    return next(json.loads(one.config) for spec in eval_config.metrics_specs for one in spec.metrics
                if one.class_name == metric.__name__)


class _AskServable(beam.PTransform):

    def __init__(self, loaders: Mapping[str, tfma.types.ModelLoader], at: Sequence[int], config: FeaturesConfig):
        super().__init__()
        self._ask = _Ask(loaders, max(at), config)
        self._most_popular = max(at)

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        batches = extracts | "RecordBatches" >> beam.Map(lambda extract: extract[tfma.ARROW_RECORD_BATCH_KEY])
        facts = log_facts.log_facts(batches, self._most_popular)
        return batches | "Ask" >> beam.ParDo(self._ask, *facts)


class _Ask(model_util.DoFnWithModels):
    """A record batch of held-out users -> an extract for each.

    Args:
        loaders: model name -> loader of its servable; the name is "" if there is one model.
        results: the longest ranking that is measured.
        config: that the examples were made with.
    """

    def __init__(self, loaders: Mapping[str, tfma.types.ModelLoader], results: int, config: FeaturesConfig):
        super().__init__(dict(loaders))
        self._results, self._config = results, config
        self._asked = 0

    def process(self, batch: pa.RecordBatch, popular: list[bytes], head: frozenset[bytes],
                category_of: Mapping[bytes, bytes]) -> Iterator[tfma.Extracts]:
        stored, held_out = (log_facts.column(batch, name)
                            for name in (tfma.ARROW_INPUT_COLUMN, features.TARGET_ITEM))
        users = log_facts.held_out(batch)
        for start in range(0, len(users), _BATCH):
            some = users[start:start + _BATCH]
            histories = [read_user(stored.of(user)[0], self._config).history for user in some]
            answers = {name: servable.ask(histories) for name, servable in self._loaded_models.items()}
            for place, (user, history) in enumerate(zip(some, histories)):
                targets, items = held_out.of(user), [item.encode() for item in history.item_ids]
                categories = np.array([category_of.get(item, b"") for item in targets], object)
                predictions = {name: _predictions(of_model[place]) for name, of_model in answers.items()}
                yield {
                    tfma.LABELS_KEY: targets,
                    tfma.PREDICTIONS_KEY: predictions.get("", predictions),
                    tfma.FEATURES_KEY: {
                        metrics.SEEN: frozenset(items),
                        metrics.TARGET_CATEGORY: categories,
                        metrics.TARGET_IN_HEAD: np.array([one in head for one in categories]),
                        metrics.POPULAR: popular,
                        metrics.FREQUENT: measures.most_frequent(items, popular, self._results),
                        metrics.HISTORY: np.array([measures.history_slice(len(items))]),
                    },
                }
            self._tell(len(some))

    def _tell(self, more: int) -> None:
        before, self._asked = self._asked, self._asked + more
        if before // _REPORT < self._asked // _REPORT:
            print(f"    {self._asked:,} held-out users asked", flush=True)


def _predictions(answer: Answer) -> dict[str, np.ndarray]:
    return {metrics.ITEMS: answer.item, metrics.CATEGORIES: answer.category}
