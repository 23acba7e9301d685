import numpy as np
import tensorflow as tf

from ulim_tf import losses
from ulim_tf.sampling import CategorySampler, draw_from_pool


def test_sampled_softmax_against_numpy():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 5))
    log_expected = rng.normal(size=(2, 3, 1))
    hit = rng.random((2, 3, 5)) < 0.3
    expected = np.empty((2, 3))
    for b in range(2):
        for t in range(3):
            others = sum(np.exp(negative[b, t, n] - log_expected[b, t, 0]) for n in range(5) if not hit[b, t, n])
            expected[b, t] = -np.log(np.exp(positive[b, t]) / (np.exp(positive[b, t]) + others))
    got = losses.sampled_softmax(*(tf.constant(x, tf.float32) for x in (positive, negative, log_expected)),
                                 tf.constant(hit))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_the_logq_correction_estimates_the_full_softmax():
    """Over many draws of 20 of 50 negatives, the corrected sum is close to that over all of them."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=50)
    full = -np.log(np.exp(scores[0]) / np.exp(scores).sum())
    drawn = rng.integers(0, 50, size=(4000, 20))
    got = losses.sampled_softmax(
        tf.constant(np.full(4000, scores[0]), tf.float32), tf.constant(scores[drawn], tf.float32),
        tf.constant(np.log(20 / 50), tf.float32), tf.constant(drawn == 0))
    assert abs(float(tf.reduce_mean(got)) - full) < 0.05


def test_copy_or_generate_against_numpy():
    gate, copied, generated = np.array([0.0, 0.25, 0.9]), np.array([0.0, 0.5, 0.0]), np.array([0.1, 1e-6, 0.02])
    got = losses.copy_or_generate(*(tf.constant(x, tf.float32) for x in (gate, copied, -np.log(generated))))
    np.testing.assert_allclose(got, -np.log(gate * copied + (1 - gate) * generated), rtol=1e-5)


def test_category_nll_against_numpy():
    probability = np.array([[0.0, 0.25, 0.75], [0.0, 1.0, 0.0]], np.float32)
    got = losses.category_nll(tf.constant(probability), tf.constant([0, 0, 1, 1], tf.int64),
                              tf.constant([1, 2, 1, 2], tf.int64))
    np.testing.assert_allclose(got, [-np.log(0.25), -np.log(0.75), 0.0, -np.log(1e-8)], atol=1e-4)


def test_every_moment_with_a_target_counts_alike():
    values, owner = tf.constant([1.0, 4.0, 8.0]), tf.constant([0, 2, 2], tf.int64)
    assert float(losses.mean_of_moments(values, owner, tf.constant(4, tf.int64))) == (1 + 6) / 2
    assert float(losses.mean_of_moments(values[:0], owner[:0], tf.constant(4, tf.int64))) == 0.0


def sampler() -> CategorySampler:
    """Items 1, 3, 5 in category 2; 2, 6 in 1; 4 in 3."""
    made = CategorySampler(items=6, categories=3)
    made.build(None)
    made.set_catalog(np.array([0, 2, 1, 2, 3, 2, 1]))
    return made


def test_a_small_category_is_drawn_whole():
    items, drawn, log_expected = sampler().draw(tf.constant([2, 1, 3], tf.int64), 4)
    for row, members in enumerate(([1, 3, 5], [2, 6], [4])):
        assert sorted(items.numpy()[row][drawn.numpy()[row]]) == members
    assert log_expected.numpy().tolist() == [0.0, 0.0, 0.0]


def test_items_of_a_large_category_are_drawn_alike_and_once():
    tf.random.set_seed(5)
    items, drawn, log_expected = sampler().draw(tf.fill([3000], tf.constant(2, tf.int64)), 2)
    assert drawn.numpy().all() and (items.numpy()[:, 0] != items.numpy()[:, 1]).all()
    found, counts = np.unique(items, return_counts=True)
    assert found.tolist() == [1, 3, 5]
    np.testing.assert_allclose(counts / 3000, 2 / 3, atol=0.05)
    np.testing.assert_allclose(log_expected, np.log(2 / 3), rtol=1e-6)


def test_the_pool_sample_is_distinct_and_in_range():
    tf.random.set_seed(5)
    items, log_expected = draw_from_pool(items=1000, count=200)
    assert len(set(items.numpy())) == 200 and items.numpy().min() >= 1 and items.numpy().max() <= 1000
    assert np.isfinite(log_expected).all() and (log_expected.numpy() <= 1e-6).all()
    assert sorted(draw_from_pool(items=3, count=200)[0].numpy()) == [1, 2, 3]
