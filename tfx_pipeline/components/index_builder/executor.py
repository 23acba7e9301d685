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
from tfx_pipeline.components.index_builder import index_facts
from tfx_pipeline.trainer import MODEL_FILE
from ulim_tf import features

MODEL, TRANSFORM_GRAPH, SERVABLE = "model", "transform_graph", "servable"


class Executor(base_executor.BaseExecutor):
    """Loads the trained model, exports it with its indices and writes what they find beside it."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class."""
        trained = path_utils.serving_model_dir(artifact_utils.get_single_uri(input_dict[MODEL]))
        vocabularies = tft.TFTransformOutput(artifact_utils.get_single_uri(input_dict[TRANSFORM_GRAPH]))
        model = keras.models.load_model(os.path.join(trained, MODEL_FILE), compile=False)
        artifact = artifact_utils.get_single_uri(output_dict[SERVABLE])
        servable = path_utils.serving_model_dir(artifact)
        category_vocabulary = vocabularies.vocabulary_file_by_name(features.CATEGORY_VOCABULARY)
        found = export_servable(
            model,
            vocabularies.vocabulary_file_by_name(features.ITEM_VOCABULARY),
            category_vocabulary,
            servable,
            vocabularies.vocabulary_file_by_name(features.PROFILE_VOCABULARY) if model.profile else None,
            progress=lambda what: print(f"    {what}", flush=True))
        index_facts.write(index_facts.of(found, kind=model.settings.retrieval.index, items=model.items,
                                         category_vocabulary=category_vocabulary, servable=servable), artifact)
