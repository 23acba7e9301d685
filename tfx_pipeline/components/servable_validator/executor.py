"""Does the work of ServableValidator."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
import os
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from tfx_pipeline import servables
from tfx_pipeline.catalog_split import item_categories
from tfx_pipeline.components.servable_validator import validation
from tfx_pipeline.config import PushConfig
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

MODEL, EXAMPLES, BLESSING = "model", "examples", "blessing"
FEATURES, LOAD_SECONDS, LATENCY_BUDGET_MS = "features", "load_seconds", "latency_budget_ms"


class Executor(base_executor.BaseExecutor):
    """Validates the servables, and marks the blessing as TFX's InfraValidator does, which its Pusher reads."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class. One that is not blessed is no error: it is told, and nothing will be pushed."""
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING])
        files = tf.io.gfile.glob(
            os.path.join(artifact_utils.get_split_uri(input_dict[EXAMPLES], features.SPLIT_CATALOG), "*"))
        config = PushConfig(load_seconds=exec_properties[LOAD_SECONDS],
                            latency_budget_ms=exec_properties[LATENCY_BUDGET_MS])
        found = validation.validate_all(
            servables.found(artifact_utils.get_single_uri(input_dict[MODEL])),
            FeaturesConfig(**json.loads(exec_properties[FEATURES])), item_categories(sorted(files)).items, config,
            progress=lambda what: print(f"    {what}", flush=True))
        for fault in found.faults():
            print(f"    not blessed: {fault}", flush=True)
        validation.write(found, blessing.uri)
        _mark(blessing, found.blessed)


def _mark(blessing: types.Artifact, blessed: bool) -> None:
    """Says in an InfraBlessing whether the servable may be pushed."""
    io_utils.write_string_file(os.path.join(blessing.uri, "INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED"), "")
    blessing.set_int_custom_property("blessed", int(blessed))
