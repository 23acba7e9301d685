"""Replaces the random negatives of training by fixed ones, so that a loss and its gradient can be compared exactly."""

import math
from collections.abc import Callable

import tensorflow as tf

import ulim_tf.model
from ulim_tf.sampling import CategorySampler


def use_all_items(items: int, replace: Callable[[object, str, object], None] = setattr) -> None:
    """The whole-pool softmax goes over all items; the in-category one over a category's items, in turn."""
    def draw(self: CategorySampler, category: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.maximum(tf.gather(self._size, category)[..., None], 1)
        place = tf.gather(self._start, category)[..., None] + tf.range(count, dtype=tf.int64) % size
        return tf.gather(self._items, place), math.log(count) - tf.math.log(tf.cast(size, tf.float32))

    def draw_from_pool(*_: int) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.range(1, items + 1, dtype=tf.int64), tf.zeros([items])

    replace(CategorySampler, "draw", draw)
    replace(ulim_tf.model, "draw_from_pool", draw_from_pool)
