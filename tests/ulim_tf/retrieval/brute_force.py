"""The oracle of every index: exact search in NumPy, in double precision, straight from the definitions."""

from collections.abc import Sequence

import numpy as np


class BruteForce:
    """Takes what an index takes; see `ulim_tf.retrieval.index.CategoryIndex`."""

    def __init__(self, item: np.ndarray, category: np.ndarray, vectors: np.ndarray):
        self._item, self._category, self._vectors = item, category, vectors.astype(np.float64)

    def scores(self, query: np.ndarray, categories: Sequence[int] | None,
               excluded: Sequence[int] = ()) -> dict[int, float]:
        """What may be found in some categories, item -> score, best first; None is the whole pool."""
        allowed = ~np.isin(self._item, excluded)
        if categories is not None:
            allowed &= np.isin(self._category, categories)
        score = self._vectors[allowed] @ query.astype(np.float64)
        order = np.argsort(-score, kind="stable")
        return dict(zip(self._item[allowed][order].tolist(), score[order].tolist()))
