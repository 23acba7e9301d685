"""How much of what exact search finds an index finds, and the gate that a built index has to pass."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ulim_tf.retrieval.index import CategoryIndex

_POOL_QUERIES = 64
_SCORES = 2**22  # at once: 16 MiB
_TOLERANCE = 1e-5  # relative: float32 sums in another order
_NAMED = 5  # worst categories in the message


class Quality(NamedTuple):
    """Shares of the best k items that an index finds."""

    in_category: float
    pool: float
    by_category: dict[int, float]  # of each category that was asked for, in falling recall


def sample_queries(vectors: np.ndarray, queries: int, seed: int = 17) -> np.ndarray:
    """Some of the items' own vectors, float32 [n, D]: trained interests lie near the items they are for."""
    chosen = np.random.default_rng(seed).choice(len(vectors), min(queries, len(vectors)), replace=False)
    return vectors[chosen]


def recall(query: np.ndarray, vectors: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The part of the best k rows that was found, for each query.

    A row counts if it scores as much as the k-th best, so that ties are no misses.

    Args:
        query: float32 [n, D].
        vectors: float32 [V, D].
        row: int [n, k], of `vectors`; negative where none was found.

    Returns:
        float64 [n].
    """
    found, at_once = np.empty(len(query)), max(1, _SCORES // len(vectors))
    best = min(row.shape[1], len(vectors))
    longest = np.sqrt(np.einsum("vd,vd->v", vectors, vectors).max())
    for start in range(0, len(query), at_once):
        part = slice(start, start + at_once)
        score = query[part] @ vectors.T
        reached = np.take_along_axis(score, np.maximum(row[part], 0), axis=1)
        score.partition(len(vectors) - best, axis=1)
        least = score[:, len(vectors) - best] - _TOLERANCE * np.linalg.norm(query[part], axis=1) * longest
        found[part] = ((reached >= least[:, None]) & (row[part] >= 0)).sum(axis=1) / best
    return found


def measure(index: CategoryIndex, item: np.ndarray, category: np.ndarray, vectors: np.ndarray, query: np.ndarray,
            k: int, k_pool: int, seed: int = 17) -> Quality:
    """Asks an index about some categories and about the whole pool.

    Args:
        index: built from the next three.
        item: int64 [V].
        category: int [V].
        vectors: float32 [V, D].
        query: float32 [n, D], like those that will be asked. Each is asked in a category drawn from those of the items
            and, every second one, from all that have items; in the whole pool, the first 64 are asked.
        k: items wanted of a category.
        k_pool: items wanted of the pool.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    wanted = random.choice(category, len(query))
    wanted[::2] = random.choice(np.unique(category), len(wanted[::2]))
    order = np.argsort(category, kind="stable")
    found = index.search(tf.constant(query), tf.constant(wanted, tf.int64), k).item.numpy()
    by_category = {}
    for number, asked in _groups(wanted):
        members = order[slice(*np.searchsorted(category, [number, number + 1], sorter=order))]
        by_category[number] = recall(query[asked], vectors[members], _places(found[asked], item[members]))
    pool = index.search_all(tf.constant(query[:_POOL_QUERIES]), k_pool).item.numpy()
    return Quality(float(np.concatenate(list(by_category.values())).mean()),
                   float(recall(query[:_POOL_QUERIES], vectors, _places(pool, item)).mean()),
                   dict(sorted(((number, float(of_one.mean())) for number, of_one in by_category.items()),
                               key=lambda pair: -pair[1])))


def check(quality: Quality, least_in_category: float, least_pool: float) -> None:
    """Raises ValueError for an index that finds too little."""
    if quality.in_category < least_in_category:
        worst = ", ".join(f"{number} ({share:.3f})" for number, share in
                          reversed(list(quality.by_category.items())[-_NAMED:]))
        raise ValueError(f"the index finds {quality.in_category:.4f} of what exact search finds inside a category, at "
                         f"least {least_in_category} is wanted (retrieval.least_recall). The worst categories: "
                         f"{worst}. Build it without quantisation, or accept less.")
    if quality.pool < least_pool:
        raise ValueError(f"the index finds {quality.pool:.4f} of what exact search finds in the whole pool, at least "
                         f"{least_pool} is wanted (retrieval.least_pool_recall). Accept less, or use the blocked "
                         "index, which is exact.")


def _groups(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each distinct value with the places where it stands."""
    order = np.argsort(values, kind="stable")
    distinct, first = np.unique(values[order], return_index=True)
    yield from zip(distinct.tolist(), np.split(order, first[1:]))


def _places(wanted: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Where each wanted item stands in `item`, -1 where nowhere."""
    order = np.argsort(item)
    place = order[np.minimum(np.searchsorted(item, wanted, sorter=order), len(item) - 1)]
    return np.where(item[place] == wanted, place, -1)
