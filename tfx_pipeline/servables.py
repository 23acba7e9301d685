"""Where the servables of a run are in the artifact of the IndexBuilder.

    <artifact>/Format-Serving/       ulim, where TFX's components look for a model
    <artifact>/servables/<name>/     each other that `serving.servables` names
"""

import os
from collections.abc import Iterable

import tensorflow as tf
from tfx.utils import path_utils

from serving.contract import MODEL_NAME

_FOLDER = "servables"


def folders(artifact: str, names: Iterable[str]) -> dict[str, str]:
    """The SavedModel of each servable in an artifact, by name."""
    return {name: path_utils.serving_model_dir(artifact) if name == MODEL_NAME else
            os.path.join(artifact, _FOLDER, name) for name in names}


def found(artifact: str) -> dict[str, str]:
    """The folders of those that there are, `ulim` first."""
    others = os.path.join(artifact, _FOLDER)
    names = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(others)) if tf.io.gfile.isdir(others) else []
    return folders(artifact, [MODEL_NAME, *names])
