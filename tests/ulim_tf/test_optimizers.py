import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from ulim_tf.optimizers import LazyAdam

ROWS, WIDTH = 6, 2
BATCHES = [[0, 2, 2], [5], [2, 0], [1, 5, 5, 5]]


def train(rate) -> np.ndarray:
    table = tf.Variable(np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH))
    optimizer = LazyAdam(rate)
    for step, batch in enumerate(BATCHES):
        with tf.GradientTape() as tape:
            rows = tf.gather(table, batch)
            loss = tf.reduce_sum(rows * np.linspace(1 + step, 3, len(batch) * WIDTH).reshape(-1, WIDTH))
        optimizer.minimize(loss, [table], tape=tape)
    return table.numpy()


def reference(rates: list[float]) -> np.ndarray:
    """Adam for each row on its own; the bias correction goes by the steps of all."""
    table = np.arange(ROWS * WIDTH, dtype=np.float64).reshape(ROWS, WIDTH)
    first, second = np.zeros_like(table), np.zeros_like(table)
    for step, (batch, rate) in enumerate(zip(BATCHES, rates)):
        gradient = np.zeros_like(table)
        np.add.at(gradient, batch, np.linspace(1 + step, 3, len(batch) * WIDTH).reshape(-1, WIDTH))
        for row in set(batch):
            first[row] = 0.9 * first[row] + 0.1 * gradient[row]
            second[row] = 0.999 * second[row] + 0.001 * gradient[row] ** 2
            mean = first[row] / (1 - 0.9 ** (step + 1))
            square = second[row] / (1 - 0.999 ** (step + 1))
            table[row] -= rate * mean / (np.sqrt(square) + 1e-7 / np.sqrt(1 - 0.999 ** (step + 1)))
    return table


def test_only_rows_of_a_batch_move_and_move_as_adam_says():
    np.testing.assert_allclose(train(0.1), reference([0.1] * 4), rtol=1e-5)
    assert (train(0.1)[[3, 4]] == [[6, 7], [8, 9]]).all()


def test_a_schedule_sets_the_rate_of_each_step():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 2], [0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(train(schedule), reference([0.4, 0.3, 0.2, 0.1]), rtol=1e-5)


def test_dense_gradients_are_those_of_keras():
    found = []
    for optimizer in (LazyAdam(0.1), keras.optimizers.Adam(0.1)):
        weight = tf.Variable([1.0, -2.0])
        for _ in range(3):
            optimizer.minimize(lambda weight=weight: tf.reduce_sum(weight ** 2), [weight])
        found.append(weight.numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("rate", [0.3, keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)])
def test_an_optimizer_is_made_again_from_its_config(rate):
    config = keras.optimizers.serialize(LazyAdam(rate, beta_1=0.8))
    again = keras.optimizers.deserialize(config)
    assert type(again) is LazyAdam and again.get_config() == LazyAdam(rate, beta_1=0.8).get_config()
