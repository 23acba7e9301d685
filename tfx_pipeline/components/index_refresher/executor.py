"""Does the work of IndexRefresher."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from serving.refresh import Catalog, Vocabularies, refresh_servables
from tfx_pipeline import catalog_split, rare_items, servables, trained
from tfx_pipeline.components.index_builder.executor import held_out_histories
from tfx_pipeline.components.index_refresher import report
from ulim_tf import features

MODEL, TRANSFORM_GRAPH, CATALOG, EXAMPLES = "model", "transform_graph", "catalog", "examples"
SERVABLES, SERVABLE, REPORT = "servables", "servable", "report"


class Executor(base_executor.BaseExecutor):
    """Exports servables of the model with another catalogue."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class.

        Raises:
            ValueError, RuntimeError: as `refresh_servables`.
        """
        model = keras.models.load_model(trained.trainers_file(input_dict[MODEL]), compile=False)
        output = tft.TFTransformOutput(artifact_utils.get_single_uri(input_dict[TRANSFORM_GRAPH]))
        item, category, content, profile = map(output.vocabulary_file_by_name, (
            features.ITEM_VOCABULARY, features.CATEGORY_VOCABULARY, features.CONTENT_VOCABULARY,
            features.PROFILE_VOCABULARY))
        refreshed = refresh_servables(
            model, Vocabularies(item, category, content, profile, rare_items.rare_vocabulary(output)),
            _catalog(input_dict[CATALOG], bool(model.content)),
            servables.folders(artifact_utils.get_single_uri(output_dict[SERVABLE]),
                              json.loads(exec_properties[SERVABLES])),
            lambda what: print(f"    {what}", flush=True),
            held_out_histories(input_dict[EXAMPLES], model.settings.features))
        report.write(refreshed, artifact_utils.get_single_uri(output_dict[REPORT]))


def _catalog(examples: list[types.Artifact], with_content: bool) -> Catalog:
    files = tf.io.gfile.glob(f"{artifact_utils.get_split_uri(examples, features.SPLIT_CATALOG)}/*")
    items = list(catalog_split.items(sorted(files)))
    item_id, category_id, content = (np.array([getattr(item, name) for item in items], object)
                                     for name in ("item_id", "category_id", "content"))
    return Catalog(item_id, category_id, content if with_content else None)
