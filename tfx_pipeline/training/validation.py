"""Recall on the baskets that were kept from training: full ranking by the model's exact scores."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import tensorflow as tf

from ulim_tf import data
from ulim_tf.exact_scores import ExactScorer
from ulim_tf.model import UlimModel

RECALL_AT = 100

_SCORES_AT_ONCE = 2**23  # users x items, and users x categories x M


class Validation:
    """The newest basket of each of some users, before which the model is asked for it.

    Args:
        model: as it is when `recall` is called.
        users: each with a basket that has a target.
    """

    def __init__(self, model: UlimModel, users: data.StoredUsers):
        self._model, newest = model, users.baskets() - 1
        self._user = tf.range(tf.size(newest, tf.int64))
        self._rank = users.basket_start(self._user, newest)
        self._now = users.time_of(self._user, self._rank)
        largest = users.basket_targets(self._user, newest).numpy().max(initial=1)
        targets = users.basket_items(self._user, newest, tf.zeros_like(newest), int(largest))
        self._target = [np.unique(item[real]) for item, real in zip(
            targets[data.TARGET_ITEM].numpy(), targets[data.TARGET_REAL].numpy())]
        self._score = ExactScorer(model, users)

    def recall(self) -> np.ndarray:
        """The sum over users of the share of their basket among the first RECALL_AT items, and the number of users."""
        items, read = self._model.items, self._model.categories * self._model.settings.history.subsequence
        scores = self._score(self._user.numpy(), self._rank.numpy(), self._now.numpy(),
                             at_once=max(_SCORES_AT_ONCE // max(items, read), 1))
        best = [row for batch in scores
                for row in 1 + tf.math.top_k(batch.item[:, 1:], min(RECALL_AT, items)).indices.numpy()]
        return np.array([sum(np.isin(target, row).mean() for target, row in zip(self._target, best)), len(best)])
