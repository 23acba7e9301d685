"""An index of ScaNN searchers: inside a category exact, in a large pool approximate.

Every category is a leaf of a searcher (`scann_searcher.py`). ScaNN scores all queries of a leaf at once, as one matrix
product, but only where a call has at least as many queries as the searcher has leaves. So the few categories that hold
half of all items have a searcher of their own: they are asked for most, and cost most.
"""

import time
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from ulim_tf.padding import padded, places
from ulim_tf.retrieval.candidates import NO_ITEM, NOT_FOUND, hits
from ulim_tf.retrieval.index import CategoryIndex, Found, best_of, best_without, pad
from ulim_tf.retrieval.quality import recall, sample_queries
from ulim_tf.retrieval.scann_searcher import ExactPoolSearcher, LeafSearcher, PoolSearcher, Rows, trim

_LARGEST_EXACT_POOL = 100_000
_HASHED_FROM = 100_000  # items of a category
_HASHED_SCORED = 2000
_HASHED_RECALL = 0.99
_SAMPLED, _SAMPLED_K, _ROUNDS = 64, 100, 3

Searcher = TypeVar("Searcher")


class Choice(NamedTuple):
    """How a large category is searched, and the measurement that decided it."""

    category: int
    items: int
    exact_us: float  # a query, microseconds
    hashed_us: float
    hashed_recall: float
    hashed: bool


class ScannIndex(CategoryIndex):
    """Item vectors in ScaNN searchers. CPU only, and a process that loads it needs ScaNN's ops.

    A category of 100,000 items or more is searched by asymmetric hashing with exact scores for the best, where that
    measures faster than brute force and finds 99 % of the best; `choices` tells.

    Args:
        item: int64 [V], distinct and positive.
        category: int [V], 1..C.
        vectors: float32 [V, D].
        categories: C.
        quantised: hold vectors in 8 bits a dimension: a quarter of the memory, and scores that are a little off.
        query: float32 [n, D], like those that will be asked, for the measurements; None takes items' own vectors.

    Raises:
        ValueError: as `CategoryIndex`.
    """

    def __init__(self, item: np.ndarray, category: np.ndarray, vectors: np.ndarray, categories: int,
                 quantised: bool = False, query: np.ndarray | None = None):
        super().__init__(item, category, vectors, categories, "scann_index")
        size = np.bincount(category, minlength=categories + 1)
        query = sample_queries(vectors if query is None else query, _SAMPLED)
        # First, while there are no other copies of the vectors: ScaNN makes several.
        self._pool = _Items(item, PoolSearcher(vectors, query) if len(item) > _LARGEST_EXACT_POOL else
                            ExactPoolSearcher(vectors, quantised))
        self.choices = [] if quantised else [
            _choose(number, vectors[category == number], query) for number in np.flatnonzero(size >= _HASHED_FROM)]
        hashed = np.array([choice.category for choice in self.choices if choice.hashed], int)
        groups = [(members, scored) for members, scored in (
            *((half, 0) for half in _halves(size, hashed)), (hashed, _HASHED_SCORED)) if len(members)]
        group, leaf = np.full(categories + 1, len(groups)), np.zeros(categories + 1, int)
        self._groups = []
        for number, (members, scored) in enumerate(groups):
            group[members], leaf[members] = number, np.arange(len(members))
            rows = np.flatnonzero(group[category] == number)
            self._groups.append(_Items(item[rows], LeafSearcher(
                vectors[rows], leaf[category[rows]], len(members), f"leaves_{number}", quantised, scored)))
        self._group, self._leaf, self._size = (
            tf.Variable(values, trainable=False, dtype=tf.int32, name=name)
            for name, values in (("group", group), ("leaf", leaf), ("size", size)))
        category_of_item = np.zeros(item.max() + 1, np.int32)
        category_of_item[item] = category
        self._category_of_item = tf.Variable(category_of_item, trainable=False, name="category_of_item")

    def holds(self, item: tf.Tensor) -> tf.Tensor:
        """See the base class."""
        return self._category_of(item) > 0

    def release(self) -> None:
        """See the base class."""
        for items in (*self._groups, self._pool):
            items.searcher.release()
        trim()

    def _search(self, query: tf.Tensor, category: tf.Tensor, k: int, excluded: tf.Tensor | None) -> Found:
        if excluded is None:
            return self._best(query, category, k)
        here = self._category_of(excluded)[:, None, :] == tf.reshape(
            tf.cast(category, tf.int32), [tf.shape(excluded)[0], -1, 1])
        more = _most(tf.math.count_nonzero(here, axis=2, dtype=tf.int32))
        return best_without(self._best(query, category, k + more), excluded, k)

    def _best(self, query: tf.Tensor, category: tf.Tensor, k: int | tf.Tensor) -> Found:
        nowhere = len(self._groups)
        pairs = tf.dynamic_partition(tf.range(tf.shape(query)[0]), tf.gather(self._group, category), nowhere + 1)
        leaf = tf.gather(self._leaf, category)
        found = [pad(items.found(items.searcher.search(tf.gather(query, mine), tf.gather(leaf, mine), k)), k)
                 for items, mine in zip(self._groups, pairs)]
        nothing = tf.stack([tf.shape(pairs[nowhere])[0], k])
        found.append(Found(tf.fill(nothing, tf.cast(NO_ITEM, tf.int64)), tf.fill(nothing, NOT_FOUND)))
        return Found(*(tf.dynamic_stitch(pairs, list(tensors)) for tensors in zip(*found)))

    def _search_all(self, query: tf.Tensor, k: int, excluded: tf.Tensor | None, allowed: tf.Tensor | None) -> Found:
        if excluded is None and allowed is None:
            return self._best_of_all(query, k)
        users = tf.shape(query)[0]
        if excluded is None:
            excluded = tf.zeros([users, 0], tf.int64)
        if allowed is None:
            more = _most(tf.math.count_nonzero(self.holds(excluded), axis=1, dtype=tf.int32))
            return best_without(self._best_of_all(query, k + more), excluded, k)
        # Past what is not allowed, or inside each category that is: whichever finds fewer items to choose from.
        categories = tf.math.count_nonzero(allowed & (self._size > 0), axis=1)
        inside = tf.cast(categories * k < tf.cast(self._not_allowed(allowed), tf.int64), tf.int32)
        parts = tf.dynamic_partition(tf.range(users), inside, 2)
        found = [search(tf.gather(query, mine), tf.gather(excluded, mine), tf.gather(allowed, mine), k)
                 for search, mine in zip((self._past_others, self._inside), parts)]
        return Found(*(tf.dynamic_stitch(parts, list(tensors)) for tensors in zip(*found)))

    def _past_others(self, query: tf.Tensor, excluded: tf.Tensor, allowed: tf.Tensor, k: int) -> Found:
        more = _most(self._not_allowed(allowed)
                     + tf.math.count_nonzero(self.holds(excluded), axis=1, dtype=tf.int32))
        found = self._best_of_all(query, k + more)
        right = tf.gather(allowed, self._category_of(found.item), batch_dims=1)
        return best_of(found, right & ~hits(found.item, excluded), k)

    def _inside(self, query: tf.Tensor, excluded: tf.Tensor, allowed: tf.Tensor, k: int) -> Found:
        pair = tf.where(allowed & (self._size > 0))
        more = _most(tf.math.count_nonzero(self.holds(excluded), axis=1, dtype=tf.int32))
        place = places(pair[:, 0], tf.shape(query, tf.int64)[0])
        columns = tf.shape(place)[1] * (k + more)
        item, score = self._best(tf.gather(query, pair[:, 0]), pair[:, 1], k + more)
        found = Found(*(tf.reshape(padded(values, place, padding), [tf.shape(query)[0], columns])
                        for values, padding in ((item, NO_ITEM), (score, NOT_FOUND))))
        return best_without(pad(found, tf.maximum(k, tf.shape(found.item)[1])), excluded, k)

    def _not_allowed(self, allowed: tf.Tensor) -> tf.Tensor:
        """How many items each user's categories leave out, int32 [B]."""
        return tf.reduce_sum(tf.where(~allowed, self._size, 0), axis=1)

    def _best_of_all(self, query: tf.Tensor, k: int | tf.Tensor) -> Found:
        return pad(self._pool.found(self._pool.searcher.search(query, k)), k)

    def _category_of(self, item: tf.Tensor) -> tf.Tensor:
        """int64 [...] -> int32 [...], 0 for what is no item."""
        known = (item > 0) & (item < self._category_of_item.shape[0])
        return tf.gather(self._category_of_item, tf.where(known, item, 0))


