import numpy as np
import tensorflow as tf
import tf_keras as keras

from ulim_tf.optimizers import LazyAdam


def test_only_the_rows_of_a_batch_move_and_they_move_as_adam_says():
    table = tf.Variable(np.ones((4, 2), np.float32))
    optimizer = LazyAdam(0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-7)
    row, first, second = np.ones((4, 2)), np.zeros((4, 2)), np.zeros((4, 2))
    for step, (indices, gradient) in enumerate((([1, 3, 1], [[1, 2], [3, 4], [1, 1]]), ([3], [[-1, 5]])), start=1):
        optimizer.apply_gradients([(tf.IndexedSlices(
            tf.constant(gradient, tf.float32), tf.constant(indices), tf.constant([4, 2])), table)])
        total = np.zeros((4, 2))
        np.add.at(total, indices, gradient)
        touched = np.unique(indices)
        first[touched] = 0.9 * first[touched] + 0.1 * total[touched]
        second[touched] = 0.99 * second[touched] + 0.01 * total[touched] ** 2
        rate = 0.1 * np.sqrt(1 - 0.99**step) / (1 - 0.9**step)
        row[touched] -= rate * first[touched] / (np.sqrt(second[touched]) + 1e-7)
        np.testing.assert_allclose(table, row, rtol=1e-4)
    assert (row[[0, 2]] == 1).all()


def test_it_is_rebuilt_from_its_config():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.0)
    rebuilt = keras.optimizers.deserialize(keras.optimizers.serialize(LazyAdam(schedule)))
    assert isinstance(rebuilt, LazyAdam)
    assert rebuilt.get_config()["learning_rate"]["config"]["initial_learning_rate"] == 0.1
