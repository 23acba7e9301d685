"""TensorFlow without an index: every item is scored, those of other categories are masked."""

import numpy as np
import tensorflow as tf

from benchmarks.ann.catalog import Catalog
from benchmarks.ann.index import Search

_AT_ONCE = 10  # pairs, whose scores are [10, V]


class MaskedMatmul:
    """Exact."""

    def __init__(self, catalog: Catalog):
        self._vectors, self._category = tf.constant(catalog.vectors), tf.constant(catalog.category)
        self._graph = tf.function(self._search)

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        parts = [(tf.constant(query[start:start + _AT_ONCE]), tf.constant(category[start:start + _AT_ONCE]), k)
                 for start in range(0, len(query), _AT_ONCE)]
        return lambda: tf.concat([self._graph(*part) for part in parts], axis=0)

    def nbytes(self) -> int:
        return self._vectors.numpy().nbytes + self._category.numpy().nbytes

    def _search(self, query: tf.Tensor, category: tf.Tensor, k: int) -> tf.Tensor:
        score = tf.where(self._category == category[:, None], tf.matmul(query, self._vectors, transpose_b=True),
                         float("-inf"))
        best = tf.math.top_k(score, k)
        return tf.where(tf.math.is_finite(best.values), best.indices + 1, 0)
