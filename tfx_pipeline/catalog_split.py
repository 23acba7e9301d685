"""The split `catalog` of stored examples, read back."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from ulim_tf import features


class Item(NamedTuple):
    """An item of the catalogue, as it was before Transform: its id, its category, and its title, which may be empty."""

    item_id: bytes
    category_id: bytes
    title: bytes


def items(files: Sequence[str]) -> Iterator[Item]:
    """The items of gzipped TFRecord files of the split, as before Transform."""
    for record in tf.data.TFRecordDataset(list(files), "GZIP").as_numpy_iterator():
        stored = tf.train.Example.FromString(record).features.feature
        columns = [stored[name].bytes_list.value for name in (
            features.CATALOG_ITEM, features.CATALOG_CATEGORY, features.CATALOG_TITLE)]
        yield from itertools.starmap(Item, itertools.zip_longest(*columns, fillvalue=b""))  # titles may be none at all


def item_categories(files: Sequence[str]) -> dict[bytes, bytes]:
    """Item id -> category id.

    Args:
        files: as of `items`.
    """
    return {item.item_id: item.category_id for item in items(files)}
