"""The pointer carried to items: how much of a category's probability is copied from the history (not in the paper [I]).

P(i|c) = g * copy(i|c) + (1 - g) * gen(i|c), copy(i|c) = sum of the long-term attention over the events of item i,
g = sigmoid(MLP[l; q; e_c; log n]), 0 on an empty subsequence. A dot product cannot single out one item among many that
are alike; people rebuy exactly that one.
"""

import tensorflow as tf
import tf_keras as keras

from ulim_tf.layers.dnn import dnn, of_rows


class ItemGate(keras.layers.Layer):
    """The gate g between copying an item and generating one.

    Args:
        hidden: units of its DNN.
    """

    def __init__(self, hidden: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.dnn = dnn("gate", hidden, 1)

    def call(self, interest: tf.Tensor, short: tf.Tensor, category: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """g of each of K categories.

        Args:
            interest: l, [B, K, D].
            short: q, [B, K, D].
            category: e_c, [B, K, D].
            length: int64 [B, K], n.

        Returns:
            float32 [B, K], in [0, 1).
        """
        count = tf.math.log1p(tf.cast(length, interest.dtype))[..., None]
        gate = tf.sigmoid(of_rows(self.dnn, tf.concat([interest, short, category, count], axis=-1))[..., 0])
        return tf.where(length > 0, gate, 0.0)
