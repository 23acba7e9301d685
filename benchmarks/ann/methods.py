"""The methods that are compared, by name."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.ann import faiss_indexes, hnsw, masked_matmul, numpy_indexes, scann_loop, ulim
from benchmarks.ann.catalog import Catalog
from benchmarks.ann.index import CategoryIndex, PoolIndex

EXACT, QUANTISED, BLOCKED = "ULIM ScaNN exact", "ULIM ScaNN quantised", "ULIM blocked"
IVF_FLAT, IVF_SQ8 = "FAISS IVFFlat", "FAISS IVF-SQ8"


@dataclass(frozen=True)
class Method:
    """How an index is made, and how much of it is asked.

    Args:
        build: from the catalogue.
        swept: whether it is measured at the sizes that only the plot needs.
        most_users: that it answers in a table; a few where each takes milliseconds.
        most_items: of a catalogue that it is built for.
    """

    build: Callable[[Catalog], CategoryIndex | PoolIndex]
    swept: bool = False
    most_users: int = 1_000_000
    most_items: int = 1_000_000_000


METHODS = {
    EXACT: Method(ulim.scann_exact, swept=True),
    QUANTISED: Method(ulim.scann_quantised, swept=True),
    BLOCKED: Method(ulim.blocked, swept=True),
    IVF_FLAT: Method(faiss_indexes.IvfFlat, swept=True),
    IVF_SQ8: Method(faiss_indexes.IvfSq8, swept=True),
    "NumPy slices": Method(numpy_indexes.Slices),
    "ScaNN per category": Method(scann_loop.ScannLoop),
    "FAISS Flat, bitmap": Method(faiss_indexes.FlatBitmap, most_users=4),
    "hnswlib, post-filter": Method(hnsw.PostFilter, most_users=4, most_items=200_000),  # a minute's building there
    "TF masked matmul": Method(masked_matmul.MaskedMatmul, most_users=2),
}

# Those that search the whole pool only. Of METHODS, the ones that are a PoolIndex do so as well.
BRUTE_FORCE = ("NumPy brute force", "FAISS Flat")
POOL_METHODS = {
    IVF_FLAT: Method(faiss_indexes.IvfPool),
    **dict(zip(BRUTE_FORCE, (Method(numpy_indexes.Pool), Method(faiss_indexes.FlatPool)))),
}
