"""What the neural baselines share: their embeddings, their optimizer, their sampled softmax over the whole pool."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from ulim_tf import data, history, losses
from ulim_tf.event_log import EventLog
from ulim_tf.optimizers import LazyAdam
from ulim_tf.sampling import draw_from_pool

EVENTS = 100  # S
WIDTH = 64  # D
HIDDEN = 128  # units of a tower's hidden layer
RECENCY_BUCKETS = 20  # powers of two of an hour, as ULIM has them


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is tuned of a neural baseline; the rest is ULIM's.

    Attributes:
        learning_rate: of Adam.
        temperature: divides the cosines of interests and items.
        negatives: shared by a batch, drawn from the whole pool; not used by in-batch losses.
        moments: B of a batch.
        targets: T of a batch.
    """

    learning_rate: float = 1e-3
    temperature: float = 0.1
    negatives: int = 1024
    moments: int = 128
    targets: int = 8


class SequenceModel(tfrs.Model):
    """A user as K interest vectors read from the newest S events, searched in the whole pool.

    Subclasses give `read`, and what else is theirs.

    Args:
        log: gives the items and their categories.
        settings: see there.
    """

    def __init__(self, log: EventLog, settings: Settings):
        super().__init__()
        self.items, self.settings = log.items, settings
        self.item_category = tf.constant(log.item_category, tf.int64)
        self.item, self.category, self.recency, self.bias = tables = [keras.layers.Embedding(*shape) for shape in (
            (log.items + 1, WIDTH), (log.categories + 1, WIDTH), (RECENCY_BUCKETS, WIDTH), (log.items + 1, 1))]
        for table in tables:
            table.build(None)
        events = np.bincount(log.item, minlength=log.items + 1)
        self.bias.embeddings.assign(np.log1p(events)[:, None])  # training begins at popularity, as ULIM's

    def read(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        """Interests [B, K, D], of any length, read from the `short_*` tensors of `ulim_tf/history.py`."""
        raise NotImplementedError

    def interests(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        """Interests as they are multiplied with `candidates`, [B, K, D + 1]: scaled to 1 / temperature, then a 1."""
        direction = tf.math.l2_normalize(self.read(moments), axis=-1) / self.settings.temperature
        return tf.concat([direction, tf.ones_like(direction[..., :1])], axis=-1)

    def candidates(self, item: tf.Tensor) -> tf.Tensor:
        """Items, scaled to 1, then their bias: int64 [...] -> float32 [..., D + 1]."""
        return tf.concat([tf.math.l2_normalize(self.represent(item), axis=-1), self.bias(item)], axis=-1)

    def represent(self, item: tf.Tensor) -> tf.Tensor:
        """Items as candidates, of any length: int64 [...] -> float32 [..., D]."""
        return self.item_vector(item)

    def item_vector(self, item: tf.Tensor) -> tf.Tensor:
        """e_item + e_category, in histories as in candidates: int64 [...] -> float32 [..., D]."""
        return self.item(item) + self.category(tf.gather(self.item_category, item))

    def behaviours(self, moments: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The newest events, e_item + e_category + e_recency [B, S, D], and which are real, float32 [B, S, 1]."""
        octave = tf.math.log1p(tf.cast(moments[history.SHORT_AGE], tf.float32) / 3600) / math.log(2)
        recency = tf.minimum(tf.cast(octave, tf.int32), RECENCY_BUCKETS - 1)
        behaviour = self.item_vector(moments[history.SHORT_ITEM]) + self.recency(recency)
        real = tf.sequence_mask(moments[history.SHORT_LENGTH], tf.shape(behaviour)[1], behaviour.dtype)
        return behaviour, real[..., None]

    def mean_of_behaviours(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        """[B, D], 0 without events."""
        behaviour, real = self.behaviours(moments)
        return tf.reduce_sum(behaviour * real, axis=1) / tf.maximum(tf.reduce_sum(real, axis=1), 1.0)

    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, moments: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Sampled softmax with logQ correction, its mean over targets, then over baskets (scalar)."""
        owner, target = real_targets(moments)
        interest = self.interest_in(moments, owner, target)
        pool, log_expected_count = draw_from_pool(self.items, self.settings.negatives)
        loss = losses.sampled_softmax(
            tf.reduce_sum(interest * self.candidates(target), axis=-1),
            tf.matmul(interest, self.candidates(pool), transpose_b=True), log_expected_count, pool == target[:, None])
        return losses.mean_of_moments(loss, owner, tf.shape(moments[data.TARGET_ITEM], out_type=tf.int64)[0])

    def interest_in(self, moments: dict[str, tf.Tensor], owner: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """What each target int64 [n] of the moments int64 [n] is scored by in training: [n, D + 1]."""
        return tf.gather(self.interests(moments)[:, 0], owner)

    def compile(self, **kwargs) -> None:
        """ULIM's Adam, with sparse updates, at a steady rate."""
        super().compile(optimizer=LazyAdam(self.settings.learning_rate), **kwargs)


def real_targets(moments: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """The moment int64 [n] and the item int64 [n] of each real target of a batch."""
    real = moments[data.TARGET_REAL]
    return tf.where(real)[:, 0], tf.boolean_mask(moments[data.TARGET_ITEM], real)
