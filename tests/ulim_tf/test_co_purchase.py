import numpy as np
import pytest

from ulim_tf import co_purchase

# Users a and b buy items 1 and 2, users c, d and e items 3 and 4; nobody buys item 5; 0 is the unknown item.
EVENTS = [[1, 1, 2, 0], [1, 2], [3, 4, 4], [3, 4], [3, 3, 4]]


def counted(users: list[list[int]], items: int, batch: int = 2):
    parts = [users[start:start + batch] for start in range(0, len(users), batch)]
    return co_purchase.count([(np.array([len(user) for user in part]), np.concatenate(part).astype(int))
                              for part in parts], items)


def test_events_are_counted_by_user_and_item():
    assert counted(EVENTS, 5).toarray().tolist() == [
        [1, 2, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 2, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 2, 1, 0]]


def test_items_of_the_same_users_point_the_same_way():
    vectors = co_purchase.item_vectors(counted(EVENTS, 5), 2, seed=3)
    assert vectors.dtype == np.float32 and vectors.shape == (6, 2)
    np.testing.assert_array_equal(vectors[[0, 5]], 0.0)
    np.testing.assert_allclose(np.linalg.norm(vectors[1:5], axis=1), 0.5, rtol=1e-5)
    cosine = 4 * vectors[1:5] @ vectors[1:5].T
    np.testing.assert_allclose(cosine, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], atol=0.01)


def test_directions_are_those_of_a_dense_svd():
    rng = np.random.default_rng(0)
    users = [rng.integers(1, 13, size).tolist() for size in rng.integers(1, 30, 20)]
    vectors = co_purchase.item_vectors(counted(users, 12), 4, seed=3)
    bought = np.log1p([np.bincount(user, minlength=13) for user in users])
    bought /= np.maximum(np.linalg.norm(bought, axis=1, keepdims=True), 1)
    bought /= np.sqrt(5 + (bought > 0).sum(axis=0))
    expected = np.linalg.svd(bought, full_matrices=False)[2][:4].T
    expected[1:] *= 0.5 / np.linalg.norm(expected[1:], axis=1, keepdims=True)
    # An SVD leaves signs open; products of vectors do not know them.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-5)


@pytest.mark.parametrize("users", [[[1, 2]], [[]], [[0]], [[1], [2, 2]]])
def test_fewer_users_than_dimensions_fill_up_with_zeros(users):
    vectors = co_purchase.item_vectors(counted(users, 3), 8, seed=3)
    assert vectors.shape == (4, 8) and np.isfinite(vectors).all()
    assert not vectors[:, min(len(users), 4) - 1:].any()
