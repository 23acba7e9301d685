"""What every index of items is: a search inside a category and one in the whole pool, by dot product.

Axes: V items · C categories · D width · P pairs of a vector and a category · B users, P / B pairs each · E excluded.
A search inside categories is told which by its pairs; one in the whole pool may be kept to some of them.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ulim_tf import scopes
from ulim_tf.retrieval.candidates import NO_ITEM, NOT_FOUND, hits

_LARGEST_ITEM = 2**31 - 1


class Found(NamedTuple):
    """The best k items, each at most once, best first."""

    item: tf.Tensor  # int64 [..., k], NO_ITEM past the last one there is
    score: tf.Tensor  # float32 [..., k], dot products; -inf where no item is


class CategoryIndex(tf.Module):
    """Item vectors to be searched, as a part of a SavedModel.

    A subclass gives `holds`, `_search` and `_search_all`; what they have in common is here.

    Args:
        item: int64 [V], distinct, 1..2^31 - 1: what a search returns.
        category: int [V], 1..C, of each item. A category may be without items.
        vectors: float32 [V, D].
        categories: C.
        name: of the module.

    Raises:
        ValueError: wrong shapes, an item twice, a category out of range, or a vector that is not finite (the item is
            named).
    """

    def __init__(self, item: np.ndarray, category: np.ndarray, vectors: np.ndarray, categories: int, name: str):
        super().__init__(name=name)
        check(item, category, vectors, categories)
        self.items, self.width, self.categories = len(item), vectors.shape[1], categories

    @scopes.part(scopes.SEARCH)
    def search(self, query: tf.Tensor, category: tf.Tensor, k: int, excluded: tf.Tensor | None = None) -> Found:
        """The best items of one category for each query.

        Args:
            query: float32 [P, D].
            category: int64 [P]; outside 1..C nothing is found.
            k: how many.
            excluded: int64 [B, E], items that B users must not get, B a divisor of P: pair p is of user p // (P / B).
                Numbers that are no item exclude nothing. None excludes nothing.

        Returns:
            [P, k].

        Raises:
            ValueError: queries of another width.
        """
        category = tf.where((category > 0) & (category <= self.categories), category, 0)
        return _fixed(self._search(self._checked(query), category, k, excluded), k)

    @scopes.part(scopes.SEARCH)
    def search_all(self, query: tf.Tensor, k: int, excluded: tf.Tensor | None = None,
                   allowed: tf.Tensor | None = None) -> Found:
        """The best items of the whole pool, or of the categories in it that each user allows.

        Args:
            query: float32 [B, D].
            k: how many.
            excluded: int64 [B, E], as of `search`.
            allowed: bool [B, C + 1], the categories that are searched; entry 0 says nothing. None allows all.

        Returns:
            [B, k].

        Raises:
            ValueError: queries of another width.
        """
        return _fixed(self._search_all(self._checked(query), k, excluded, allowed), k)

    def holds(self, item: tf.Tensor) -> tf.Tensor:
        """Which of int64 [...] can be found: bool [...]."""
        raise NotImplementedError

    def release(self) -> None:
        """Frees what searching has made in this process beside the variables; a further search makes it again."""

    def _checked(self, query: tf.Tensor) -> tf.Tensor:
        if query.shape[-1] not in (None, self.width):
            raise ValueError(f"query must be float32 [..., D] with D = {self.width}, got {list(query.shape)}. Ask with "
                             "vectors of the model that embedded the items.")
        return tf.ensure_shape(query, [None, self.width])

    def _search(self, query: tf.Tensor, category: tf.Tensor, k: int, excluded: tf.Tensor | None) -> Found:
        raise NotImplementedError

    def _search_all(self, query: tf.Tensor, k: int, excluded: tf.Tensor | None, allowed: tf.Tensor | None) -> Found:
        raise NotImplementedError


def best_without(found: Found, excluded: tf.Tensor, k: int) -> Found:
    """The best k of those found, [P, n] with n >= k, that are not among a user's `excluded`, [B, E]."""
    pairs, columns = tf.unstack(tf.shape(found.item))
    of_user = tf.reshape(found.item, [tf.shape(excluded)[0], -1])
    return best_of(found, ~tf.reshape(hits(of_user, excluded), [pairs, columns]), k)


def best_of(found: Found, where: tf.Tensor, k: int) -> Found:
    """The best k of those found, [P, n] with n >= k, that stand where bool [P, n] says."""
    score, place = tf.math.top_k(tf.where(where, found.score, NOT_FOUND), k)
    item = tf.gather(found.item, place, batch_dims=1)
    return Found(tf.where(score > NOT_FOUND, item, NO_ITEM), score)


def check(item: np.ndarray, category: np.ndarray, vectors: np.ndarray, categories: int) -> None:
    """Raises ValueError for what cannot be indexed; arguments as of `CategoryIndex`."""
    if vectors.ndim != 2 or vectors.dtype != np.float32 or 0 in vectors.shape:
        raise ValueError(f"vectors must be float32 [V, D] with V >= 1 and D >= 1, got {vectors.dtype} "
                         f"{list(vectors.shape)}. Give one row for each item.")
    for name, values in (("item", item), ("category", category)):
        if values.shape != vectors.shape[:1] or values.dtype.kind not in "iu":
            raise ValueError(f"{name} must be int [V] = [{len(vectors)}], got {values.dtype} {list(values.shape)}. "
                             "Give one entry for each row of vectors.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if broken.size:
        raise ValueError(f"vectors must be finite, got NaN or infinity for {broken.size} items, the first of them item "
                         f"{item[broken[0]]}. Did training diverge? Lower training.learning_rate.")
    if category.min() < 1 or category.max() > categories:
        raise ValueError(f"category must be in 1..C = 1..{categories}, got {category.min()}..{category.max()}. Leave "
                         "items of unknown categories out.")
    if item.min() < 1 or item.max() > _LARGEST_ITEM:
        raise ValueError(f"item must be in 1..{_LARGEST_ITEM}, got {item.min()}..{item.max()}. Number items from 1; 0 "
                         "is the unknown one.")
    number, times = np.unique(item, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"item must hold each item once, got item {number[times > 1][0]} {times.max()} times. Drop "
                         "all but one of its rows.")


def pad(found: Found, k: int | tf.Tensor) -> Found:
    """[P, n <= k] -> [P, k]."""
    missing = [[0, 0], [0, k - tf.shape(found.item)[1]]]
    return Found(tf.pad(found.item, missing, constant_values=NO_ITEM),
                 tf.pad(found.score, missing, constant_values=NOT_FOUND))


def _fixed(found: Found, k: int) -> Found:
    return Found(*(tf.ensure_shape(tensor, [None, k]) for tensor in found))
