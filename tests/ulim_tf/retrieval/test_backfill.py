import hypothesis.strategies as st
import numpy as np
import tensorflow as tf
from hypothesis import example, given, settings

from tests import oracles
from ulim_tf.retrieval.backfill import Backfill

CATEGORY = [0, 1, 1, 2, 1, 1, 2, 3, 1]  # of the items 0 to 8


def candidates(item: list[int], item_category: list[int], cap: int, results: int,
               excluded: list[list[int]] | None, allowed: list[list[int]] | None = None) -> list[list[int]]:
    """What `Backfill` gives, without padding; `allowed` lists each user's categories, of five."""
    got = Backfill(np.array(item, np.int64), tf.Variable(item_category, dtype=tf.int64), cap).candidates(
        results, None if excluded is None else tf.constant(excluded, tf.int64),
        None if allowed is None else tf.constant([[number in user for number in range(9)] for user in allowed]))
    return [[item for item in row if item > 0] for row in got.numpy().tolist()]


def test_the_most_frequent_items_that_may_come_back():
    assert candidates([1, 2, 4, 7, 8], CATEGORY, 0, 3, None) == [[1, 2, 4]]
    assert candidates([1, 2, 4, 7, 8], CATEGORY, 0, 3, [[4]]) == [[1, 2, 4, 7]]
    assert candidates([1, 2, 4, 7, 8], CATEGORY, 0, 30, None) == [[1, 2, 4, 7, 8]]


def test_with_a_cap_the_next_of_a_category_for_each_that_is_excluded():
    every = list(range(1, 9))
    assert candidates(every, CATEGORY, 1, 9, None) == [[1, 3, 7]]
    # The users exclude two items of category 1 and one of 3, three of 1, nothing; spare are 2, 4, 5 and 8 of 1, 6 of 2.
    assert candidates(every, CATEGORY, 1, 9, [[8, 7, 1], [2, 1, 4], [-1, 0, -1]]) == [
        [1, 3, 7, 2, 4], [1, 3, 7, 2, 4, 5], [1, 3, 7]]


def test_items_of_other_categories_do_not_fill_up():
    every = list(range(1, 9))
    assert candidates(every, CATEGORY, 0, 2, None, [[1, 2, 3, 4], [2], [3, 1], []]) == [[1, 2], [3, 6], [1, 2], []]
    assert candidates(every, CATEGORY, 0, 2, [[4], [6]], [[1], [2, 3]]) == [[1, 2, 4], [3, 6, 7]]
    # Spare are 2, 4, 5 and 8 of category 1 and 6 of 2.
    assert candidates(every, CATEGORY, 1, 9, [[1, 3], [1, 3]], [[1, 3], [2]]) == [[1, 7, 2], [3, 6]]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 9999), categories=st.integers(1, 8), cap=st.integers(0, 6), results=st.integers(1, 25),
       excluded=st.integers(0, 25), found=st.integers(0, 12), share=st.sampled_from([None, 0.2, 0.8]))
@example(seed=0, categories=1, cap=3, results=3, excluded=25, found=0, share=None)
def test_they_fill_up_as_all_items_do(seed, categories, cap, results, excluded, found, share):
    """Frequent items are excluded more often than others, and some categories are far larger than others."""
    rng = np.random.default_rng(seed)
    items = 120
    item_category = [0, *np.minimum(rng.geometric(0.4, items), categories).tolist()]
    every = (np.flatnonzero(rng.random(items) < 0.9) + 1).tolist()
    excluded = np.minimum(rng.geometric(0.05, excluded), items).tolist()
    allowed = [one for one in range(1, 9) if share is None or rng.random() < share]
    known = [item for item in every if item_category[item] in allowed]
    scores = {item: rng.normal() for item in rng.integers(1, items + 1, found).tolist()
              if item_category[item] in allowed}
    enough = candidates(every, item_category, cap, results, [excluded], None if share is None else [allowed])[0]
    assert len(enough) <= results + 2 * len(excluded)
    case = (excluded, cap, 0.0, results)
    assert oracles.answer(scores, item_category, enough, *case) == oracles.answer(scores, item_category, known, *case)
