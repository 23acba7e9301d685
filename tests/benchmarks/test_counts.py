import numpy as np
import pytest

from benchmarks.baselines import counts
from ulim_tf.event_log import EventLog, HeldOut
from ulim_tf.sequences import DAY_SECONDS

YEAR = 365 * DAY_SECONDS


def log_of(histories: list[list[int]], items: int, timestamps: list[list[int]]) -> EventLog:
    names = np.array(["", *map(str, range(1, items + 1))], object)
    return EventLog(
        user_id=np.array([f"u{number}" for number in range(len(histories))], object), item_id=names,
        category_id=np.array(["", "1", "2"], object), item_category=np.append(0, 1 + np.arange(items) % 2), title=names,
        content_id=np.array([""], object), item_content=np.zeros([items + 1, 0], np.int64),
        splits=np.cumsum([0, *map(len, histories)]), item=np.concatenate(histories),
        timestamp=np.concatenate(timestamps), basket_start=np.zeros(sum(map(len, histories)), np.int64))


# Item 3 is the most popular (4 events), then 1 and 4 (3 each), 2 (1); nobody bought 5.
LOG = log_of([[1, 1, 3, 2], [3, 4, 3], [4, 3, 1, 4]], 5, [[0, 0, YEAR, YEAR], [YEAR] * 3, [YEAR] * 4])
HELD = HeldOut(np.array([0, 1]), [np.array([4]), np.array([1])], np.array([YEAR, YEAR]), 0, 0, 0)


def rank(model: counts.Counts, count: int, exclude_seen: bool = False) -> list[list[int]]:
    model.fit(LOG, validation=None, steps=None, seed=0, quick=False)
    return model.rank(LOG, HELD, count, exclude_seen).tolist()


def test_the_most_popular_come_first():
    assert rank(counts.MostPopular(), 2) in ([[3, 1]] * 2, [[3, 4]] * 2)
    assert rank(counts.MostPopular(), 3, exclude_seen=True) == [[4, 5, 0], [1, 2, 5]]


def test_own_events_come_first_then_the_popular():
    # User 0: item 1 twice, then 3 before 2 by popularity; then what is left by popularity.
    assert rank(counts.OwnMostFrequent(), 5) == [[1, 3, 2, 4, 5], [3, 4, 1, 2, 5]]


def test_neighbours_are_weighted_by_the_cosine_of_buyers():
    model = counts.ItemKnn()
    model.fit(LOG, validation=None, steps=None, seed=0, quick=False)
    # Buyers: 1 {0, 2}, 2 {0}, 3 {0, 1, 2}, 4 {1, 2}. User 1 has 3 twice and 4 once, all of today.
    bought = {1: {0, 2}, 2: {0}, 3: {0, 1, 2}, 4: {1, 2}}

    def cosine(one: int, other: int) -> float:
        return len(bought[one] & bought[other]) / np.sqrt(len(bought[one]) * len(bought[other]))

    expected = [0.0, *(2 * cosine(item, 3) + cosine(item, 4) for item in range(1, 5)), 0.0]
    np.testing.assert_allclose(model.score(LOG, np.array([1]), np.array([YEAR]))[0], expected)


def test_old_events_count_less_in_the_mixture():
    """User 0's two events of item 1 are a year old: .5 ** (365 / 180) each, less than today's single ones."""
    own = 2 * 0.5 ** (365 / 180)
    assert own < 1
    assert rank(counts.OwnAndKnn(), 3)[0][2] == 1


def test_own_categories_by_frequency():
    model = counts.OwnMostFrequent()
    assert model.rank_categories(LOG, HELD, 2).tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize("model", [counts.MostPopular(), counts.ItemKnn(), counts.OwnAndKnn()])
def test_rankings_repeat_nothing(model):
    for row in rank(model, 5):
        assert sorted(row) == [1, 2, 3, 4, 5]
