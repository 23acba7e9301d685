import numpy as np
import pytest
import tensorflow as tf

from ulim_tf.padding import padded, places


@pytest.mark.parametrize(("row", "rows", "width", "expected"), [
    ([0, 0, 2], 4, None, [[0, 1], [3, 3], [2, 3], [3, 3]]),
    ([1, 1, 1], 2, 4, [[3, 3, 3, 3], [0, 1, 2, 3]]),
    ([], 2, None, np.zeros([2, 0])),
    ([], 0, None, np.zeros([0, 0])),
    ([], 1, 2, [[0, 0]]),
])
def test_each_row_has_the_places_of_its_values_and_then_none(row, rows, width, expected):
    found = places(tf.constant(row, tf.int64), tf.constant(rows, tf.int64), width)
    np.testing.assert_array_equal(found, expected)


def test_values_of_any_rank_stand_at_their_places():
    place = tf.constant([[0, 1], [2, 2]], tf.int64)
    np.testing.assert_array_equal(padded(tf.constant([5, 6], tf.int64), place, -1), [[5, 6], [-1, -1]])
    np.testing.assert_array_equal(padded(tf.constant([[1.0, 2.0], [3.0, 4.0]]), place, float("-inf")),
                                  [[[1, 2], [3, 4]], [[-np.inf] * 2] * 2])


@pytest.mark.parametrize("seed", range(5))
def test_a_rectangle_holds_what_rows_hold(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 5, 7)
    values = rng.normal(size=lengths.sum()).astype(np.float32)
    found = padded(tf.constant(values), places(tf.constant(np.repeat(np.arange(7), lengths)), tf.constant(7, tf.int64)),
                   0.0).numpy()
    assert found.shape == (7, lengths.max())
    for row, own in zip(found, np.split(values, np.cumsum(lengths)[:-1])):
        np.testing.assert_array_equal(row, np.pad(own, (0, lengths.max() - len(own))))
