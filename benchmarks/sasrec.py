"""SASRec, the yardstick of training cost: causal self-attention over the newest L events, trained on every position.

Kang, McAuley: Self-Attentive Sequential Recommendation, ICDM 2018, arXiv 1808.09781. Its binary loss is replaced by a
sampled softmax with logQ correction over a pool of negatives, as ULIM's short-term loss has.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from ulim_tf import losses
from ulim_tf.event_log import EventLog
from ulim_tf.optimizers import LazyAdam
from ulim_tf.sampling import draw_from_pool


class SasRec(tfrs.Model):
    """Takes batches int64 [B, L + 1] of `sequences`.

    Args:
        items: V.
        length: L.
        width: D.
        heads: of each block's attention; divides D.
        blocks: of attention and a two-layer network.
        negatives: a batch shares, drawn from the whole pool.
    """

    def __init__(self, items: int, length: int, width: int = 64, heads: int = 2, blocks: int = 2,
                 negatives: int = 1024):
        super().__init__()
        self.items, self.negatives = items, negatives
        self.item = keras.layers.Embedding(items + 1, width)
        self.position = self.add_weight("position", [length, width], initializer="random_normal")
        self.blocks = [_Block(width, heads) for _ in range(blocks)]
        self.norm = keras.layers.LayerNormalization()
        self.call(tf.zeros([1, length], tf.int64))

    def call(self, item: tf.Tensor) -> tf.Tensor:
        """int64 [B, L] -> what follows each position, float32 [B, L, D]."""
        state = self.item(item) + self.position
        for block in self.blocks:
            state = block(state)
        return self.norm(state)

    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, sequence: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Mean of the sampled softmax over all B * L positions (scalar)."""
        state, target = self.call(sequence[:, :-1]), sequence[:, 1:]
        pool, log_expected_count = draw_from_pool(self.items, self.negatives)
        positive = tf.reduce_sum(state * self.item(target), axis=-1)
        negative = tf.einsum("bld,nd->bln", state, self.item(pool))
        return tf.reduce_mean(losses.sampled_softmax(positive, negative, log_expected_count, pool == target[..., None]))

    def compile(self, **kwargs) -> None:
        """ULIM's Adam, with sparse updates."""
        super().compile(optimizer=LazyAdam(), **kwargs)


class _Block(keras.layers.Layer):
    """Causal attention and a two-layer network, each with its residual."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads)
        self.network = keras.Sequential([keras.layers.Dense(width, "relu"), keras.layers.Dense(width)])
        self.before_attention, self.before_network = (keras.layers.LayerNormalization() for _ in range(2))

    def call(self, state: tf.Tensor) -> tf.Tensor:
        state += self.attention(self.before_attention(state), state, use_causal_mask=True)
        return state + self.network(self.before_network(state))


def sequences(log: EventLog, length: int, batch: int, seed: int) -> tf.data.Dataset:
    """Endless batches int64 [B, L + 1]: the newest events of users in random order.

    Raises:
        ValueError: a user has fewer than L + 1 events.
    """
    if np.diff(log.splits).min() <= length:
        raise ValueError(f"every user must have more than length = {length} events, the shortest history has "
                         f"{np.diff(log.splits).min()}. Leave such users out, or read less.")
    newest = np.stack([log.item[end - length - 1:end] for end in log.splits[1:]])
    return tf.data.Dataset.from_tensor_slices(newest).shuffle(len(newest), seed=seed).repeat().batch(batch).prefetch(2)
