import numpy as np
import pytest
import tensorflow as tf

from ulim_tf.retrieval.normalizer import CategoryNormalizer

SIZES, WIDTH = [3, 400, 2000], 8


@pytest.fixture(scope="module")
def items():
    """float32 [V, D + 1] and int [V]: directions near a centre of each category, and biases."""
    rng = np.random.default_rng(0)
    category = 1 + np.repeat(np.arange(len(SIZES)), SIZES)
    direction = rng.normal(size=[len(SIZES) + 1, WIDTH])[category] + 0.3 * rng.normal(size=[len(category), WIDTH])
    return np.c_[direction, rng.normal(size=len(category))].astype(np.float32), category


def log_sum(items, query: np.ndarray, asked: np.ndarray, k: int, temperature: float = 1.0):
    """What the normalizer says, the log-sum over the best k, and that over the whole category."""
    vectors, category = items
    scores = [-np.sort(-vectors[category == c].astype(float) @ q) for q, c in zip(query, asked)]
    best = np.full([len(asked), k], -np.inf, np.float32)
    for row, of_one in zip(best, scores):
        row[:len(of_one)] = of_one[:k]
    said = CategoryNormalizer(vectors, category, category.max(), temperature).log_sum(
        tf.constant(query, tf.float32), tf.constant(asked, tf.int64), tf.constant(best)).numpy()
    exact = np.array([np.log(np.exp(one / temperature).sum()) for one in scores])
    return said, np.log(np.exp(best.astype(float) / temperature).sum(axis=1)), exact


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_sum_of_a_category_is_far_nearer_than_that_of_its_best(items, temperature):
    rng = np.random.default_rng(1)
    query = np.c_[0.5 * rng.normal(size=[60, WIDTH]), np.ones(60)]
    said, returned, exact = log_sum(items, query, rng.integers(2, 4, 60), 100, temperature)
    assert np.abs(said - exact).mean() < 0.3 * np.abs(returned - exact).mean()


def test_a_wild_estimate_is_bounded_by_the_scores():
    """One item far from the others, where moments mislead most: no more than 999 items can be as good as the tenth."""
    direction = np.append(np.zeros(999), 30.0)
    vectors = np.c_[direction, np.zeros(1000)].astype(np.float32)
    query, asked = np.array([[1.0, 1.0], [-9.0, 1.0]]), np.array([1, 1])
    said, returned, exact = log_sum((vectors, np.ones(1000, int)), query, asked, 10)
    assert (returned <= said + 1e-5).all()
    np.testing.assert_allclose(said, exact, rtol=1e-3)


def test_by_hand():
    """Items at e = -1, 3 and 1, weights 1: mean 1, variance 8 / 3, so log 3 + v + 4 / 3 v^2."""
    items = np.array([[-1.0, 0.0], [3.0, 0.0], [1.0, 0.0]], np.float32), np.array([1, 1, 1])
    said, returned, exact = log_sum(items, np.array([[0.5, 1.0], [-0.3, 1.0]]), np.array([1, 1]), 2)
    np.testing.assert_allclose(said, [np.log(3) + 0.5 + 1 / 3, np.log(3) - 0.3 + 0.12], rtol=1e-6)
    assert (returned < said).all() and (np.abs(said - exact) < np.abs(returned - exact)).all()


def test_the_sum_of_a_category_that_was_returned_whole_is_exact(items):
    query = np.ones([3, WIDTH + 1])
    said, returned, exact = log_sum(items, query, np.array([1, 2, 3]), 400)
    np.testing.assert_allclose(said[:2], exact[:2], rtol=1e-5)
    assert said[2] > returned[2]


def test_a_category_without_items_has_the_least_sum(items):
    """And the sums of the others are as they would be without it."""
    vectors, category = items
    query, asked = np.ones([3, WIDTH + 1], np.float32), np.array([1, 2, 3])
    best = np.full([3, 2], -np.inf, np.float32)
    best[1:] = [[9.0, 8.0], [7.0, 7.0]]
    with_gap = CategoryNormalizer(vectors, category + 1, len(SIZES) + 2, 1.0)  # none in 1 and in the last
    said = with_gap.log_sum(tf.constant(query), tf.constant([1, 3, 4]), tf.constant(best)).numpy()
    without = CategoryNormalizer(vectors, category, len(SIZES), 1.0)
    expected = without.log_sum(tf.constant(query), tf.constant(asked), tf.constant(best)).numpy()
    assert said[0] == np.finfo(np.float32).min
    np.testing.assert_allclose(said[1:], expected[1:], rtol=1e-6)
