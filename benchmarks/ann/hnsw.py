"""hnswlib: the best of the whole pool, of which those of the category are kept."""

import hnswlib
import numpy as np

from benchmarks.ann.catalog import Catalog
from benchmarks.ann.index import Search

_NEIGHBOURS, _CONSTRUCTION = 16, 100
_FETCHED = 1_000  # of the pool, for each pair; a category's items are one in C of them


class PostFilter:
    """A graph over the whole pool."""

    def __init__(self, catalog: Catalog):
        items, width = catalog.vectors.shape
        self._category = catalog.category
        self._index = hnswlib.Index("ip", width)
        self._index.init_index(items, M=_NEIGHBOURS, ef_construction=_CONSTRUCTION)
        self._index.add_items(catalog.vectors, np.arange(items), num_threads=1)
        self._index.set_ef(_FETCHED)
        self._fetched = min(_FETCHED, items)

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        def search() -> np.ndarray:
            row = self._index.knn_query(query, self._fetched, num_threads=1)[0].astype(np.int64)
            other = self._category[row] != category[:, None]
            best = np.argsort(other, axis=1, kind="stable")[:, :k]
            return np.take_along_axis(np.where(other, 0, row + 1), best, axis=1)

        return search

    def ready_all(self, query: np.ndarray, k: int) -> Search:
        return lambda: 1 + self._index.knn_query(query, k, num_threads=1)[0].astype(np.int64)

    def nbytes(self) -> int:
        return self._index.index_file_size() + self._category.nbytes
