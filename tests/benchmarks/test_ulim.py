import dataclasses

import numpy as np
import pytest

from benchmarks.ulim import ExactUlim, ServedUlim, newest_half
from tests.benchmarks.test_counts import log_of
from tests.serving.servables import only
from tests.ulim_tf.examples import small_log
from ulim_tf.evaluate import recall_at
from ulim_tf.event_log import EventLog, HeldOut

SMALL = {"model": {"width": 16, "hidden": 32}, "history": {"short": 10, "subsequence": 10},
         "training": {"learning_rate": 1e-2}}


def random_baskets(users: int, items: int, categories: int, baskets: int,
                   size: int) -> tuple[EventLog, EventLog, HeldOut]:
    """A log without any rule to it, the same log without each user's last basket, and those baskets."""
    rng = np.random.default_rng(4)
    bought = np.stack([[rng.choice(items, size, replace=False) + 1 for _ in range(baskets)] for _ in range(users)])
    day = np.repeat(np.arange(1, baskets + 1), size)
    item_category = np.append(0, 1 + np.arange(items) % categories)
    log = log_of(bought.reshape(users, -1).tolist(), items, [(86_400 * day).tolist()] * users)
    log = dataclasses.replace(log, item_category=item_category, category_id=np.array([*range(categories + 1)], object),
                              basket_start=np.tile((day - 1) * size, users))
    before = np.tile(day < baskets, users)
    cut = dataclasses.replace(log, splits=log.splits * (baskets - 1) // baskets, item=log.item[before],
                              timestamp=log.timestamp[before], basket_start=log.basket_start[before])
    last = HeldOut(np.arange(users), list(bought[:, -1]), np.full(users, 86_400 * baskets), 0, 0, 0)
    return log, cut, last


def test_fifty_users_are_learnt_by_heart():
    log, cut, last = random_baskets(users=50, items=300, categories=6, baskets=4, size=3)
    model = ExactUlim(overrides={**SMALL, "training": {"learning_rate": 1e-2, "steps": 150}})
    model.fit(log, validation=None, steps=150, seed=3, quick=False)
    found = recall_at(model.rank(cut, last, 20, exclude_seen=False).tolist(), [one.tolist() for one in last.target], 20)
    assert found >= 0.95


@pytest.fixture(scope="module")
def fitted():
    """A model whose servable searches every category whole, and the log it was fitted on."""
    log, held = small_log()
    exact = ExactUlim(overrides={**SMALL, "retrieval": {"categories": log.categories, "per_category": log.items,
                                                        "short_term": log.items}})
    exact.fit(log, validation=None, steps=30, seed=3, quick=False)
    return exact, log, held


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_servable_answers_as_the_model_ranks(fitted, exclude_seen):
    exact, log, held = fitted
    wanted = exact.rank(log, held, 12, exclude_seen)
    with only("serving_default"):
        found = ServedUlim("served", exact).rank(log, held, 12, exclude_seen)
    assert (wanted == found).mean() > 0.99  # float32 there, float64 here: near ties may change places


def test_the_servable_predicts_the_categories_of_the_model(fitted):
    exact, log, held = fitted
    with only("predict_category"):
        found = ServedUlim("served", exact).rank_categories(log, held, log.categories)
    np.testing.assert_array_equal(exact.rank_categories(log, held, log.categories), found)


def test_the_newest_half_of_each_user_is_kept():
    log = log_of([[1, 2, 3, 4, 5], [2], [3, 4]], 5, [[1, 2, 3, 4, 5], [6], [7, 8]])
    log.basket_start[:] = [0, 0, 2, 2, 4, 0, 0, 1]
    half = newest_half(log)
    assert half.item.tolist() == [3, 4, 5, 2, 4] and half.timestamp.tolist() == [3, 4, 5, 6, 8]
    assert np.diff(half.splits).tolist() == [3, 1, 1]
    assert half.basket_start.tolist() == [0, 0, 2, 0, 0]
