"""ULIM's indexes, each behind one function that makes it from a catalogue."""

from functools import cache

import numpy as np
import tensorflow as tf

from benchmarks.ann.catalog import DIMENSIONS, Catalog
from benchmarks.ann.index import Search
from ulim_tf.retrieval.scann_index import ScannIndex

_QUERY, _CATEGORY = tf.TensorSpec([None, DIMENSIONS]), tf.TensorSpec([None], tf.int64)


def scann_exact(catalog: Catalog) -> "Ulim":
    return Ulim(ScannIndex(catalog.vectors, catalog.category, catalog.categories))


class Ulim:
    """An index of ULIM, called as a traced graph with tensors.

    Args:
        index: has `search` and `search_all` as `ScannIndex` has them.
    """

    def __init__(self, index: tf.Module):
        self._index = index
        self._graph = cache(lambda k: tf.function(
            lambda query, category: index.search(query, category, k)[0]).get_concrete_function(_QUERY, _CATEGORY))
        self._graph_all = cache(lambda k: tf.function(
            lambda query: index.search_all(query, k)[0]).get_concrete_function(_QUERY))

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        graph, given = self._graph(k), (tf.constant(query), tf.constant(category))
        return lambda: graph(*given)

    def ready_all(self, query: np.ndarray, k: int) -> Search:
        graph, given = self._graph_all(k), tf.constant(query)
        return lambda: graph(given)

    def nbytes(self) -> int:
        parts = [np.asarray(part) for part in self._index.variables]
        return sum(sum(map(len, part.ravel().tolist())) if part.dtype == object else part.nbytes for part in parts)