class _Items(tf.Module, Generic[Searcher]):
    """A searcher and the items that its rows are."""

    def __init__(self, item: np.ndarray, searcher: Searcher):
        super().__init__()
        self.searcher = searcher
        self._item = tf.Variable(item, trainable=False, dtype=tf.int32, name="item")

    def found(self, rows: Rows) -> Found:
        """The items [P, n] of rows [P, n]."""
        item = tf.cast(tf.gather(self._item, tf.where(rows.score > NOT_FOUND, rows.row, 0)), tf.int64)
        return Found(tf.where(rows.score > NOT_FOUND, item, NO_ITEM), rows.score)


def _most(count: tf.Tensor) -> tf.Tensor:
    """The largest of int32 [...], 0 of none."""
    return tf.maximum(tf.reduce_max(count), 0)


def _halves(size: np.ndarray, without: np.ndarray) -> list[np.ndarray]:
    """The fewest categories that hold half of the items, and the other ones that hold any."""
    size = size.copy()
    size[without] = 0
    by_size = np.argsort(-size, kind="stable")[:np.count_nonzero(size)]
    first = np.searchsorted(2 * np.cumsum(size[by_size]), size.sum()) + 1
    return [by_size[:first], by_size[first:]]


def _choose(category: int, vectors: np.ndarray, query: np.ndarray) -> Choice:
    """Measures both ways to search one category."""
    leaf, row, microseconds = tf.zeros([1], tf.int32), [], []
    for scored in (0, _HASHED_SCORED):
        searcher = LeafSearcher(vectors, np.zeros(len(vectors), int), 1, "measured", scored=scored)
        search = tf.function(lambda searcher=searcher: tf.map_fn(  # one by one, as for a single user
            lambda one: searcher.search(one[None], leaf, _SAMPLED_K).row[0], tf.constant(query),
            fn_output_signature=tf.int32), autograph=False)
        taken = []
        for _ in range(1 + _ROUNDS):
            start = time.perf_counter()
            found = search()
            taken.append(time.perf_counter() - start)
        row.append(found.numpy())
        microseconds.append(1e6 * float(np.median(taken[1:])) / len(query))
    share, (exactly, hashed) = float(recall(query, vectors, row[1]).mean()), microseconds
    return Choice(category, len(vectors), exactly, hashed, share, share >= _HASHED_RECALL and hashed < exactly)
