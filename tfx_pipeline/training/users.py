"""The users that are trained on, and those whose newest basket measures the training."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from ulim_tf import data
from ulim_tf.config import FeaturesConfig

_AT_ONCE = 1024
_MOST_HELD_OUT = 5  # one of so many users at the most

Read = TypeVar("Read")


class Events(NamedTuple):
    """Events of U' users in time order: how many of each int64 [U'], their items and their timestamps int64 [n]."""

    lengths: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray


class TrainingUsers:
    """Users in files; a seeded sample of them keeps the newest basket from everything that is trained.

    Args:
        files: gzipped TFRecord files of transformed users, split `train`.
        items: V.
        config: what they have.
        validation_users: how many keep a basket; a fifth of the users at the most, and only those of two baskets.
        seed: of the sample.

    Attributes:
        held_out: bool [users], in the order of the files: who keeps their newest basket.
        baskets: how many baskets with a target are left to train on.
    """

    def __init__(self, files: Sequence[str], items: int, config: FeaturesConfig, validation_users: int, seed: int):
        self.files, self._items, self._targets, self._spec = files, items, config.targets, data.stored_spec(config)
        self._records = tf.data.TFRecordDataset(list(files), "GZIP")
        baskets = np.concatenate([np.zeros(0, np.int64), *(
            self._stored(batch).baskets().numpy() for batch in self._records.batch(_AT_ONCE))])
        able = np.flatnonzero(baskets > 1)
        count = min(validation_users, len(baskets) // _MOST_HELD_OUT, len(able))
        self.held_out = np.zeros(len(baskets), bool)
        self.held_out[np.random.default_rng(seed).choice(able, count, replace=False)] = True
        self.baskets = int(baskets.sum() - self.held_out.sum())

    def events(self, read: Callable[[Events], Read]) -> Iterable[Read]:
        """What `read` makes of the users' events before a basket that is kept, as often as one iterates."""
        return _Again(lambda: map(read, self._events()))

    def validation(self, shard: tuple[int, int]) -> data.StoredUsers:
        """The i-th of n parts (i, n) of the users who keep a basket, whole."""
        kept = self._with_held_out().filter(lambda _, held: held).map(lambda user, _: user).shard(shard[1], shard[0])
        return self._stored(list(kept.as_numpy_iterator()))

    def _events(self) -> Iterator[Events]:
        for batch, held in self._with_held_out().batch(_AT_ONCE):
            users = self._stored(batch)
            kept, end = np.flatnonzero(held), users.lengths().numpy()
            end[kept] = users.basket_start(kept, users.baskets().numpy()[kept] - 1).numpy()
            yield Events(*(values.numpy() for values in users.events_before(tf.constant(end))))

    def _with_held_out(self) -> tf.data.Dataset:
        return tf.data.Dataset.zip((self._records, tf.data.Dataset.from_tensor_slices(self.held_out)))

    def _stored(self, serialized: tf.Tensor | list[bytes]) -> data.StoredUsers:
        serialized = tf.reshape(tf.constant(serialized, tf.string), [-1])
        return data.StoredUsers(tf.io.parse_example(serialized, self._spec), self._items, self._targets)


class _Again(Generic[Read]):
    """Iterates over a new iterator each time."""

    def __init__(self, begin: Callable[[], Iterator[Read]]):
        self._begin = begin

    def __iter__(self) -> Iterator[Read]:
        return self._begin()
