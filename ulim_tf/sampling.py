"""Negative sampling with known probabilities: inside a category, or from the whole pool."""

import math

import numpy as np
import tensorflow as tf
import tf_keras as keras


class CategorySampler(keras.layers.Layer):
    """Draws items uniformly from a category, with replacement.

    Args:
        items: V.
        categories: C.
    """

    def __init__(self, items: int, categories: int, **kwargs):
        super().__init__(**kwargs)
        self.items, self.categories = items, categories

    def build(self, _: tf.TensorShape) -> None:
        def table(name: str, rows: int) -> tf.Variable:
            return self.add_weight(name, [rows], tf.int64, initializer="zeros", trainable=False)

        self._items = table("items", self.items)
        self._size = table("size", self.categories + 1)
        self._start = table("start", self.categories + 1)
        super().build(_)

    def set_catalog(self, item_category: np.ndarray) -> None:
        """Sorts the items by category: int [V + 1], the category of each item; index 0 is the unknown item."""
        size = np.bincount(item_category[1:], minlength=self.categories + 1)
        self._items.assign(1 + np.argsort(item_category[1:], kind="stable"))
        self._size.assign(size)
        self._start.assign(np.cumsum(size) - size)

    def draw(self, category: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """`count` items of each category.

        Args:
            category: int64 [B, T]. An empty category (index 0) draws arbitrary items: mask its loss.
            count: n.

        Returns:
            items int64 [B, T, n] and log(n * Q) float32 [B, T, 1].
        """
        size = tf.gather(self._size, category)[..., None]
        shape = tf.concat([tf.shape(category), [count]], axis=0)
        place = tf.cast(tf.random.uniform(shape, dtype=tf.float64) * tf.cast(size, tf.float64), tf.int64)
        place = tf.gather(self._start, category)[..., None] + tf.minimum(place, tf.maximum(size - 1, 0))
        log_expected = math.log(count) - tf.math.log(tf.cast(tf.maximum(size, 1), tf.float32))
        return tf.gather(self._items, tf.minimum(place, self.items - 1)), log_expected


def draw_from_pool(items: int, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Distinct items, the frequent ones more often (items are numbered by falling frequency, 1 the most frequent).

    Args:
        items: V.
        count: n, at most V of which are drawn.

    Returns:
        items int64 [n] and log(expected count) float32 [n].
    """
    drawn, _, expected = tf.random.log_uniform_candidate_sampler(
        tf.zeros([1, 1], tf.int64), num_true=1, num_sampled=min(count, items), unique=True, range_max=items)
    return drawn + 1, tf.math.log(expected)
