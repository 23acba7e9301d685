"""The Trainer step: transformed users -> a trained `UlimModel` in one `.keras` file."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import math
import os
import time

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from ulim_tf import config as settings
from ulim_tf import data, features
from ulim_tf.model import UlimModel, make_optimizer

MODEL_FILE = "model.keras"

_REPORTS = 20  # progress lines of a run, and points of its TensorBoard curves


def run_fn(fn_args: FnArgs) -> None:
    """Trains for `fn_args.train_steps` steps and saves the model.

    Args:
        fn_args: of TFX. `train_files` are the patterns of the splits `train` and `catalog`, in this order;
            `custom_config` is the mapping `to_dict` makes of a `UlimConfig`.

    Raises:
        RuntimeError: the loss stopped being a number.
    """
    config = settings.from_dict(settings.UlimConfig, fn_args.custom_config)
    train_pattern, catalog_pattern = fn_args.train_files
    vocabularies = tft.TFTransformOutput(fn_args.transform_output)
    items = vocabularies.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    categories = vocabularies.vocabulary_size_by_name(features.CATEGORY_VOCABULARY)
    item_category = read_item_category(tf.io.gfile.glob(catalog_pattern), items)

    keras.utils.set_random_seed(config.training.seed)
    model = UlimModel(config, items, categories)
    model.set_catalog(item_category)
    model.compile(optimizer=make_optimizer(model))
    dataset = data.training_dataset(sorted(tf.io.gfile.glob(train_pattern)), tf.constant(item_category),
                                    config.history, config.training)
    steps_per_report = max(fn_args.train_steps // _REPORTS, 1)
    model.fit(dataset, steps_per_epoch=steps_per_report, epochs=math.ceil(fn_args.train_steps / steps_per_report),
              verbose=0, callbacks=[_Progress(), keras.callbacks.TerminateOnNaN(),
                                    keras.callbacks.TensorBoard(fn_args.model_run_dir, write_graph=False)])
    if not math.isfinite(model.history.history["loss"][-1]):
        raise RuntimeError("the training loss is not a number any more. Lower training.learning_rate "
                           f"({config.training.learning_rate}) or training.embedding_learning_rate "
                           f"({config.training.embedding_learning_rate}).")
    model.save(os.path.join(fn_args.serving_model_dir, MODEL_FILE))


def read_item_category(files: list[str], items: int) -> np.ndarray:
    """The category of each item, from transformed catalogue examples.

    Args:
        files: gzipped TFRecord files of the split `catalog`.
        items: V.

    Returns:
        int64 [V + 1]; index 0, the unknown item, is in category 0.
    """
    spec = {name: tf.io.FixedLenFeature([], tf.int64) for name in (features.CATALOG_ITEM, features.CATALOG_CATEGORY)}
    item_category = np.zeros(items + 1, np.int64)
    for rows in tf.data.TFRecordDataset(files, "GZIP").batch(8192).map(lambda batch: tf.io.parse_example(batch, spec)):
        item_category[rows[features.CATALOG_ITEM]] = rows[features.CATALOG_CATEGORY]
    item_category[features.UNKNOWN] = features.UNKNOWN
    return item_category


class _Progress(keras.callbacks.Callback):
    """A line for each report: how far, how fast, and the losses."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        done, total = (epoch + 1) * self.params["steps"], self.params["epochs"] * self.params["steps"]
        seconds = time.monotonic() - self._start
        parts = ", ".join(f"{name} {logs[f'{name}_loss']:.3f}" for name in ("long", "short", "category"))
        print(f"    step {done:,} of {total:,} in {seconds:.0f} s: loss {logs['loss']:.3f} of the last batch; "
              f"means: {parts}", flush=True)
