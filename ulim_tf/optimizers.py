"""Adam that touches only the embedding rows of a batch, so that a step's cost does not grow with V."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import tensorflow as tf
import tf_keras as keras


@keras.saving.register_keras_serializable("ulim_tf")
class LazyAdam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) whose sparse update leaves the moments of absent rows alone.

    Keras's own decays the moments of the whole table at each step, which costs O(V D) and also moves rows that the
    batch did not hold. Not one of `keras.optimizers.legacy`: a `.keras` file leaves the state of those out.

    Args:
        learning_rate: a number or a Keras schedule.
        jit_compile: off, unlike Keras: a batch's number of rows differs from step to step, and each would be compiled.
        **kwargs: of `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
                 jit_compile: bool = False, name: str = "LazyAdam", **kwargs):
        super().__init__(learning_rate, jit_compile=jit_compile, name=name, **kwargs)

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """One variable's step; the rows of a sparse gradient are distinct (Keras adds up duplicates before)."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        place = self._index_dict[self._var_key(variable)]
        first, second = self._momentums[place], self._velocities[place]
        rows, values = gradient.indices, gradient.values
        moment = self.beta_1 * tf.gather(first, rows) + (1.0 - self.beta_1) * values
        square = self.beta_2 * tf.gather(second, rows) + (1.0 - self.beta_2) * tf.square(values)
        first.scatter_update(tf.IndexedSlices(moment, rows))
        second.scatter_update(tf.IndexedSlices(square, rows))
        step = tf.cast(self.iterations + 1, variable.dtype)
        rate = (tf.cast(self.learning_rate, variable.dtype) * tf.sqrt(1.0 - tf.pow(self.beta_2, step))
                / (1.0 - tf.pow(self.beta_1, step)))
        variable.scatter_sub(tf.IndexedSlices(rate * moment / (tf.sqrt(square) + self.epsilon), rows))
