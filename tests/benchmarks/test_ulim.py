import numpy as np

from benchmarks.ulim import newest_half
from tests.benchmarks.test_counts import log_of


def test_the_newest_half_of_each_user_is_kept():
    log = log_of([[1, 2, 3, 4, 5], [2], [3, 4]], 5, [[1, 2, 3, 4, 5], [6], [7, 8]])
    log.basket_start[:] = [0, 0, 2, 2, 4, 0, 0, 1]
    half = newest_half(log)
    assert half.item.tolist() == [3, 4, 5, 2, 4] and half.timestamp.tolist() == [3, 4, 5, 6, 8]
    assert np.diff(half.splits).tolist() == [3, 1, 1]
    assert half.basket_start.tolist() == [0, 0, 2, 0, 0]
