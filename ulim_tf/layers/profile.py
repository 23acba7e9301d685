"""What is known of a user beside the history: the sum of a vector for each token of the profile [I]."""

import tensorflow as tf
import tf_keras as keras


class UserProfile(keras.layers.Layer):
    """One vector a token; a user without any has zeros.

    Args:
        tokens: known tokens, numbered from 1; 0 is for none or an unknown one.
        width: D.
    """

    def __init__(self, tokens: int, width: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.tokens, self.width = tokens, width

    def build(self, _: tf.TensorShape) -> None:
        self.table = self.add_weight("token", [self.tokens + 1, self.width],
                                     initializer=keras.initializers.RandomUniform(-0.05, 0.05))
        super().build(_)

    def call(self, token: tf.Tensor) -> tf.Tensor:
        """int64 [B, P] -> float32 [B, D]."""
        known = tf.where((token > 0)[..., None], tf.gather(self.table, token), 0.0)
        return tf.reduce_sum(known, axis=1)
