"""Every item scored exactly for some users, from a Keras model: no index, no limit of categories.

As the servable's merge by probability has it, for the category c of an item i:
P(i) = (1 - w) P_long(i) + w P_short(i), P_long(i) = y_c (g_c copy(i|c) + (1 - g_c) gen(i|c)).
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ulim_tf import data
from ulim_tf.model import UlimModel


class Scores(NamedTuple):
    """Exact scores of B users, float32."""

    item: np.ndarray  # P(i), [B, V + 1]
    long: np.ndarray  # P_long(i), [B, V + 1]: the same without the short-term channel
    category: np.ndarray  # y, [B, C + 1]


class ExactScorer:
    """Scores users with the weights that a model has when it is asked.

    Args:
        model: with its catalogue set.
        users: their histories.
    """

    def __init__(self, model: UlimModel, users: data.StoredUsers):
        self._model, self._users = model, users
        item_category = model.embedding.item_category.numpy()[1:model.items + 1]
        self._by_category = 1 + np.argsort(item_category, kind="stable")
        self._place = np.argsort(self._by_category)
        self._first = np.searchsorted(item_category[self._by_category - 1], np.arange(1, model.categories + 2))
        vector = tf.TensorSpec([None], tf.int64)
        self._ask = tf.function(self._asked, [vector] * 3, autograph=False)

    def __call__(self, user: np.ndarray, rank: np.ndarray, now: np.ndarray, at_once: int) -> Iterator[Scores]:
        """Scores users just before an event, some at once.

        Args:
            user: int64 [n].
            rank: int64 [n], of the event in each one's time order.
            now: int64 [n], unix seconds.
            at_once: B; the last batch may be smaller.
        """
        embedding, item = self._model.embedding, tf.range(1, self._model.items + 1, dtype=tf.int64)
        candidate = embedding.candidate(item).numpy()
        in_category = embedding.in_category(self._by_category).numpy()
        for start in range(0, len(user), at_once):
            part = slice(start, start + at_once)
            yield self._scores(candidate, in_category, *(
                values.numpy() for values in self._ask(*(tf.constant(one[part]) for one in (user, rank, now)))))

    def _asked(self, user: tf.Tensor, rank: tf.Tensor, now: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Everything of a user that items are scored against."""
        model, config = self._model, self._model.settings.history
        category = tf.tile(tf.range(1, model.categories + 1, dtype=tf.int64)[None], [tf.size(user), 1])
        moments = self._users.describe(user, rank, now, config)
        short = model.short_interest(moments)
        return (model.short_vector(short), model.predict_categories(short, moments).probability,
                *model.long_interests(short, category, self._users.subsequences(user, rank, now, category, config)))

    def _scores(self, candidate: np.ndarray, in_category: np.ndarray, short_vector: np.ndarray, y: np.ndarray,
                vector: np.ndarray, gate: np.ndarray, read: np.ndarray, attention: np.ndarray,
                owner: np.ndarray) -> Scores:
        config, categories = self._model.settings, self._model.categories
        temperature, share = config.loss.temperature, config.retrieval.short_share
        generated = np.empty((len(y), self._model.items), np.float32)
        for number, (first, end) in enumerate(zip(self._first[:-1], self._first[1:])):
            if end > first:
                softmax = _softmax(vector[:, number] @ in_category[first:end].T / temperature)
                generated[:, first:end] = (y[:, 1 + number] * (1.0 - gate[:, number]))[:, None] * softmax
        item = np.zeros((len(y), self._model.items + 1), np.float32)
        np.take(generated, self._place, axis=1, out=item[:, 1:])
        own = read <= self._model.items  # a bucket is never answered
        owner, read, attention = owner[own], read[own], attention[own]
        np.add.at(item, (owner // categories, read), (y[:, 1:] * gate).reshape(-1)[owner] * attention)
        mixed = (1.0 - share) * item
        mixed[:, 1:] += share * _softmax(short_vector @ candidate.T / temperature)
        return Scores(mixed, item, y)


def _softmax(score: np.ndarray) -> np.ndarray:
    score -= score.max(axis=1, keepdims=True)
    mass = np.exp(score, out=score)
    mass /= mass.sum(axis=1, keepdims=True)
    return mass
