"""The paper's MIND variant: K interests by dynamic routing, label-aware attention in training.

Li et al.: Multi-Interest Network with Dynamic Routing for Recommendation at Tmall, CIKM 2019, arXiv 1904.08030.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import tensorflow as tf
import tf_keras as keras

from benchmarks.baselines.sequence_model import EVENTS, HIDDEN, WIDTH, SequenceModel, Settings
from ulim_tf import history
from ulim_tf.event_log import EventLog
from ulim_tf.layers.dnn import dnn


class DynamicRouting(keras.layers.Layer):
    """Behaviour-to-interest routing (MIND, section 3.3): behaviours share one bilinear map.

    Args:
        interests: K.
        events: S, the most events that are routed.
        width: D.
        iterations: rounds of routing.
    """

    def __init__(self, interests: int, events: int, width: int, iterations: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.map = keras.layers.Dense(width, use_bias=False, name="bilinear")
        self.map.build([None, width])
        # Interests start apart by chance alone; drawn once, so that the same history gives the same interests.
        self.start = self.add_weight("start", [interests, events], trainable=False,
                                     initializer=keras.initializers.RandomNormal(stddev=1.0))
        self.interests, self.iterations = interests, iterations

    def call(self, behaviour: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        """Behaviours [B, S', D], float32 [B, S', 1] marks the real ones -> capsules [B, K, D], each shorter than 1."""
        mapped = self.map(behaviour)
        fixed = tf.stop_gradient(mapped)
        real = tf.transpose(real, [0, 2, 1])
        logit = tf.broadcast_to(self.start[None, :, :tf.shape(mapped)[1]],
                                [tf.shape(mapped)[0], self.interests, tf.shape(mapped)[1]])
        for _ in range(self.iterations - 1):
            capsule = squash(tf.matmul(tf.nn.softmax(logit, axis=1) * real, fixed))
            logit += tf.matmul(capsule, fixed, transpose_b=True)
        return squash(tf.matmul(tf.nn.softmax(logit, axis=1) * real, mapped))


def squash(vector: tf.Tensor) -> tf.Tensor:
    """[..., D] -> the same directions with lengths below 1: |v|^2 / (1 + |v|^2) * v / |v|."""
    square = tf.reduce_sum(vector ** 2, axis=-1, keepdims=True)
    return vector * tf.sqrt(square + 1e-9) / (1.0 + square)


def interests_used(events: tf.Tensor, most: int) -> tf.Tensor:
    """bool [B, K]: the max(1, min(K, log2 n)) interests of a user with n events, int64 [B] (MIND, section 3.3)."""
    doubled = tf.bitwise.left_shift(tf.constant(1, tf.int64), tf.range(1, most + 1, dtype=tf.int64))
    return (events[:, None] >= doubled) | (tf.range(most) == 0)


class Mind(SequenceModel):
    """K interests; a user with few events has fewer, and the rest repeat the first.

    Args:
        interests: K.
        sharpness: of the label-aware attention. MIND raises dot products to a power, which loses their sign; here they
            are multiplied [I].
    """

    def __init__(self, log: EventLog, interests: int = 2, sharpness: float = 0.2, settings: Settings = Settings()):
        super().__init__(log, settings)
        self.sharpness = sharpness
        self.routing = DynamicRouting(interests, EVENTS, WIDTH)
        self.tower = dnn("interest_tower", HIDDEN, WIDTH)
        self.tower.build([None, WIDTH])

    def read(self, moments: dict[str, tf.Tensor]) -> tf.Tensor:
        capsule = self.routing(*self.behaviours(moments))
        used = interests_used(moments[history.SHORT_LENGTH], self.routing.interests)
        return self.tower(tf.where(used[..., None], capsule, capsule[:, :1]))

    def interest_in(self, moments: dict[str, tf.Tensor], owner: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Label-aware attention: the mean of the owner's interests, weighted by their scores for the target."""
        interests = tf.gather(self.interests(moments), owner)
        score = tf.einsum("nkd,nd->nk", interests, self.candidates(target))
        return tf.einsum("nk,nkd->nd", tf.nn.softmax(self.sharpness * score, axis=-1), interests)
