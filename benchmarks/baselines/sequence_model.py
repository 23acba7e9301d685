"""What the neural baselines share: their embeddings, their optimizer, their sampled softmax over the whole pool."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import math

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from ulim_tf import data, history, losses
from ulim_tf.event_log import EventLog
from ulim_tf.sampling import draw_from_pool

EVENTS = 100  # S
WIDTH = 64  # D
HIDDEN = 128  # units of a tower's hidden layer
RECENCY_BUCKETS = 20  # powers of two of an hour, as ULIM has them


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is tuned of a neural baseline; the rest is ULIM's.

    Attributes:
        learning_rate: of Adam, for dense weights.
        embedding_learning_rate: of Adagrad, for embeddings.
        temperature: divides the scores, which are cosines.
        negatives: shared by a batch, drawn from the whole pool; not used by in-batch losses.
        moments: B of a batch.
        targets: T of a batch.
    """

    learning_rate: float = 1e-3
    embedding_learning_rate: float = 0.15
    temperature: float = 0.1
    negatives: int = 1024
    moments: int = 128
    targets: int = 8


class SequenceModel(tfrs.Model):
    """A user as K interest vectors read from the newest S events, searched in the whole pool.

    Subclasses give `read` and, where the loss is not the sampled softmax, `compute_loss`.

    Args:
        log: gives the items and their categories.
        settings: see there.
    """

    def __init__(self, log: EventLog, settings: Settings):
        super().__init__()
        self.items, self.settings = log.items, settings
        self.item_category = tf.constant(log.item_category, tf.int64)
        self.item, self.category, self.recency = self.tables = [
            keras.layers.Embedding(rows, WIDTH) for rows in (log.items + 1, log.categories + 1, RECENCY_BUCKETS)]
        for table in self.tables:
            table.build(None)

    def read(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        """Interests [B, K, D], of any length, read from the `short_*` tensors of `ulim_tf/history.py`."""
        raise NotImplementedError

    def interests(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        """Interests of length 1, [B, K, D], that are compared with `candidates`."""
        return tf.math.l2_normalize(self.read(moments), axis=-1)

    def candidates(self, item: tf.Tensor) -> tf.Tensor:
        """Items as vectors of length 1: int64 [...] -> float32 [..., D]."""
        return tf.math.l2_normalize(self.item_vector(item), axis=-1)

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

    def against_pool(self, vector: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Sampled softmax with logQ correction of targets int64 [B, T] scored by [B, 1 or T, D] -> [B, T]."""
        pool, log_expected_count = draw_from_pool(self.items, self.settings.negatives)
        positive = tf.reduce_sum(vector * self.candidates(target), axis=-1)
        negative = tf.einsum("btd,nd->btn", vector, self.candidates(pool))
        negative = tf.broadcast_to(negative, tf.concat([tf.shape(target), tf.shape(pool)], axis=0))
        return losses.sampled_softmax(positive / self.settings.temperature, negative / self.settings.temperature,
                                      log_expected_count, pool == target[..., None])

    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, moments: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Mean of the sampled softmax over the real targets (scalar); every basket weighs the same."""
        target = moments[data.TARGET_ITEM]
        loss = self.against_pool(self.interests_for(moments, target), target)
        return losses.mean_of_real(loss, moments[data.TARGET_REAL])

    def interests_for(self, moments: dict[str, tf.Tensor], target: tf.Tensor) -> tf.Tensor:
        """The interests [B, 1 or T, D] that targets int64 [B, T] are scored by in training."""
        return self.interests(moments)

    def compile(self, **kwargs) -> None:
        """Adagrad with sparse updates for embeddings, Adam for the rest, as ULIM."""
        tables = [table.embeddings for table in self.tables]
        ours = {id(variable) for variable in tables}
        dense = [variable for variable in self.trainable_variables if id(variable) not in ours]
        super().compile(optimizer=tfrs.experimental.optimizers.CompositeOptimizer([
            (keras.optimizers.legacy.Adagrad(self.settings.embedding_learning_rate, initial_accumulator_value=1e-9),
             lambda: tables),
            (keras.optimizers.legacy.Adam(self.settings.learning_rate), lambda: dense)]), **kwargs)
