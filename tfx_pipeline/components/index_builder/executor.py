"""Does the work of IndexBuilder."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import os
from typing import Any

import tensorflow_transform as tft
import tf_keras as keras
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from serving.export import export_servable
from tfx_pipeline import trained
from ulim_tf import features

MODEL, TRANSFORM_GRAPH, SERVABLE = "model", "transform_graph", "servable"


class Executor(base_executor.BaseExecutor):
    """Exports the trained model with its indices, and keeps it beside them."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class."""
        vocabularies = tft.TFTransformOutput(artifact_utils.get_single_uri(input_dict[TRANSFORM_GRAPH]))
        model_file = os.path.join(path_utils.serving_model_dir(artifact_utils.get_single_uri(input_dict[MODEL])),
                                  trained.MODEL_FILE)
        model = keras.models.load_model(model_file, compile=False)
        names = [features.ITEM_VOCABULARY, features.CATEGORY_VOCABULARY,
                 *([features.CONTENT_VOCABULARY] if model.content else []),
                 *([features.PROFILE_VOCABULARY] if model.profile else [])]
        files = {name: vocabularies.vocabulary_file_by_name(name) for name in names}
        servable = path_utils.serving_model_dir(artifact_utils.get_single_uri(output_dict[SERVABLE]))
        export_servable(model, files[features.ITEM_VOCABULARY], files[features.CATEGORY_VOCABULARY], servable,
                        files.get(features.PROFILE_VOCABULARY), progress=lambda what: print(f"    {what}", flush=True))
        trained.write(servable, model_file, files)
