"""Why items were answered: where their categories' probabilities come from, and which events spoke for them."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import tensorflow as tf

from serving.cascade import Categories, User
from ulim_tf import history
from ulim_tf.config import HistoryConfig
from ulim_tf.model import LongInterests
from ulim_tf.padding import padded, places

_EVENTS = 5


class Explanation(NamedTuple):
    """Of R items of B users; 0 throughout where there is no item, and of events where there is none."""

    copied: tf.Tensor  # float32 [B, R], of the category's probability
    generated: tf.Tensor  # float32 [B, R]
    item_id: tf.Tensor  # string [B, R, E], as asked, weightiest first; "" where there is none
    timestamp: tf.Tensor  # int64 [B, R, E], unix seconds
    weight: tf.Tensor  # float32 [B, R, E], of the attention over the category's subsequence, which sums to 1


def explain(user: User, categories: Categories, long: LongInterests, item_category: tf.Tensor, item_id: tf.Tensor,
            config: HistoryConfig) -> Explanation:
    """Explains an answer.

    Args:
        user: who asked.
        categories: that were searched.
        long: what they say.
        item_category: int64 [B, R], the category of each item; 0 where there is no item.
        item_id: string [B, L'], what the user's events were asked as.
        config: gives M.
    """
    probability, copied = (tf.gather(part, item_category, batch_dims=1) for part in user.prediction)
    users, columns = tf.unstack(tf.shape(categories.category))

    event = places(long.owner, tf.cast(users * columns, tf.int64), config.subsequence)
    weight, best = tf.math.top_k(padded(long.attention, event, -1.0), min(_EVENTS, config.subsequence))
    place, timestamp = (tf.reshape(values, [-1, config.subsequence])
                        for values in history.subsequence_events(user.rows, categories.category, config))
    here = (categories.category[:, None, :] == item_category[:, :, None]) & (item_category > 0)[:, :, None]
    column = tf.argmax(tf.cast(here, tf.int32), axis=2)
    searched = tf.reduce_any(here, axis=2)[:, :, None]

    def of_item(values: tf.Tensor) -> tf.Tensor:
        there = tf.where(weight < 0.0, tf.zeros([], values.dtype), values)
        by_user = tf.reshape(there, [users, columns, weight.shape[1]])
        return tf.where(searched, tf.gather(by_user, column, batch_dims=1), tf.zeros([], values.dtype))

    from_one = of_item(tf.gather(place, best, batch_dims=1) + 1)
    nothing_and_ids = tf.pad(item_id, [[0, 0], [1, 0]], constant_values="")
    return Explanation(copied, probability - copied, tf.gather(nothing_and_ids, from_one, batch_dims=1),
                       of_item(tf.gather(timestamp, best, batch_dims=1)), of_item(weight))
