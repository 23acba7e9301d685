import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from tests import oracles
from ulim_tf.retrieval.merge import BACKFILL, LONG_TERM, SHORT_TERM, merge

NONE = float("-inf")


def run(long_item, long_score, probability, short_item, short_score, *, copied=(), share=0.25, temperature=1.0, items,
        results, excluded=None, log_sum=None):
    """One user; `copied` holds (item, probability) pairs."""
    return merge(
        copied_item=tf.constant([[item for item, _ in copied]], tf.int64, shape=[1, len(copied)]),
        copied_probability=tf.constant([[mass for _, mass in copied]], tf.float32, shape=[1, len(copied)]),
        long_item=tf.constant([long_item], tf.int64), long_score=tf.constant([long_score], tf.float32),
        long_log_sum=tf.constant([log_sum or [np.log(np.exp(np.array(of_one) / temperature).sum() or 1.0)
                                              for of_one in long_score]], tf.float32),
        generated_probability=tf.constant([probability], tf.float32), short_item=tf.constant([short_item], tf.int64),
        short_score=tf.constant([short_score], tf.float32), short_share=share, temperature=temperature, items=items,
        results=results, excluded=None if excluded is None else tf.constant([excluded], tf.int64))


def test_a_worked_example():
    """Two categories (.8: items 1 and 2, equal scores; .2: item 3), short-term: items 2 and 9, equal scores."""
    got = run([[1, 2], [3, -1]], [[0.0, 0.0], [5.0, NONE]], [0.8, 0.2], [2, 9], [1.0, 1.0], items=10, results=6)
    # P: item 1 = .75*.8*.5 = .3, item 2 = .3 + .25*.5 = .425, item 3 = .75*.2 = .15, item 9 = .125; then 4 and 5.
    assert got.item[0].numpy().tolist() == [2, 1, 3, 9, 4, 5]
    np.testing.assert_allclose(np.exp(got.score[0, :4]), [0.425, 0.3, 0.15, 0.125], rtol=1e-5)
    assert got.channel[0].numpy().tolist() == [LONG_TERM, LONG_TERM, LONG_TERM, SHORT_TERM, BACKFILL, BACKFILL]
    assert got.count.numpy().tolist() == [6]
    assert (np.diff(got.score[0]) < 0).all()


def test_items_that_were_not_returned_take_their_part():
    """Category 1: scores log 3 and log 1 of a sum of 8; category 2 was returned whole."""
    got = run([[1, 2], [3, 4]], [[np.log(3), 0.0], [0.0, 0.0]], [0.8, 0.2], [9], [0.0], share=0.0, items=9, results=4,
              log_sum=[np.log(8), np.log(2)])
    assert got.item[0].numpy().tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(np.exp(got.score[0]), [0.3, 0.1, 0.1, 0.1], rtol=1e-5)


def test_excluded_items_never_come_back_and_others_fill_up():
    got = run([[1, 2], [3, -1]], [[0.0, 0.0], [5.0, NONE]], [0.8, 0.2], [2, 9], [1.0, 1.0], copied=[(7, 0.1)], items=10,
              results=6, excluded=[2, 4, 7, -1, 5])
    assert got.item[0].numpy().tolist() == [1, 3, 9, 6, 8, 10]
    assert got.count.numpy().tolist() == [6]


def test_copies_of_an_item_add_up():
    """Item 7 was bought twice (.1 and .3), item 1 once (.2) and is found by the search too (.4 * 1)."""
    got = run([[1]], [[3.0]], [0.4], [9], [0.0], copied=[(7, 0.1), (1, 0.2), (7, 0.3), (-1, 0.0)], items=9, results=4)
    assert got.item[0].numpy().tolist() == [1, 7, 9, 2]
    np.testing.assert_allclose(np.exp(got.score[0, :3]), [0.75 * 0.6, 0.75 * 0.4, 0.25], rtol=1e-5)
    assert got.channel[0].numpy().tolist() == [LONG_TERM, LONG_TERM, SHORT_TERM, BACKFILL]


def test_the_larger_part_names_the_channel():
    got = run([[1]], [[0.0]], [0.1], [1], [0.0], share=0.5, items=1, results=1)
    assert got.channel[0].numpy().tolist() == [SHORT_TERM]


def test_nothing_found_is_backfilled_by_frequency():
    got = run([[-1, -1]], [[NONE, NONE]], [1.0], [-1], [NONE], items=3, results=5)
    assert got.item[0].numpy().tolist() == [1, 2, 3, 0, 0]
    assert got.channel[0].numpy().tolist() == [BACKFILL] * 3 + [0, 0]
    assert got.score[0, 3:].numpy().tolist() == [0.0, 0.0]
    assert got.count.numpy().tolist() == [3]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_channel_can_be_switched_off(share):
    got = run([[1, 2]], [[1.0, 0.0]], [1.0], [3], [0.0], share=share, items=3, results=3)
    assert got.item[0].numpy().tolist() == ([1, 2, 3] if share == 0.0 else [3, 1, 2])
    assert np.isfinite(got.score).all()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_against_the_plain_reference(data):
    items = data.draw(st.integers(1, 30))
    results = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    categories, k, short_k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    owner = rng.integers(0, categories, items + 1)
    long_item, long_score = np.full((categories, k), -1), np.full((categories, k), NONE)
    for c in range(categories):
        members = rng.permutation([i for i in range(1, items + 1) if owner[i] == c])[:k]
        long_item[c, :len(members)] = members
        long_score[c, :len(members)] = rng.normal(size=len(members))
    short_item, short_score = np.full(short_k, -1), np.full(short_k, NONE)
    chosen = rng.permutation(np.arange(1, items + 1))[:short_k]
    short_item[:len(chosen)], short_score[:len(chosen)] = chosen, rng.normal(size=len(chosen))
    probability = oracles.softmax(rng.normal(size=categories))
    events = [rng.choice(np.flatnonzero(owner == c)[np.flatnonzero(owner == c) > 0], 3).tolist()
              if (np.flatnonzero(owner == c) > 0).any() and data.draw(st.booleans()) else [] for c in range(categories)]
    attention = [oracles.softmax(rng.normal(size=len(of_c))) if of_c else np.zeros(0) for of_c in events]
    gate = np.array([rng.random() if of_c else 0.0 for of_c in events])

    got = run(long_item, long_score, probability * (1 - gate), short_item, short_score, share=0.3, temperature=0.5,
              items=items, results=results, copied=[
                  (item, probability[c] * gate[c] * a) for c in range(categories)
                  for item, a in zip(events[c], attention[c])])
    expected = oracles.merge(
        {c: (probability[c], gate[c], list(zip(events[c], attention[c])),
             {int(i): s for i, s in zip(long_item[c], long_score[c]) if i > 0}) for c in range(categories)},
        {int(i): s for i, s in zip(short_item, short_score) if i > 0}, 0.3, 0.5)
    ranked = sorted(expected, key=lambda i: -expected[i])
    ranked += [i for i in range(1, items + 1) if i not in expected]
    count = min(results, items)
    assert got.count.numpy().tolist() == [count]
    assert got.item[0, :count].numpy().tolist() == ranked[:count]
    found = min(count, len(expected))
    np.testing.assert_allclose(np.exp(got.score[0, :found]), [expected[i] for i in ranked[:found]], rtol=1e-4)
    assert (got.item[0, count:].numpy() == 0).all()
