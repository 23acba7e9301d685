"""Adam that touches only the embedding rows of a batch, so that a step's cost does not grow with V."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.saving.register_keras_serializable("ulim_tf")
class LazyAdam(keras.optimizers.legacy.Adam):
    """Adam (Kingma & Ba 2015) whose sparse update leaves the moments of absent rows alone.

    Keras's own decays the moments of the whole table at each step, which costs O(V D) and also moves rows that the
    batch did not hold.
    """

    def _resource_apply_sparse(self, grad: tf.Tensor, var: tf.Variable, indices: tf.Tensor,
                               apply_state: dict[Any, Any] | None = None) -> tf.Operation:
        known = (apply_state or {}).get((var.device, var.dtype.base_dtype)) or self._fallback_apply_state(
            var.device, var.dtype.base_dtype)
        first, second = self.get_slot(var, "m"), self.get_slot(var, "v")
        moment = known["beta_1_t"] * tf.gather(first, indices) + known["one_minus_beta_1_t"] * grad
        square = known["beta_2_t"] * tf.gather(second, indices) + known["one_minus_beta_2_t"] * tf.square(grad)
        change = known["lr"] * moment / (tf.sqrt(square) + known["epsilon"])
        return tf.group(
            self._resource_scatter_update(first, indices, moment),
            self._resource_scatter_update(second, indices, square),
            self._resource_scatter_add(var, indices, -change))

    def _resource_scatter_update(self, variable: tf.Variable, indices: tf.Tensor, rows: tf.Tensor) -> tf.Operation:
        return tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=indices, updates=rows)
