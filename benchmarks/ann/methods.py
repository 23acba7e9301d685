"""The methods that are compared, by name."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.ann import faiss_indexes, numpy_indexes
from benchmarks.ann.catalog import Catalog
from benchmarks.ann.index import CategoryIndex, PoolIndex

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

    build: Callable[[Catalog], CategoryIndex]
    swept: bool = False
    most_users: int = 1_000_000
    most_items: int = 1_000_000_000


METHODS = {
    IVF_FLAT: Method(faiss_indexes.IvfFlat, swept=True),
    IVF_SQ8: Method(faiss_indexes.IvfSq8, swept=True),
    "NumPy slices": Method(numpy_indexes.Slices),
    "FAISS Flat, bitmap": Method(faiss_indexes.FlatBitmap, most_users=4),
}

# Those that search the whole pool only; of METHODS, the ones that are a PoolIndex do so too.
BRUTE_FORCE = ("NumPy brute force", "FAISS Flat")
POOL_METHODS: dict[str, Callable[[Catalog], PoolIndex]] = {
    IVF_FLAT: faiss_indexes.IvfPool,
    **dict(zip(BRUTE_FORCE, (numpy_indexes.Pool, faiss_indexes.FlatPool))),
}
