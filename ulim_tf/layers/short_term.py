"""The short-term branch: q = mean-pool(MHSA(newest S behaviours)) (ULIM, section CHDIL [P])."""

import tensorflow as tf
import tf_keras as keras


class ShortTermEncoder(keras.layers.Layer):
    """Self-attention over the newest behaviours of any category, pooled.

    Args:
        width: D.
        heads: attention heads; divides D.
    """

    def __init__(self, width: int, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads, name="attention")
        self.norm = keras.layers.LayerNormalization(name="norm")

    def build(self, shape: tf.TensorShape) -> None:
        self.empty = self.add_weight("empty", [self.width], initializer="zeros")
        super().build(shape)

    def call(self, behaviour: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Behaviours [B, S, D], `length` [B] of them real -> q [B, D]; a learned vector where there are none."""
        real = tf.sequence_mask(length, tf.shape(behaviour)[1])
        attended = self.attention(behaviour, behaviour, attention_mask=real[:, None, :])
        attended = self.norm(behaviour + attended)
        weight = tf.cast(real, behaviour.dtype)[:, :, None]
        count = tf.reduce_sum(weight, axis=1)
        pooled = tf.reduce_sum(attended * weight, axis=1) / tf.maximum(count, 1.0)
        return tf.where(count > 0, pooled, self.empty)
