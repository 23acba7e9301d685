"""The long-term branch: attention over one category's subsequence, asked by the short-term vector.

a = softmax_mask(W_q[q; e_c] . (W_k H_c)^T / sqrt(D) + b), l = sum_j a_j W_v h_j (ULIM, section CHDIL [P]; e_c in the
query, a bias b for each recency and the learned null token of an empty subsequence are [I]).
"""

import tensorflow as tf
import tf_keras as keras

from ulim_tf.layers.dnn import of_rows


class LongTermAttention(keras.layers.Layer):
    """Reads a same-category subsequence with a query that never holds the target item.

    Args:
        width: D.
    """

    def __init__(self, width: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.width = width
        self.query = keras.layers.Dense(width, use_bias=False, dtype="float32", name="query")
        self.key = keras.layers.Dense(width, use_bias=False, dtype="float32", name="key")
        self.value = keras.layers.Dense(width, use_bias=False, dtype="float32", name="value")

    def build(self, shape: tf.TensorShape) -> None:
        self.key.build(tf.TensorShape([None, self.width]))  # its kernel is read without a call
        self.null = self.add_weight("null", [self.width], initializer="zeros")
        super().build(shape)

    def call(self, asker: tf.Tensor, category: tf.Tensor, behaviour: tf.Tensor, owner: tf.Tensor,
             bias: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Attends inside each of K categories.

        A subsequence holds a few events of the M it may hold, so behaviours come without their padding.

        Args:
            asker: q, or whatever else asks, [B, K, D].
            category: e_c, [B, K, D].
            behaviour: H of all B * K subsequences, one after the other, [n, D].
            owner: int64 [n], ascending: which of the B * K subsequences each behaviour belongs to.
            bias: b of each behaviour, [n].
            length: int64 [B, K], behaviours of each; 0 gives the null token.

        Returns:
            l [B, K, D] and a [n], which sums to 1 over each subsequence.
        """
        shape = tf.shape(category)
        subsequences = shape[0] * shape[1]
        query = tf.reshape(of_rows(self.query, tf.concat([asker, category], axis=-1)), [subsequences, self.width])
        # W_k goes to the query's side and W_v behind the sum: the same numbers for a fraction of the work.
        asked = tf.matmul(query, self.key.kernel, transpose_b=True)
        logit = tf.reduce_sum(tf.gather(asked, owner) * behaviour, axis=-1) / self.width**0.5 + bias
        largest = tf.stop_gradient(tf.math.unsorted_segment_max(logit, owner, subsequences))
        mass = tf.exp(logit - tf.gather(largest, owner))
        weight = mass / tf.gather(tf.math.unsorted_segment_sum(mass, owner, subsequences), owner)
        pooled = self.value(tf.math.unsorted_segment_sum(weight[:, None] * behaviour, owner, subsequences))
        return tf.where((length > 0)[:, :, None], tf.reshape(pooled, shape), self.null), weight
