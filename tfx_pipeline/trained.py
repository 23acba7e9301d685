"""What training left, kept beside a servable: the model and the vocabularies that number its rows.

    <artifact>/Format-Serving/   the SavedModel
    <artifact>/trained/          model.keras, and a text file for each vocabulary: line i (from 1) is the id of row i
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import os
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras
from tfx import types
from tfx.types import artifact_utils
from tfx.utils import path_utils

from ulim_tf.model import UlimModel

MODEL_FILE = "model.keras"

_FOLDER = "trained"


class Trained(NamedTuple):
    """A model with the ids of its rows 1.., by the name of the vocabulary."""

    model: UlimModel
    vocabularies: dict[str, list[bytes]]


def write(servable: str, model: str, vocabulary_files: Mapping[str, str]) -> None:
    """Copies what training left to beside a servable.

    Args:
        servable: the folder of the SavedModel.
        model: the `.keras` file.
        vocabulary_files: vocabulary -> its text file.
    """
    folder = folder_of(servable)
    tf.io.gfile.makedirs(folder)
    for name, file in {MODEL_FILE: model, **vocabulary_files}.items():
        tf.io.gfile.copy(file, os.path.join(folder, name), overwrite=True)


def read(servable: str) -> Trained | None:
    """Reads what `write` copied; None if a servable has nothing beside it."""
    folder, model = folder_of(servable), model_file(servable)
    if not tf.io.gfile.exists(model):
        return None
    vocabularies = {}
    for name in set(tf.io.gfile.listdir(folder)) - {MODEL_FILE}:
        with tf.io.gfile.GFile(os.path.join(folder, name), "rb") as lines:
            vocabularies[name] = lines.read().removesuffix(b"\n").split(b"\n")
    return Trained(keras.models.load_model(model, compile=False), vocabularies)


def trainers_file(model: list[types.Artifact]) -> str:
    """The `.keras` file in the artifact of the Trainer."""
    return os.path.join(path_utils.serving_model_dir(artifact_utils.get_single_uri(model)), MODEL_FILE)


def folder_of(servable: str) -> str:
    """The folder beside the SavedModel's."""
    return os.path.join(os.path.dirname(servable.rstrip("/")), _FOLDER)


def model_file(servable: str) -> str:
    """The `.keras` file in that folder."""
    return os.path.join(folder_of(servable), MODEL_FILE)
