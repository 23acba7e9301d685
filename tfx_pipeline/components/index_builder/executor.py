"""Does the work of IndexBuilder."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import datetime
import json
import os
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from serving import warmup
from serving.client import History
from serving.contract import MODEL_NAME
from serving.export import export_servables
from serving.histories import read_users
from tfx_pipeline import rare_items, servables, trained
from tfx_pipeline.components.event_example_gen.executor import SUMMARY_FILE
from tfx_pipeline.components.index_builder import index_facts
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

MODEL, TRANSFORM_GRAPH, EXAMPLES, SERVABLE = "model", "transform_graph", "examples", "servable"
SERVABLES = "servables"


class Executor(base_executor.BaseExecutor):
    """Exports the trained model with its indices, and keeps it and what that of `ulim` finds beside them."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class."""
        vocabularies = tft.TFTransformOutput(artifact_utils.get_single_uri(input_dict[TRANSFORM_GRAPH]))
        model_file = trained.trainers_file(input_dict[MODEL])
        model = keras.models.load_model(model_file, compile=False)
        names = [features.ITEM_VOCABULARY, features.CATEGORY_VOCABULARY,
                 *([features.CONTENT_VOCABULARY] if model.content else []),
                 *([features.PROFILE_VOCABULARY] if model.profile else [])]
        files = {name: vocabularies.vocabulary_file_by_name(name) for name in names}
        rare = rare_items.rare_vocabulary(vocabularies)
        artifact = artifact_utils.get_single_uri(output_dict[SERVABLE])
        folders = servables.folders(artifact, json.loads(exec_properties[SERVABLES]))
        servable = folders[MODEL_NAME]
        found = export_servables(
            model, files[features.ITEM_VOCABULARY], files[features.CATEGORY_VOCABULARY], folders,
            files.get(features.PROFILE_VOCABULARY), progress=lambda what: print(f"    {what}", flush=True),
            warmup_histories=held_out_histories(input_dict.get(EXAMPLES), model.settings.features),
            data=_data(input_dict), rare_vocabulary=rare, transform_graph=vocabularies.transform_savedmodel_dir)
        trained.write(servable, model_file, files)
        index_facts.write(index_facts.of(found[MODEL_NAME], kind=model.settings.retrieval.index, items=model.items,
                                         category_vocabulary=files[features.CATEGORY_VOCABULARY],
                                         rare=rare_items.count(rare), servable=servable), artifact)


def held_out_histories(examples: list[types.Artifact] | None, config: FeaturesConfig) -> list[History]:
    """Of the users of the split `eval`, those that warm-up requests are to ask about; none without examples."""
    if not examples:
        return []
    files = tf.io.gfile.glob(os.path.join(artifact_utils.get_split_uri(examples, features.SPLIT_EVAL), "*"))
    return warmup.choose(user.history for user in read_users(sorted(files), config))


def _data(input_dict: dict[str, list[types.Artifact]]) -> dict[str, str]:
    """What the ingest counted, for people; nothing without examples."""
    file = os.path.join(artifact_utils.get_single_uri(input_dict[EXAMPLES]), SUMMARY_FILE) if input_dict.get(
        EXAMPLES) else ""
    if not tf.io.gfile.exists(file):
        return {}
    with tf.io.gfile.GFile(file) as text:
        counts = json.load(text)
    first, cut, last = (f"{datetime.datetime.fromtimestamp(counts[name], datetime.timezone.utc):%Y-%m-%d}"
                        for name in ("first_time", "cut_time", "last_time"))
    return {"Log": f"{first} to {last}, of which {cut} to {last} was held out",
            "Events": f"{counts['events']:,} of {counts['events_rows_read']:,} rows",
            "Users trained on": f"{counts['train_users']:,}", "Users held out": f"{counts['eval_users']:,}"}
