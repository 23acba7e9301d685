"""The split `catalog` of stored examples, read back."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Sequence

import tensorflow as tf

from ulim_tf import features


def item_categories(files: Sequence[str]) -> dict[bytes, bytes]:
    """Item id -> category id.

    Args:
        files: gzipped TFRecord files of the split, as before Transform.
    """
    return _by_item(files, features.CATALOG_CATEGORY)


def item_titles(files: Sequence[str]) -> dict[bytes, bytes]:
    """Item id -> what people call it, empty where the catalogue does not say; `files` as of `item_categories`."""
    return _by_item(files, features.CATALOG_TITLE)


def _by_item(files: Sequence[str], feature: str) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for record in tf.data.TFRecordDataset(list(files), "GZIP").as_numpy_iterator():
        stored = tf.train.Example.FromString(record).features.feature
        values.update(zip(stored[features.CATALOG_ITEM].bytes_list.value, stored[feature].bytes_list.value))
    return values
