"""FAISS: inverted lists that are the categories, a flat index behind bitmaps, and its indexes of the whole pool."""

import faiss
import numpy as np
from faiss.contrib import ivf_tools

from benchmarks.ann.catalog import Catalog
from benchmarks.ann.index import Search

_TRAINED_ON = 50  # vectors a centroid, for the whole pool's k-means
_PROBED = 0.1  # of the pool's lists


class _Ivf:
    """One inverted list per category: the quantiser that FAISS wants is never asked, so its centroids are zeros."""

    def __init__(self, index: faiss.IndexIVF, catalog: Catalog):
        self._index = index
        index.train(catalog.vectors)
        ivf_tools.add_preassigned(index, catalog.vectors, catalog.category - 1, np.arange(1, len(catalog.vectors) + 1))
        index.nprobe = 1

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        lists = category[:, None] - 1
        return lambda: ivf_tools.search_preassigned(self._index, query, k, lists)[1]

    def nbytes(self) -> int:
        return serialised(self._index)


class IvfFlat(_Ivf):
    """Exact: float32 vectors."""

    def __init__(self, catalog: Catalog):
        width = catalog.vectors.shape[1]
        super().__init__(faiss.IndexIVFFlat(_centroids(catalog), width, catalog.categories,
                                            faiss.METRIC_INNER_PRODUCT), catalog)


class IvfSq8(_Ivf):
    """A byte for each dimension, which spans that dimension's range in the catalogue."""

    def __init__(self, catalog: Catalog):
        width = catalog.vectors.shape[1]
        super().__init__(faiss.IndexIVFScalarQuantizer(
            _centroids(catalog), width, catalog.categories, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT,
            False), catalog)


class FlatBitmap:
    """Exact: a scan of the whole pool for each pair, which leaves out what the bitmap of the category leaves out."""

    def __init__(self, catalog: Catalog):
        self._index = faiss.IndexFlatIP(catalog.vectors.shape[1])
        self._index.add(catalog.vectors)
        self._bitmaps = np.zeros((catalog.categories, -(-len(catalog.vectors) // 8)), np.uint8)
        np.bitwise_or.at(self._bitmaps, (catalog.category - 1, np.arange(len(catalog.vectors)) // 8),
                         np.left_shift(1, np.arange(len(catalog.vectors)) % 8).astype(np.uint8))

    def ready(self, query: np.ndarray, category: np.ndarray, k: int) -> Search:
        only = {one: faiss.SearchParameters(sel=faiss.IDSelectorBitmap(self._bitmaps[one - 1]))
                for one in np.unique(category).tolist()}
        pairs = [(vector[None], only[one]) for vector, one in zip(query, category.tolist())]

        def search() -> np.ndarray:
            return 1 + np.concatenate([self._index.search(vector, k, params=params)[1] for vector, params in pairs])

        return search

    def nbytes(self) -> int:
        return serialised(self._index) + self._bitmaps.nbytes


class FlatPool:
    """The whole pool by brute force."""

    def __init__(self, catalog: Catalog):
        self._index = faiss.IndexFlatIP(catalog.vectors.shape[1])
        self._index.add(catalog.vectors)

    def ready_all(self, query: np.ndarray, k: int) -> Search:
        return lambda: 1 + self._index.search(query, k)[1]

    def nbytes(self) -> int:
        return serialised(self._index)


class IvfPool:
    """The whole pool in sqrt(V) lists of k-means, a tenth of which a query looks into."""

    def __init__(self, catalog: Catalog):
        items, width = catalog.vectors.shape
        lists = int(np.sqrt(items))
        self._quantiser = faiss.IndexFlatIP(width)
        self._index = faiss.IndexIVFFlat(self._quantiser, width, lists, faiss.METRIC_INNER_PRODUCT)
        self._index.train(catalog.vectors[:_TRAINED_ON * lists])
        self._index.add(catalog.vectors)
        self._index.nprobe = max(int(_PROBED * lists), 1)

    def ready_all(self, query: np.ndarray, k: int) -> Search:
        return lambda: 1 + self._index.search(query, k)[1]

    def nbytes(self) -> int:
        return serialised(self._index)


def serialised(index: faiss.Index) -> int:
    """Bytes of the index on disk: vectors or codes, ids, and centroids."""
    return faiss.serialize_index(index).nbytes


def _centroids(catalog: Catalog) -> faiss.IndexFlat:
    quantiser = faiss.IndexFlatIP(catalog.vectors.shape[1])
    quantiser.add(np.zeros((catalog.categories, catalog.vectors.shape[1]), np.float32))
    return quantiser
