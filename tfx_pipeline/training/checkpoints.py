"""Where an interrupted training goes on: checkpoints under a key of all that it is trained on."""

import ulim_tf  # isort: skip  selects Keras 2 before TensorFlow is imported

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

_FOLDER = "checkpoints"
_NAME, _INDEX = "ckpt", ".index"
_KEPT = 2  # the one before the newest is there in case that is damaged


def folder(model_run: str, config: dict[str, Any], files: Iterable[str]) -> str:
    """The folder of this training's checkpoints, the same for every execution that would train the same.

    Args:
        model_run: the execution's artifact of logs, <step>/<output>/<execution>; what is returned is
            <step>/checkpoints/<key>.
        config: the settings.
        files: everything else that decides what comes out; a file that was written anew counts as another.
    """
    read = [(file, found.length, found.mtime_nsec)
            for file in sorted(files) for found in [tf.io.gfile.stat(file)]]
    key = hashlib.sha256(json.dumps([ulim_tf.__version__, config, read], sort_keys=True).encode()).hexdigest()
    step = os.path.dirname(os.path.dirname(model_run.rstrip("/")))
    return os.path.join(step, _FOLDER, key[:16])


class Checkpoints:
    """Writes and restores variables in one folder.

    A checkpoint counts from the moment its index is in place, which TensorFlow renames there last but for its list of
    checkpoints: that is not asked, so that a training killed between the two loses nothing.

    Args:
        directory: of all checkpoints of this training.
        writes: whether this process writes and removes them, or only restores.
        variables: name -> variables; the same at every restart.
    """

    def __init__(self, directory: str, writes: bool, **variables: Sequence[tf.Variable]):
        self._directory, self._writes = directory, writes
        self._checkpoint = tf.train.Checkpoint(**{name: list(some) for name, some in variables.items()})
        _ = self._checkpoint.save_counter  # made now: the one worker that writes would make it alone, and wait for all
        self._manager = (tf.train.CheckpointManager(self._checkpoint, directory, _KEPT, checkpoint_name=_NAME)
                         if writes else None)

    def restore(self) -> str | None:
        """Restores the newest readable checkpoint; its path, or None where there is none and nothing is changed."""
        indexes = tf.io.gfile.glob(os.path.join(self._directory, f"{_NAME}-*{_INDEX}"))
        for path in sorted((index.removesuffix(_INDEX) for index in indexes), key=_step, reverse=True):
            if _readable(path):
                self._checkpoint.restore(path).assert_consumed()
                return path
            print(f"    checkpoint {path} cannot be read and is passed over", flush=True)
        return None

    def write(self, step: int) -> None:
        """Writes the variables as they are after `step` steps."""
        if self._manager:
            self._manager.save(checkpoint_number=step)

    def remove(self) -> None:
        """Removes all checkpoints: the training is finished."""
        if self._writes and tf.io.gfile.exists(self._directory):
            tf.io.gfile.rmtree(self._directory)


def _step(path: str) -> int:
    return int(path.rpartition("-")[2])


def _readable(path: str) -> bool:
    """Whether every tensor is there and has its checksum."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError):  # the last where a file is cut short
        return False
    return True
