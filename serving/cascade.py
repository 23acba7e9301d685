"""The cascade of the servable, in numbers: categories are chosen, each is searched inside, the pool beside, and merged.

Axes as in `serving/contract.py`, and C categories · X items excluded · W = D + 1.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ulim_tf import history
from ulim_tf.layers.pointer_generator import CategoryPrediction
from ulim_tf.model import LongInterests, UlimModel
from ulim_tf.padding import padded, places
from ulim_tf.retrieval.backfill import Backfill
from ulim_tf.retrieval.candidates import NO_ITEM
from ulim_tf.retrieval.index import CategoryIndex, Found
from ulim_tf.retrieval.merge import Ranked, merge
from ulim_tf.retrieval.normalizer import CategoryNormalizer


class User(NamedTuple):
    """What every signature needs of B requests."""

    sent: tf.Tensor  # int64 [B, L], every item of the request, however old; NO_ITEM in padding
    events: history.Events
    rows: history.CategoryRows
    short: tf.Tensor  # q, [B, D]
    prediction: CategoryPrediction


class Filters(NamedTuple):
    """What may be answered; None lets everything through."""

    excluded: tf.Tensor | None = None  # int64 [B, X], items; what is not positive excludes nothing
    allowed: tf.Tensor | None = None  # bool [B, C + 1], categories; entry 0 says nothing
    limit: tf.Tensor | None = None  # int32 [B], how many items


class Categories(NamedTuple):
    """The K categories to search, most probable first; past the last one allowed, 0 with probability 0."""

    category: tf.Tensor  # int64 [B, K]
    probability: tf.Tensor  # float32 [B, K], given that the category is allowed


def choose(prediction: CategoryPrediction, count: int, allowed: tf.Tensor | None = None) -> Categories:
    """The most probable categories of those allowed; the unknown one, index 0, is never among them.

    Args:
        prediction: of PGIN.
        count: K, at most C.
        allowed: as of `Filters`.
    """
    known = prediction.probability[:, 1:]
    if allowed is not None:
        may = allowed[:, 1:]
        share = tf.reduce_sum(tf.where(may, known, 0.0), axis=1, keepdims=True)
        # Not what all add up to, which is rounded: without a filter, nothing may change.
        share = tf.where(tf.reduce_all(may, axis=1, keepdims=True), 1.0, share)
        known = tf.where(may, tf.math.divide_no_nan(known, share), -1.0)
    probability, place = tf.math.top_k(known, count)
    category = tf.cast(place, tf.int64) + 1
    if allowed is not None:
        category = tf.where(probability >= 0.0, category, 0)
        probability = tf.maximum(probability, 0.0)
    return Categories(category, probability)


def interests(model: UlimModel, user: User, categories: Categories) -> LongInterests:
    """What each category's subsequence says."""
    return model.long_interests(user.short, categories.category, history.subsequences(
        user.events, user.rows, categories.category, model.settings.history))


class Cascade(tf.Module):
    """Ranks the items of an index for users.

    Args:
        model: trained, with its catalogue set.
        index: over the candidates' vectors.
        normalizer: over the same vectors.
        candidates: int64 [n], ascending, the items that may be answered; what else the model knows is read in histories
            only.
    """

    def __init__(self, model: UlimModel, index: CategoryIndex, normalizer: CategoryNormalizer, candidates: np.ndarray):
        super().__init__(name="cascade")
        self._settings, self._short_vector, self._item_category = (
            model.settings, model.short_vector, model.embedding.item_category)
        self._index, self._normalizer = index, normalizer
        self._backfill = Backfill(candidates, self._item_category, self._settings.retrieval.category_cap)

    def rank(self, user: User, categories: Categories, long: LongInterests, filters: Filters = Filters()) -> Ranked:
        """The answer, as of `merge`.

        Args:
            user: who asks.
            categories: to search, of those that the filters allow.
            long: what they say, as of `interests`.
            filters: of each user.
        """
        config, excluded, temperature = (
            self._settings.retrieval, filters.excluded, self._settings.loss.temperature)
        k, short_k = (min(count, self._index.items) for count in (config.per_category, config.short_term))
        vector, category = tf.reshape(long.vector, [-1, long.vector.shape[-1]]), tf.reshape(categories.category, [-1])
        short_vector = self._short_vector(user.short)

        def search(without: tf.Tensor | None) -> tuple[Found, Found]:
            return (self._index.search(vector, category, k, without),
                    self._index.search_all(short_vector, short_k, without, filters.allowed))

        # Softmaxes are over all items, whatever is excluded: so is the first search.
        found, short = search(None)
        log_sum = self._normalizer.log_sum(vector, category, found.score)
        short_log_sum = tf.reduce_logsumexp(tf.maximum(short.score / temperature, short.score.dtype.min), axis=1)
        if excluded is not None:
            found, short = tf.cond(tf.reduce_any(excluded > 0), lambda: search(excluded), lambda: (found, short))
        by_category = tf.concat([tf.shape(categories.category), [k]], axis=0)
        copied_item = tf.where(self._index.holds(long.item), long.item, NO_ITEM)  # no longer there: no copy
        copied = tf.gather(tf.reshape(categories.probability * long.gate, [-1]), long.owner) * long.attention
        users, columns = tf.unstack(tf.shape(categories.category, tf.int64))
        place = places(long.owner // columns, users)
        return merge(
            rule=config.merge, quota_exponent=config.quota_exponent, probability=categories.probability,
            copied_item=padded(copied_item, place, NO_ITEM),
            copied_probability=padded(copied, place, 0.0),
            copied_column=padded(long.owner % columns, place, 0),
            long_item=tf.reshape(found.item, by_category), long_score=tf.reshape(found.score, by_category),
            long_log_sum=tf.reshape(log_sum, tf.shape(categories.category)),
            generated_probability=categories.probability * (1.0 - long.gate),
            short_item=short.item, short_score=short.score, short_log_sum=short_log_sum,
            short_share=config.short_share, temperature=temperature, item_category=self._item_category,
            backfill=self._backfill.candidates(config.results, excluded, filters.allowed), results=config.results,
            category_cap=config.category_cap, diversity=config.diversity, excluded=excluded, limit=filters.limit)
