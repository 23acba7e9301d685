import numpy as np
import pytest
import tensorflow as tf

from tests import oracles
from ulim_tf.retrieval.scann_index import NO_ITEM, ScannIndex

WIDTH = 8


def catalogue(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    category = rng.permutation(np.repeat(np.arange(1, len(sizes) + 1), sizes))
    return rng.normal(size=(len(category), WIDTH)).astype(np.float32), category


@pytest.mark.parametrize("sizes", [[1], [40], [1, 5, 15, 16, 17, 500], [3] * 200])
def test_search_is_exact_inside_each_category(sizes):
    vectors, category = catalogue(sizes)
    index = ScannIndex(vectors, category, len(sizes))
    wanted = np.arange(1, len(sizes) + 1)
    query = np.random.default_rng(1).normal(size=(len(sizes), WIDTH)).astype(np.float32)
    item, score = index.search(tf.constant(query), tf.constant(wanted, tf.int64), 20)
    assert item.shape == score.shape == (len(sizes), 20)
    for row, (q, c) in enumerate(zip(query, wanted)):
        expected = oracles.best_in_category(vectors, category, q, c, 20)
        found = len(expected)
        assert item[row, :found].numpy().tolist() == [i for i, _ in expected]
        np.testing.assert_allclose(score[row, :found], [s for _, s in expected], rtol=1e-4, atol=1e-5)
        assert (item[row, found:].numpy() == NO_ITEM).all()
        assert (score[row, found:].numpy() == -np.inf).all()


@pytest.mark.parametrize("sizes", [[1], [3, 2], [300]])
def test_the_whole_pool_is_searched(sizes):
    vectors, category = catalogue(sizes)
    query = np.random.default_rng(2).normal(size=(3, WIDTH)).astype(np.float32)
    item, score = ScannIndex(vectors, category, len(sizes)).search_all(tf.constant(query), 50)
    everything = np.ones(len(vectors), int)
    for row, q in enumerate(query):
        expected = oracles.best_in_category(vectors, everything, q, 1, 50)
        assert item[row].numpy().tolist() == [i for i, _ in expected] + [NO_ITEM] * (50 - len(expected))
        np.testing.assert_allclose(score[row, :len(expected)], [s for _, s in expected], rtol=1e-4, atol=1e-5)


def test_two_indices_of_one_process_do_not_answer_for_each_other():
    built = [(catalogue([30, 30], seed), seed) for seed in (3, 4)]
    indices = [ScannIndex(vectors, category, 2) for (vectors, category), _ in built]
    query = np.ones((1, WIDTH), np.float32)
    for ((vectors, category), _), index in zip(built, indices):
        item, _ = index.search(tf.constant(query), tf.constant([2], tf.int64), 3)
        assert item[0].numpy().tolist() == [i for i, _ in oracles.best_in_category(vectors, category, query[0], 2, 3)]


@pytest.mark.parametrize(("change", "message"), [
    (lambda v, c: (v.astype(np.float64), c), "vectors must be float32"),
    (lambda v, c: (v[0], c), "vectors must be float32"),
    (lambda v, c: (v, c[:-1]), r"category must have shape \[V\] = \[4\], got \[3\]"),
    (lambda v, c: (np.where(np.arange(4)[:, None] == 2, np.nan, v).astype(np.float32), c), "the first of them item 3"),
    (lambda v, c: (v, np.array([1, 1, 2, 3])), r"category must be in 1..C = 1..2, got 1..3"),
    (lambda v, c: (v, np.array([1, 1, 1, 1])), "none for 1 categories, the first of them category 2"),
])
def test_what_cannot_be_indexed_is_refused(change, message):
    vectors, category = change(np.ones((4, WIDTH), np.float32), np.array([1, 1, 2, 2]))
    with pytest.raises(ValueError, match=message):
        ScannIndex(vectors, category, 2)
