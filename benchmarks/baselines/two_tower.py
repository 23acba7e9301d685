"""A two-tower model as TensorFlow Recommenders teaches it: in-batch negatives, corrected for how often they come."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from benchmarks.baselines.sequence_model import HIDDEN, WIDTH, SequenceModel, Settings, real_targets
from ulim_tf.event_log import EventLog
from ulim_tf.layers.dnn import dnn


class TwoTower(SequenceModel):
    """A user tower over the mean of the newest S events, and an item tower over e_item + e_category."""

    def __init__(self, log: EventLog, settings: Settings = Settings(moments=512, targets=1)):
        super().__init__(log, settings)
        share = target_share(log, settings.targets)
        # All logits are corrected, so Q counts up to a factor; TFRS clips it to [1e-6, 1].
        self.sampling_weight = tf.constant(share / share.max(), tf.float32)
        self.user_tower, self.item_tower = dnn("user_tower", HIDDEN, WIDTH), dnn("item_tower", HIDDEN, WIDTH)
        for tower in (self.user_tower, self.item_tower):
            tower.build([None, WIDTH])
        self.task = tfrs.tasks.Retrieval(
            loss=keras.losses.CategoricalCrossentropy(from_logits=True), remove_accidental_hits=True)

    def read(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.user_tower(self.mean_of_behaviours(moments))[:, None, :]

    def represent(self, item: tf.Tensor) -> tf.Tensor:
        return self.item_tower(self.item_vector(item))

    def compute_loss(self, moments: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Softmax of each target against the other targets of the batch, its mean (scalar)."""
        target, interest, candidate = self._sides(moments)
        return self.task(interest, candidate, candidate_ids=target, compute_metrics=False,
                         candidate_sampling_probability=tf.gather(self.sampling_weight, target))

    @tf.autograph.experimental.do_not_convert  # TFRS's task is to be converted, the towers need not be
    def _sides(self, moments: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Targets int64 [n], and the interests and the targets' vectors [n, D]."""
        owner, target = real_targets(moments)
        return target, self.interest_in(moments, owner, target), self.candidates(target)


def target_share(log: EventLog, targets: int) -> np.ndarray:
    """Q, how many of the targets that training draws are each item: float64 [V + 1], sums to 1.

    Users are drawn alike, a user's baskets alike, and `targets` items of a basket at most.
    """
    user = np.repeat(np.arange(len(log.user_id)), np.diff(log.splits))
    basket = log.splits[user] + log.basket_start  # the position of its first event
    baskets = np.bincount(user[basket == np.arange(len(user))], minlength=len(log.user_id))
    size = np.bincount(basket, minlength=len(user))
    drawn = np.minimum(targets / size[basket], 1.0) / baskets[user]
    return np.bincount(log.item, drawn, minlength=log.items + 1) / drawn.sum()
