"""One body of tests for every kind of index; `BruteForce` says what is right."""

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from tests.ulim_tf.retrieval.brute_force import BruteForce
from ulim_tf.retrieval.blocked_index import BlockedIndex
from ulim_tf.retrieval.candidates import NO_ITEM
from ulim_tf.retrieval.index import CategoryIndex, Found
from ulim_tf.retrieval.scann_index import ScannIndex

INDICES = {"scann": ScannIndex, "blocked": BlockedIndex}
SIZES = [0, 1, 5, 15, 16, 17, 500]

Build = Callable[[np.ndarray, np.ndarray, np.ndarray, int], CategoryIndex]


@pytest.fixture(params=INDICES.values(), ids=INDICES.keys())
def build(request) -> Build:
    return request.param


def catalogue(sizes: list[int], width: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Items with gaps in their numbers, in no order of category; category c has sizes[c - 1] of them."""
    rng = np.random.default_rng(seed)
    category = rng.permutation(np.repeat(np.arange(1, len(sizes) + 1), sizes))
    item = rng.permutation(3 * len(category))[:len(category)] + 1
    return item, category, rng.normal(size=(len(category), width)).astype(np.float32), len(sizes)


def assert_right(found: Found, place: int, expected: dict[int, float], k: int, query: np.ndarray) -> None:
    """Row `place` holds k places: the best of `expected`, of which equal scores may stand in any order."""
    item, score = found.item[place].numpy(), found.score[place].numpy()
    real = min(k, len(expected))
    assert item.shape == score.shape == (k,)
    assert item[real:].tolist() == [NO_ITEM] * (k - real)
    assert (score[real:] == -np.inf).all()
    assert len(set(item[:real].tolist())) == real
    assert set(item[:real].tolist()) <= set(expected)
    tolerance = {"rtol": 1e-4, "atol": 1e-4 * float(np.abs(query).max(initial=1e-30))}
    np.testing.assert_allclose(score[:real], [expected[i] for i in item[:real].tolist()], **tolerance)
    np.testing.assert_allclose(score[:real], list(expected.values())[:real], **tolerance)
    assert (np.diff(score[:real]) <= 0).all()


def assert_all_right(index: CategoryIndex, oracle: BruteForce, query: np.ndarray, category: np.ndarray, k: int,
                     excluded: np.ndarray | None = None) -> None:
    """Both searches; a user's pairs follow one another, and the first one's query is asked in the whole pool."""
    found = index.search(tf.constant(query), tf.constant(category, tf.int64), k,
                         None if excluded is None else tf.constant(excluded))
    users = len(query) if excluded is None else len(excluded)
    pairs = len(query) // users
    taboo = [()] * users if excluded is None else excluded.tolist()
    for place, wanted in enumerate(category):
        assert_right(found, place, oracle.scores(query[place], [wanted], taboo[place // pairs]), k, query[place])
    found = index.search_all(tf.constant(query[::pairs]), k, None if excluded is None else tf.constant(excluded))
    for user in range(users):
        assert_right(found, user, oracle.scores(query[pairs * user], None, taboo[user]), k, query[pairs * user])


@pytest.mark.parametrize("k", [1, 20, 700])
@pytest.mark.parametrize("sizes", [[1], [40], SIZES, [0, 0, 2], [3] * 200],
                         ids=["one item", "one category", "sizes", "empty ones", "many"])
def test_the_best_of_each_category_and_of_all(build, sizes, k):
    item, category, vectors, categories = catalogue(sizes)
    wanted = np.arange(1, categories + 1)
    query = np.random.default_rng(1).normal(size=(categories, vectors.shape[1])).astype(np.float32)
    assert_all_right(build(item, category, vectors, categories), BruteForce(item, category, vectors), query, wanted, k)


@pytest.mark.parametrize("length", [0.0, 1e-20, 1e-3, 1e4, 1e12])
def test_a_query_of_any_length(build, length):
    item, category, vectors, categories = catalogue(SIZES)
    query = length * np.random.default_rng(2).normal(size=(categories, vectors.shape[1])).astype(np.float32)
    query = query.astype(np.float32)
    assert_all_right(build(item, category, vectors, categories), BruteForce(item, category, vectors), query,
                     np.arange(1, categories + 1), 20)


@pytest.mark.parametrize("vectors", [np.zeros((60, 4)), np.ones((60, 4)), np.repeat(np.eye(4), 15, axis=0),
                                     1e4 * np.repeat(np.eye(4), 15, axis=0)], ids=["zero", "one", "four", "long"])
def test_equal_vectors(build, vectors):
    item, category, _, _ = catalogue([20, 40])
    vectors = vectors.astype(np.float32)
    query = np.random.default_rng(3).normal(size=(2, 4)).astype(np.float32)
    oracle = BruteForce(item, category, vectors)
    assert_all_right(build(item, category, vectors, 2), oracle, query, np.array([1, 2]), 30)


def test_categories_that_are_none(build):
    item, category, vectors, _ = catalogue([4, 4])
    found = build(item, category, vectors, 2).search(tf.ones([4, 8]), tf.constant([-1, 0, 3, 2**40], tf.int64), 2)
    assert (found.item.numpy() == NO_ITEM).all()
    assert (found.score.numpy() == -np.inf).all()


def test_it_knows_which_items_it_holds(build):
    item, category, vectors, _ = catalogue([4, 4])
    asked = np.array([[-1, 0, *item], [25, 2**40, *range(1, 9)]])
    held = build(item, category, vectors, 2).holds(tf.constant(asked))
    np.testing.assert_array_equal(held, np.isin(asked, item))


def test_no_query(build):
    item, category, vectors, _ = catalogue([4, 4])
    index = build(item, category, vectors, 2)
    assert index.search(tf.zeros([0, 8]), tf.zeros([0], tf.int64), 3).item.shape == (0, 3)
    assert index.search_all(tf.zeros([0, 8]), 3).item.shape == (0, 3)


def test_k_is_filled_beside_excluded_items(build):
    """Two users with three pairs each; of category 3 the second excludes all, of category 2 both exclude the best."""
    item, category, vectors, _ = catalogue([30, 30, 30])
    oracle = BruteForce(item, category, vectors)
    query = np.random.default_rng(4).normal(size=(6, 8)).astype(np.float32)
    wanted = np.array([2, 1, 2, 3, 2, 1])
    best = [list(oracle.scores(query[place], [2]))[:25] for place in (0, 4)]
    excluded = np.full((2, 60), -1)
    excluded[0, :25], excluded[0, 30:33] = best[0], [0, 1_000_000, best[0][0]]
    excluded[1, :25], excluded[1, 25:55] = best[1], item[category == 3]
    assert_all_right(build(item, category, vectors, 3), oracle, query, wanted, 10, excluded)


def assert_allowed_right(index: CategoryIndex, oracle: BruteForce, query: np.ndarray, allowed: np.ndarray, k: int,
                         excluded: np.ndarray | None = None) -> None:
    """The search in the whole pool, kept to categories of each user's own."""
    found = index.search_all(tf.constant(query), k, None if excluded is None else tf.constant(excluded),
                             tf.constant(allowed))
    for user, columns in enumerate(allowed):
        assert_right(found, user, oracle.scores(query[user], np.flatnonzero(columns).tolist(),
                                                () if excluded is None else excluded[user]), k, query[user])


def test_the_best_of_some_categories(build):
    """All, none, all but a large one, all but a small one, a large one, two small ones, in one call and each alone."""
    item, category, vectors, categories = catalogue(SIZES)
    every = set(range(1, categories + 1))
    users = [every, set(), every - {7}, every - {2}, {7}, {2, 3}]
    allowed = np.array([[one in user for one in range(categories + 1)] for user in users])
    query = np.random.default_rng(7).normal(size=(len(users), 8)).astype(np.float32)
    excluded = np.random.default_rng(8).choice(item, (len(users), 60))
    index, oracle = build(item, category, vectors, categories), BruteForce(item, category, vectors)
    for k in (3, 30):
        assert_allowed_right(index, oracle, query, allowed, k)
        assert_allowed_right(index, oracle, query, allowed, k, excluded)
        for user in range(len(users)):
            one = slice(user, user + 1)
            assert_allowed_right(index, oracle, query[one], allowed[one], k, excluded[one])
    assert index.search_all(tf.zeros([0, 8]), 3, allowed=tf.zeros([0, categories + 1], tf.bool)).item.shape == (0, 3)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("kind", INDICES.values(), ids=INDICES.keys())
def test_whatever_the_catalogue(kind, data):
    """Small integers for vectors, so that scores tie."""
    sizes = data.draw(st.lists(st.sampled_from([*SIZES[:-1], 40]), min_size=1, max_size=8).filter(sum))
    width = data.draw(st.integers(1, 5))
    item, category, _, categories = catalogue(sizes, seed=data.draw(st.integers(0, 99)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = rng.integers(-2, 3, (len(item), width)).astype(np.float32)
    users, pairs, excluded = (data.draw(st.integers(*limits)) for limits in ((1, 3), (1, 4), (0, 40)))
    query = rng.integers(-2, 3, (users * pairs, width)).astype(np.float32)
    index, oracle = kind(item, category, vectors, categories), BruteForce(item, category, vectors)
    k = data.draw(st.sampled_from([1, 3, 50]))
    excluded = data.draw(st.sampled_from([None, rng.integers(-1, 3 * len(item) + 2, (users, excluded))]))
    assert_all_right(index, oracle, query, rng.integers(0, categories + 2, users * pairs), k, excluded)
    assert_allowed_right(index, oracle, query[::pairs], rng.random((users, categories + 1)) < rng.random(), k, excluded)


@pytest.mark.parametrize("sizes", [[1, 100_000, 0, 17], [20] * 50_000, [120] * 10_000],
                         ids=["a large one", "many", "more than a million items"])
def test_large_catalogues(build, sizes):
    item, category, vectors, categories = catalogue(sizes, width=4)
    index, oracle = build(item, category, vectors, categories), BruteForce(item, category, vectors)
    hashed = {choice.category for choice in getattr(index, "choices", []) if choice.hashed}
    wanted = np.unique(np.linspace(1, categories, 9).astype(int))
    query = np.random.default_rng(5).normal(size=(len(wanted), 4)).astype(np.float32)
    found = index.search(tf.constant(query), tf.constant(wanted), 50)
    for place, number in enumerate(wanted):
        expected = oracle.scores(query[place], [number])
        if number in hashed:
            assert len(set(found.item[place].numpy().tolist()) & set(list(expected)[:50])) >= 49
        else:
            assert_right(found, place, expected, 50, query[place])
    of_all = index.search_all(tf.constant(query[:1]), 100).item[0].numpy().tolist()
    assert len(set(of_all) & set(list(oracle.scores(query[0], None))[:100])) >= (100 if "blocked" in index.name else 90)


def test_two_indices_of_one_process_do_not_answer_for_each_other(build):
    catalogues = [catalogue([30, 30], seed=seed)[:3] for seed in (3, 4)]
    indices = [build(*one, 2) for one in catalogues]
    query, wanted = np.ones((2, 8), np.float32), np.array([1, 2])
    for index, one in zip(indices, catalogues):
        assert_all_right(index, BruteForce(*one), query, wanted, 3)


def test_in_a_saved_model(build, tmp_path):
    item, category, vectors, categories = catalogue(SIZES)
    holder = tf.Module()
    holder.index = build(item, category, vectors, categories)
    tf.saved_model.save(holder, str(tmp_path), signatures=tf.function(
        lambda query, category: holder.index.search(query, category, 20)._asdict(), autograph=False
    ).get_concrete_function(tf.TensorSpec([None, 8], tf.float32, "query"), tf.TensorSpec([None], tf.int64, "category")))
    query = np.random.default_rng(6).normal(size=(categories, 8)).astype(np.float32)
    wanted = np.arange(1, categories + 1)
    search = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    for _ in range(2):
        found = Found(**search(query=tf.constant(query), category=tf.constant(wanted)))
        for place, number in enumerate(wanted):
            expected = BruteForce(item, category, vectors).scores(query[place], [number])
            assert_right(found, place, expected, 20, query[place])


@pytest.mark.parametrize(("change", "message"), [
    (lambda i, c, v: (i, c, v.astype(np.float64)), "vectors must be float32"),
    (lambda i, c, v: (i, c, v[0]), "vectors must be float32"),
    (lambda i, c, v: (i, c, v[:3]), r"item must be int \[V\] = \[3\], got int64 \[4\]"),
    (lambda i, c, v: (i, c[:-1], v), r"category must be int \[V\] = \[4\], got int64 \[3\]"),
    (lambda i, c, v: (i / 1, c, v), r"item must be int \[V\] = \[4\], got float64"),
    (lambda i, c, v: (i, c, np.where(i[:, None] == 12, np.nan, v).astype(np.float32)), "the first of them item 12"),
    (lambda i, c, v: (i, c, np.where(i[:, None] == 13, np.inf, v).astype(np.float32)), "the first of them item 13"),
    (lambda i, c, v: (i, np.array([1, 1, 2, 3]), v), r"category must be in 1..C = 1..2, got 1..3"),
    (lambda i, c, v: (i, np.array([1, 1, 2, 0]), v), r"category must be in 1..C = 1..2, got 0..2"),
    (lambda i, c, v: (i - 10, c, v), r"item must be in 1\.\.2147483647, got 0\.\.3"),
    (lambda i, c, v: (np.array([10, 11, 12, 11]), c, v), "got item 11 2 times"),
])
def test_what_cannot_be_indexed_is_refused(build, change, message):
    with pytest.raises(ValueError, match=message):
        build(*change(np.arange(10, 14), np.array([1, 1, 2, 2]), np.ones((4, 8), np.float32)), 2)


def test_a_query_of_another_width_is_refused(build):
    item, category, vectors, _ = catalogue([4, 4])
    index = build(item, category, vectors, 2)
    with pytest.raises(ValueError, match=r"query must be float32 \[\.\.\., D\] with D = 8, got \[2, 7\]"):
        index.search(tf.zeros([2, 7]), tf.constant([1, 2], tf.int64), 3)
    with pytest.raises(ValueError, match=r"query must be float32 \[\.\.\., D\] with D = 8, got \[2, 7\]"):
        index.search_all(tf.zeros([2, 7]), 3)
