"""NumPy: a slice for each category, and brute force over the whole pool."""

import numpy as np

from benchmarks.ann.catalog import Catalog
from benchmarks.ann.index import Search


class Slices:
    """Exact: the items in order of their category, so that a category is a slice."""

    def __init__(self, catalog: Catalog):
        order = np.concatenate(catalog.rows)
        self._item = order + 1
        self._vectors = catalog.vectors[order]
        self._end = np.cumsum([0, *map(len, catalog.rows)])

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        places = [slice(self._end[one - 1], self._end[one]) for one in category.tolist()]

        def search() -> np.ndarray:
            found = np.zeros((len(query), k), np.int64)
            for row, (vector, place) in enumerate(zip(query, places)):
                best = _best(self._vectors[place] @ vector, k)
                found[row, :len(best)] = self._item[place][best]
            return found

        return search

    def nbytes(self) -> int:
        return self._item.nbytes + self._vectors.nbytes + self._end.nbytes


class Pool:
    """The whole pool by brute force. It keeps no copy of the vectors."""

    def __init__(self, catalog: Catalog):
        self._vectors = catalog.vectors

    def ready_all(self, query: np.ndarray, k: int) -> Search:
        return lambda: 1 + np.stack([_best(score, k) for score in query @ self._vectors.T])

    def nbytes(self) -> int:
        return self._vectors.nbytes


def _best(score: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest, best first: float32 [n] -> int64 [min(k, n)]."""
    best = np.argpartition(score, -k)[-k:] if len(score) > k else np.arange(len(score))
    return best[np.argsort(-score[best])]
