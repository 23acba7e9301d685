"""How many of the exact best a search finds. Ties count: an item that scores as the last of the best is one of them."""

import numpy as np

from benchmarks.ann.catalog import Catalog

_TOLERANCE = 1e-5
_AT_ONCE = 4096  # answers whose vectors are in memory


class Exact:
    """The exact answer to some questions, in float64.

    Args:
        catalog: V items.
        query: float32 [P, D].
        category: int64 [P], 1..C; None for the whole pool.
        k: how many.
    """

    def __init__(self, catalog: Catalog, query: np.ndarray, category: np.ndarray | None, k: int):
        self._catalog, self._query, self._category = catalog, query, category
        self._least = np.full(len(query), -np.inf)
        self._expected = np.full(len(query), k)
        if category is None:
            for place in range(len(query)):
                self._least[place] = np.partition(catalog.vectors @ query[place], -k)[-k]
            return
        for one in np.unique(category):
            rows, asked = catalog.rows[one - 1], np.flatnonzero(category == one)
            if len(rows) <= k:
                self._expected[asked] = len(rows)
            else:
                score = query[asked].astype(np.float64) @ catalog.vectors[rows].T
                self._least[asked] = np.partition(score, -k)[:, -k]

    def recall(self, item: np.ndarray) -> float:
        """Share of the best that the first answers hold: int [p, k], p <= P; below 1 is no item."""
        found = 0
        for start in range(0, len(item), _AT_ONCE):
            found += self._found(item[start:start + _AT_ONCE], slice(start, start + _AT_ONCE))
        return found / int(self._expected[:len(item)].sum())

    def _found(self, item: np.ndarray, place: slice) -> int:
        item = np.sort(item)
        row = np.maximum(item, 1) - 1
        score = np.einsum("pkd,pd->pk", self._catalog.vectors[row], self._query[place][:len(item)], dtype=np.float64)
        right = (item >= 1) & (score >= self._least[place][:len(item), None] - _TOLERANCE)
        right[:, 1:] &= item[:, 1:] != item[:, :-1]
        if self._category is not None:
            right &= self._catalog.category[row] == self._category[place][:len(item), None]
        return int(right.sum())
