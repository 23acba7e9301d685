"""Why items were answered: where their categories' probabilities come from, and which events spoke for them."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import tensorflow as tf

from serving.cascade import Categories, User
from ulim_tf import history
from ulim_tf.config import HistoryConfig
from ulim_tf.model import LongInterests

_EVENTS = 5


class Explanation(NamedTuple):
    """Of R items of B users; 0 throughout where there is no item, and of events where there is none."""

    copied: tf.Tensor  # float32 [B, R], of the category's probability
    generated: tf.Tensor  # float32 [B, R]
    item: tf.Tensor  # int64 [B, R, E], weightiest first
    timestamp: tf.Tensor  # int64 [B, R, E], unix seconds
    weight: tf.Tensor  # float32 [B, R, E], of the attention over the category's subsequence, which sums to 1


def explain(user: User, categories: Categories, long: LongInterests, item_category: tf.Tensor,
            config: HistoryConfig) -> Explanation:
    """Explains an answer.

    Args:
        user: who asked.
        categories: that were searched.
        long: what they say.
        item_category: int64 [B, R], the category of each item; 0 where there is no item.
        config: gives M.
    """
    probability, copied = (tf.gather(part, item_category, batch_dims=1) for part in user.prediction)
    users, columns = tf.unstack(tf.shape(categories.category))

    def of_subsequence(values: tf.Tensor, padding: float) -> tf.Tensor:
        rows = tf.RaggedTensor.from_value_rowids(values, long.owner, tf.cast(users * columns, tf.int64))
        return rows.to_tensor(padding, shape=[None, config.subsequence])

    weight, place = tf.math.top_k(of_subsequence(long.attention, -1.0), min(_EVENTS, config.subsequence))
    timestamp = tf.reshape(history.subsequence_timestamps(user.rows, categories.category, config),
                           [-1, config.subsequence])
    here = (categories.category[:, None, :] == item_category[:, :, None]) & (item_category > 0)[:, :, None]
    column = tf.argmax(tf.cast(here, tf.int32), axis=2)
    searched = tf.reduce_any(here, axis=2)[:, :, None]

    def of_item(values: tf.Tensor) -> tf.Tensor:
        there = tf.where(weight < 0.0, tf.zeros([], values.dtype), values)
        by_user = tf.reshape(there, [users, columns, weight.shape[1]])
        return tf.where(searched, tf.gather(by_user, column, batch_dims=1), tf.zeros([], values.dtype))

    return Explanation(copied, probability - copied,
                       of_item(tf.gather(of_subsequence(long.item, 0), place, batch_dims=1)),
                       of_item(tf.gather(timestamp, place, batch_dims=1)), of_item(weight))
