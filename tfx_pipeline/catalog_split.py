"""The split `catalog` of stored examples, read back."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from ulim_tf import features


class Item(NamedTuple):
    """An item of the catalogue, as it was before Transform; title and content may be empty."""

    item_id: bytes
    category_id: bytes
    title: bytes
    content: bytes  # its tokens, as `features.split_tokens` takes them apart


def items(files: Sequence[str]) -> Iterator[Item]:
    """The items of gzipped TFRecord files of the split, as before Transform."""
    for record in tf.data.TFRecordDataset(list(files), "GZIP").as_numpy_iterator():
        stored = tf.train.Example.FromString(record).features.feature
        columns = [stored[name].bytes_list.value for name in (
            features.CATALOG_ITEM, features.CATALOG_CATEGORY, features.CATALOG_TITLE)]
        tokens = iter(stored[features.CATALOG_CONTENT].bytes_list.value)
        content = (features.BETWEEN_TOKENS.encode().join(itertools.islice(tokens, length))
                   for length in stored[features.CATALOG_CONTENT_LENGTH].int64_list.value)
        # Titles and content may be none at all.
        yield from itertools.starmap(Item, itertools.zip_longest(*columns, content, fillvalue=b""))


def item_categories(files: Sequence[str]) -> dict[bytes, bytes]:
    """Item id -> category id.

    Args:
        files: as of `items`.
    """
    return {item.item_id: item.category_id for item in items(files)}
