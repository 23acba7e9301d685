"""A ScaNN searcher for each category, called one after another from Python."""

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from benchmarks.ann.catalog import Catalog
from benchmarks.ann.index import Search

_MOST_BRUTE_FORCE = 20_000  # items, as ScaNN's documentation advises
_REORDERED = 200


class ScannLoop:
    """Brute force, hashed with the best scored again where a category is large."""

    def __init__(self, catalog: Catalog):
        self._item = [rows + 1 for rows in catalog.rows]
        self._searchers = [_searcher(catalog.vectors[rows]) for rows in catalog.rows]
        large = sum(len(rows) for rows in catalog.rows if len(rows) > _MOST_BRUTE_FORCE)
        # Hashed items: half a byte for every two dimensions, which ScaNN unpacks to a byte.
        self._nbytes = catalog.vectors.nbytes + catalog.category.nbytes + large * catalog.vectors.shape[1] // 2

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        pairs = [(vector, self._searchers[one - 1], self._item[one - 1])
                 for vector, one in zip(query, category.tolist())]

        def search() -> np.ndarray:
            found = np.zeros((len(pairs), k), np.int64)
            for row, (vector, searcher, item) in enumerate(pairs):
                best = searcher.search(vector, k)[0]
                found[row, :len(best)] = item[best]
            return found

        return search

    def nbytes(self) -> int:
        return self._nbytes


def _searcher(vectors: np.ndarray) -> scann_ops_pybind.ScannSearcher:
    builder = scann_ops_pybind.builder(vectors, 1, "dot_product")
    if len(vectors) <= _MOST_BRUTE_FORCE:
        searcher = builder.score_brute_force().build()
    else:
        searcher = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(_REORDERED).build()
    searcher.set_num_threads(0)  # a thread for each of ten thousand categories otherwise
    return searcher
