import numpy as np
import pytest
import tensorflow as tf

from tests.ulim_tf.retrieval.test_index import catalogue
from ulim_tf.retrieval import quality, scann_index
from ulim_tf.retrieval.index import CategoryIndex, Found
from ulim_tf.retrieval.quality import Quality
from ulim_tf.retrieval.scann_index import ScannIndex

ITEM, CATEGORY = np.array([10, 20, 30, 40]), np.array([1, 1, 1, 2])
VECTORS = np.array([[4], [3], [3], [1]], np.float32)


class Forgetful(CategoryIndex):
    """Knows items 10 and 30 of category 1 and nothing of category 2."""

    def _search(self, query, category, k, excluded):
        item = tf.where(category[:, None] == 1, [[10, 30, -1]], -1)
        return Found(tf.cast(item, tf.int64)[:, :k], tf.zeros(tf.shape(item))[:, :k])

    def _search_all(self, query, k, excluded, allowed):
        return Found(tf.tile(tf.constant([[10, 40, -1]], tf.int64)[:, :k], [len(query), 1]), tf.zeros([len(query), k]))


def test_recall_counts_what_scores_as_much_as_the_kth_best():
    found = quality.recall(np.ones([5, 1], np.float32), VECTORS, np.array([[0, 1], [2, 0], [0, 3], [-1, -1], [3, -1]]))
    assert found.tolist() == [1, 1, 0.5, 0, 0]  # rows 1 and 2 tie for the second place


def test_recall_wants_no_more_than_there_is():
    found = quality.recall(np.ones([2, 1], np.float32), VECTORS, np.array([[0, 1, 2, 3, -1], [0, 1, 2, -1, -1]]))
    assert found.tolist() == [1, 0.75]


def test_each_category_is_measured_and_the_pool():
    """Of the best two in category 1 it finds all, of the one in category 2 none; of the pool's best two, one."""
    index = Forgetful(ITEM, CATEGORY, VECTORS, 2, "forgetful")
    measured = quality.measure(index, ITEM, CATEGORY, VECTORS, np.ones([40, 1], np.float32), k=2, k_pool=2)
    assert measured.by_category == {1: 1.0, 2: 0.0}
    assert list(measured.by_category) == [1, 2]  # the worst last
    assert 0 < measured.in_category < 1
    assert measured.pool == 0.5


def test_an_index_that_finds_enough_passes():
    quality.check(Quality(0.99, 0.95, {1: 1.0}), 0.99, 0.95)


def test_the_worst_categories_are_named():
    by_category = {number: 1 - number / 100 for number in range(1, 9)}
    with pytest.raises(ValueError, match=r"finds 0\.9500 .* at least 0\.99 .*retrieval\.least_recall.*"
                                         r"8 \(0\.920\), 7 \(0\.930\), 6 \(0\.940\), 5 \(0\.950\), 4 \(0\.960\)\."):
        quality.check(Quality(0.95, 1.0, by_category), 0.99, 0.95)


def test_a_pool_that_is_searched_badly_is_refused():
    with pytest.raises(ValueError, match=r"finds 0\.9000 .* whole pool, at least 0\.95 .*retrieval\.least_pool_recall"):
        quality.check(Quality(1.0, 0.9, {1: 1.0}), 0.99, 0.95)


def test_an_exact_index_finds_everything():
    item, category, vectors, categories = catalogue([30, 0, 5, 200])
    measured = quality.measure(ScannIndex(item, category, vectors, categories), item, category, vectors,
                               quality.sample_queries(vectors, 100), k=20, k_pool=50)
    assert measured.in_category == measured.pool == 1.0
    assert set(measured.by_category) == {1, 3, 4}


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(scann_index, "_HASHED_FROM", 3000)
    monkeypatch.setattr(scann_index, "_LARGEST_EXACT_POOL", 3000)


def test_how_a_large_category_is_searched_follows_the_measurement(small_is_large, monkeypatch):
    item, category, vectors, categories = catalogue([4000, 20, 3000], width=16)
    index = ScannIndex(item, category, vectors, categories)
    assert [(choice.category, choice.items) for choice in index.choices] == [(1, 4000), (3, 3000)]
    for choice in index.choices:
        assert choice.hashed == (choice.hashed_recall >= 0.99 and choice.hashed_us < choice.exact_us)
    monkeypatch.setattr(scann_index, "_HASHED_RECALL", 1.01)
    assert not any(choice.hashed for choice in ScannIndex(item, category, vectors, categories).choices)


@pytest.mark.parametrize("quantised", [False, True])
def test_a_large_pool_is_searched_well(small_is_large, quantised):
    """By a tree and hashes, of which 8 bits a dimension are scored."""
    item, category, vectors, categories = catalogue([4000, 20, 3000], width=16)
    index = ScannIndex(item, category, vectors, categories, quantised=quantised)
    measured = quality.measure(index, item, category, vectors, quality.sample_queries(vectors, 100), 20, 50)
    assert measured.pool >= 0.95
    assert measured.in_category >= (0.97 if quantised else 0.99)
