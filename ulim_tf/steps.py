"""One step of training or of evaluation, counted by moments: any batch size, any number of replicas, any precision."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from ulim_tf import data


class MomentModel(tfrs.Model):
    """A model whose `compute_loss` is the mean over a batch's moments that have a target.

    TFRS's own steps report the loss of the last batch alone, add up the gradients of replicas instead of averaging
    them, and apply float16 gradients without scaling the loss.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean_loss = keras.metrics.Mean("loss")

    def make_train_function(self, force: bool = False) -> Callable[[Any], Any]:
        """Keras's; the optimizer has its variables before, because a function that makes variables is traced twice."""
        if isinstance(self.optimizer, keras.optimizers.Optimizer):  # those of `legacy` make them in no other way
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Keras's: one update of the weights, and the means of all metrics since they were reset."""
        with tf.GradientTape() as tape:
            loss = self.compute_loss(features, training=True)
            here = count_moments(features)
            # The optimizer adds up what the replicas bring: each brings its moments' part of the global mean.
            everywhere = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, here)
            share = loss * tf.math.divide_no_nan(here, everywhere)
        self.optimizer.minimize(share, self.trainable_variables, tape=tape)
        return self._report(loss, here)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Keras's: the means of all metrics since they were reset."""
        return self._report(self.compute_loss(features, training=False), count_moments(features))

    @tf.autograph.experimental.do_not_convert  # nor what it calls: that takes a quarter of a minute
    def predict_step(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Keras's."""
        return super().predict_step(features)

    def _report(self, loss: tf.Tensor, moments: tf.Tensor) -> dict[str, tf.Tensor]:
        self.mean_loss.update_state(loss, moments)
        return {metric.name: metric.result() for metric in self.metrics}


def count_moments(features: dict[str, tf.Tensor]) -> tf.Tensor:
    """float32 [], moments of a batch that have a target."""
    return tf.reduce_sum(tf.cast(tf.reduce_any(features[data.TARGET_REAL], axis=1), tf.float32))
