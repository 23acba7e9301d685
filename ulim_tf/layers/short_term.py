"""The short-term branch: q = mean-pool(MHSA(newest S behaviours)) (ULIM, section CHDIL [P])."""

import tensorflow as tf
import tf_keras as keras


class _SelfAttention(keras.layers.MultiHeadAttention):
    """Keras's, with the softmax in float32 in mixed precision too."""

    def _build_attention(self, rank: int) -> None:
        super()._build_attention(rank)
        self._softmax = keras.layers.Softmax(dtype="float32")


class ShortTermEncoder(keras.layers.Layer):
    """Self-attention over the newest behaviours of any category, pooled.

    Args:
        width: D.
        heads: attention heads; divides D.
        attends: whether behaviours attend to each other; if not, they are only normalised and pooled.
    """

    def __init__(self, width: int, heads: int, attends: bool = True, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.width = width
        self.attention = _SelfAttention(heads, width // heads, name="attention") if attends else None
        self.norm = keras.layers.LayerNormalization(dtype="float32", name="norm")

    def build(self, shape: tf.TensorShape) -> None:
        self.empty = self.add_weight("empty", [self.width], initializer="zeros")
        super().build(shape)

    def call(self, behaviour: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Behaviours [B, S, D], `length` [B] of them real -> q [B, D]; a learned vector where there are none."""
        real = tf.sequence_mask(length, tf.shape(behaviour)[1])
        attended = behaviour
        if self.attention:
            attended += tf.cast(self.attention(behaviour, behaviour, attention_mask=real[:, None, :]), tf.float32)
        attended = self.norm(attended)
        weight = tf.cast(real, behaviour.dtype)[:, :, None]
        count = tf.reduce_sum(weight, axis=1)
        pooled = tf.reduce_sum(attended * weight, axis=1) / tf.maximum(count, 1.0)
        return tf.where(count > 0, pooled, self.empty)
