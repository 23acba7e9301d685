"""Negative sampling with known probabilities: inside a category, or from the whole pool."""

import numpy as np
import tensorflow as tf
import tf_keras as keras

_SHUFFLE_SEED = 17


class CategorySampler(keras.layers.Layer):
    """Draws distinct items of a category, each as probable as the others.

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
        """Takes int [V + 1], the category of each item; index 0 is the unknown item."""
        size = np.bincount(item_category[1:], minlength=self.categories + 1)
        shuffled = np.random.default_rng(_SHUFFLE_SEED).permutation(len(item_category) - 1)
        self._items.assign(1 + shuffled[np.argsort(item_category[1:][shuffled], kind="stable")])
        self._size.assign(size)
        self._start.assign(np.cumsum(size) - size)

    def draw(self, category: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """All items of each category where it has no more than `count`, else `count` by chance.

        They lie side by side in the category's shuffled list, so no item is drawn twice.

        Args:
            category: int64 [c].
            count: n.

        Returns:
            items int64 [c, n], which of them were drawn bool [c, n], and log(n * Q) float32 [c], 0 for all items.
        """
        size = tf.gather(self._size, category)
        first = tf.cast(tf.random.uniform(tf.shape(size), dtype=tf.float64) * tf.cast(size, tf.float64), tf.int64)
        step = tf.range(count, dtype=tf.int64)
        place = tf.gather(self._start, category)[:, None] + (first[:, None] + step) % tf.maximum(size, 1)[:, None]
        drawn = tf.minimum(size, count)
        log_expected = tf.math.log(tf.cast(drawn, tf.float32) / tf.cast(tf.maximum(size, 1), tf.float32))
        return tf.gather(self._items, place), step < drawn[:, None], log_expected


def draw_from_pool(items: int, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Distinct items, the frequent ones more often (items are numbered by falling frequency, 1 the most frequent).

    Args:
        items: V.
        count: n; V or more draw every item once.

    Returns:
        items int64 [n] and log(expected count) float32 [n].
    """
    if count >= items:
        return tf.range(1, items + 1, dtype=tf.int64), tf.zeros([items])
    drawn, _, expected = tf.random.log_uniform_candidate_sampler(
        tf.zeros([1, 1], tf.int64), num_true=1, num_sampled=count, unique=True, range_max=items)
    return drawn + 1, tf.math.log(expected)
