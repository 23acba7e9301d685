"""Does the work of IndexBuilder."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import os
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from serving import warmup
from serving.client import History
from serving.export import export_servable
from serving.histories import read_users
from tfx_pipeline.trainer import MODEL_FILE
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

MODEL, TRANSFORM_GRAPH, EXAMPLES, SERVABLE = "model", "transform_graph", "examples", "servable"


class Executor(base_executor.BaseExecutor):
    """Loads the trained model and exports it with its indices."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class."""
        trained = path_utils.serving_model_dir(artifact_utils.get_single_uri(input_dict[MODEL]))
        vocabularies = tft.TFTransformOutput(artifact_utils.get_single_uri(input_dict[TRANSFORM_GRAPH]))
        model = keras.models.load_model(os.path.join(trained, MODEL_FILE), compile=False)
        export_servable(
            model,
            vocabularies.vocabulary_file_by_name(features.ITEM_VOCABULARY),
            vocabularies.vocabulary_file_by_name(features.CATEGORY_VOCABULARY),
            path_utils.serving_model_dir(artifact_utils.get_single_uri(output_dict[SERVABLE])),
            vocabularies.vocabulary_file_by_name(features.PROFILE_VOCABULARY) if model.profile else None,
            progress=lambda what: print(f"    {what}", flush=True),
            warmup_histories=_held_out(input_dict, model.settings.features))


def _held_out(input_dict: dict[str, list[types.Artifact]], config: FeaturesConfig) -> list[History]:
    """Of the users of the split `eval`, those to ask about; none without examples."""
    if not input_dict.get(EXAMPLES):
        return []
    files = tf.io.gfile.glob(
        os.path.join(artifact_utils.get_split_uri(input_dict[EXAMPLES], features.SPLIT_EVAL), "*"))
    return warmup.choose(user.history for user in read_users(sorted(files), config))
