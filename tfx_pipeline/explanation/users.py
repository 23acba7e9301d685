"""A user of a run, looked up in its examples."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving.client import History
from serving.histories import read_user
from tfx_pipeline.explanation.subject import Event
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

_NAMED = 3


class StoredUser(NamedTuple):
    """A user as the run knows them.

    Attributes:
        history: what a client would send.
        events: the same, with categories and baskets.
        next_basket: items held out; None of a user that was not held out.
    """

    history: History
    events: list[Event]
    next_basket: list[str] | None


def find(user_id: str, held_out: Sequence[str], everyone: Sequence[str], config: FeaturesConfig) -> StoredUser:
    """Looks a user up, first among those that were held out.

    Args:
        user_id: as in the log.
        held_out: gzipped TFRecord files of the split `eval`, as before Transform.
        everyone: those of the split `train`.
        config: that the examples were made with.

    Raises:
        ValueError: there is no such user; the message names some that there are.
    """
    known: dict[str, None] = {}
    for files in (held_out, everyone):
        for record in _records(files):
            # A look at the bytes spares the parsing of nearly all.
            if len(known) < _NAMED or user_id.encode() in record:
                found = tf.train.Example.FromString(record).features.feature
                name = found[features.USER_ID].bytes_list.value[0].decode()
                if name == user_id:
                    return read(record, config)
                known[name] = None
    listed = ", ".join(list(known)[:_NAMED]) or "none"
    raise ValueError(f"--user must be a user_id of the log with events before the held-out days, got {user_id!r}. "
                     f"Some that there are: {listed}.")


def read(example: bytes, config: FeaturesConfig) -> StoredUser:
    """A user from a serialized tf.Example of the split `train` or `eval`."""
    stored = tf.train.Example.FromString(example).features.feature
    history = read_user(example, config).history
    by_time = np.argsort(stored[features.EVENT_RANK].int64_list.value)
    category = np.repeat(np.array(list(stored[features.CATEGORY].bytes_list.value), object),
                         np.array(stored[features.CATEGORY_LENGTH].int64_list.value, np.int64))[by_time]
    start = np.array(stored[features.EVENT_BASKET_START].int64_list.value, np.int64)[by_time]
    _, basket = np.unique(start, return_inverse=True)
    events = [Event(item, of.decode(), timestamp, number) for item, of, timestamp, number in zip(
        history.item_ids, category, history.timestamps, basket.tolist())]
    target = stored[features.TARGET_ITEM].bytes_list.value
    return StoredUser(history, events, [item.decode() for item in target] or None)


def _records(files: Sequence[str]) -> Iterator[bytes]:
    return tf.data.TFRecordDataset(list(files), "GZIP").as_numpy_iterator()
