"""The catalogue that a model is trained with, from transformed examples."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ulim_tf import features


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
        Index 0, the unknown item, is in category 0 and has no tokens. Items without a row of their own are left out.
    """
    names = [features.CATALOG_ITEM, features.CATALOG_CATEGORY]
    if with_content:
        names += [features.CATALOG_CONTENT, features.CATALOG_CONTENT_LENGTH]
    spec = {name: tf.io.RaggedFeature(tf.int64) for name in names}
    chunks = [{name: values.numpy() for name, values in tf.io.parse_single_example(record, spec).items()}
              for record in tf.data.TFRecordDataset(files, "GZIP")]
    item = np.concatenate([chunk[features.CATALOG_ITEM] for chunk in chunks])
    own = (item != features.UNKNOWN) & (item <= items)
    item_category = np.zeros(items + 1, np.int64)
    item_category[item[own]] = np.concatenate([chunk[features.CATALOG_CATEGORY] for chunk in chunks])[own]
    if not with_content:
        return Catalog(item_category, None)
    length = np.concatenate([chunk[features.CATALOG_CONTENT_LENGTH] for chunk in chunks])
    place = np.arange(max(length.max(), 1)) < length[:, None]
    tokens = np.zeros(place.shape, np.int64)
    tokens[place] = np.concatenate([chunk[features.CATALOG_CONTENT] for chunk in chunks])
    item_content = np.zeros((items + 1, tokens.shape[1]), np.int64)
    item_content[item[own]] = tokens[own]
    return Catalog(item_category, item_content)
