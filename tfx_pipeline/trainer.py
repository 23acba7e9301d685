"""The Trainer step: transformed users -> a trained `UlimModel` in one `.keras` file."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import math
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from ulim_tf import co_purchase, data, features
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

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
    catalog = read_catalog(tf.io.gfile.glob(catalog_pattern), items, bool(config.features.item_content))

    keras.utils.set_random_seed(config.training.seed)
    sizes = {}
    if catalog.item_content is not None:
        sizes |= {"content": vocabularies.vocabulary_size_by_name(features.CONTENT_VOCABULARY),
                  "tokens": catalog.item_content.shape[1]}
    if config.features.user_profile:
        sizes["profile"] = vocabularies.vocabulary_size_by_name(features.PROFILE_VOCABULARY)
    model = UlimModel(config, items, categories, **sizes)
    model.set_catalog(*catalog)
    train_files = sorted(tf.io.gfile.glob(train_pattern))
    popularity = data.popularity(
        _Users(train_files, lambda item, timestamp: (item.flat_values.numpy(), timestamp.flat_values.numpy())), items,
        config.training.recent_days)
    model.set_popularity(popularity.ever)
    if config.model.item_vectors != "learned":
        purchases = co_purchase.count(
            _Users(train_files, lambda item, _: (item.row_lengths().numpy(), item.flat_values.numpy())), items)
        model.set_item_vectors(co_purchase.item_vectors(purchases, config.model.width, config.training.seed))
    model.compile()
    dataset = data.training_dataset(train_files, tf.constant(catalog.item_category), config.history, config.training,
                                    config.features)
    every = math.ceil(fn_args.train_steps / _REPORTS)
    model.fit(dataset, steps_per_epoch=fn_args.train_steps, verbose=0, callbacks=[
        _StopAtNaN(config.training.learning_rate), _Progress(every),
        keras.callbacks.TensorBoard(fn_args.model_run_dir, write_graph=False, update_freq=every)])
    model.follow_popularity(*popularity)
    tf.io.gfile.makedirs(fn_args.serving_model_dir)
    model.save(os.path.join(fn_args.serving_model_dir, MODEL_FILE))


class Catalog(NamedTuple):
    """What `UlimModel.set_catalog` takes: int64 [V + 1], and int64 [V + 1, P] or None without content."""

    item_category: np.ndarray
    item_content: np.ndarray | None


def read_catalog(files: list[str], items: int, with_content: bool) -> Catalog:
    """The category and the content of each item, from transformed catalogue examples.

    Args:
        files: gzipped TFRecord files of the split `catalog`.
        items: V.
        with_content: whether the examples have tokens of items.

    Returns:
        Index 0, the unknown item, is in category 0 and has no tokens.
    """
    names = [features.CATALOG_ITEM, features.CATALOG_CATEGORY]
    if with_content:
        names += [features.CATALOG_CONTENT, features.CATALOG_CONTENT_LENGTH]
    spec = {name: tf.io.RaggedFeature(tf.int64) for name in names}
    chunks = [{name: values.numpy() for name, values in tf.io.parse_single_example(record, spec).items()}
              for record in tf.data.TFRecordDataset(files, "GZIP")]
    item = np.concatenate([chunk[features.CATALOG_ITEM] for chunk in chunks])
    item_category = np.zeros(items + 1, np.int64)
    item_category[item] = np.concatenate([chunk[features.CATALOG_CATEGORY] for chunk in chunks])
    item_category[features.UNKNOWN] = features.UNKNOWN
    if not with_content:
        return Catalog(item_category, None)
    length = np.concatenate([chunk[features.CATALOG_CONTENT_LENGTH] for chunk in chunks])
    place = np.arange(max(length.max(), 1)) < length[:, None]
    tokens = np.zeros(place.shape, np.int64)
    tokens[place] = np.concatenate([chunk[features.CATALOG_CONTENT] for chunk in chunks])
    item_content = np.zeros((items + 1, tokens.shape[1]), np.int64)
    item_content[item] = tokens
    item_content[features.UNKNOWN] = 0
    return Catalog(item_category, item_content)


class _Users:
    """What `read` makes of the items and timestamps [U', L] of users in files, batch by batch, as often as one asks."""

    def __init__(self, files: list[str],
                 read: Callable[[tf.RaggedTensor, tf.RaggedTensor], tuple[np.ndarray, np.ndarray]]):
        self._users, self._read = tf.data.TFRecordDataset(files, "GZIP").batch(1024), read

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        names = (features.EVENT_ITEM, features.EVENT_TIMESTAMP)
        for batch in self._users:
            users = tf.io.parse_example(batch, {name: tf.io.RaggedFeature(tf.int64) for name in names})
            yield self._read(*(users[name] for name in names))


class _StopAtNaN(keras.callbacks.Callback):
    """Raises at the first step whose loss is not a number: nothing after it is worth computing or saving."""

    def __init__(self, learning_rate: float):
        super().__init__()
        self._learning_rate = learning_rate

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise RuntimeError(f"the training loss is not a number any more, at step {batch + 1:,}. "
                               f"Lower training.learning_rate ({self._learning_rate}).")


class _Progress(keras.callbacks.Callback):
    """Prints how far, how fast, and the mean losses since the last report."""

    def __init__(self, every: int):
        super().__init__()
        self._every = every

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._start = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if (batch + 1) % self._every and batch + 1 != self.params["steps"]:
            return
        losses = ", ".join(f"{name} {logs[f'{name}_loss']:.3f}" for name in self.model.loss_parts)
        print(f"    step {batch + 1:,} of {self.params['steps']:,}, {time.monotonic() - self._start:.0f} s, "
              f"mean losses: {losses}", flush=True)
        self.model.reset_metrics()
