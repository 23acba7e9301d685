import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from tests import oracles
from ulim_tf.retrieval.backfill import Backfill
from ulim_tf.retrieval.candidates import BACKFILL, LONG_TERM, SHORT_TERM
from ulim_tf.retrieval.merge import merge

NONE = float("-inf")
RULES = ("probability", "quota", "equal_quota")


def run(long_item, long_score, generated, short_item, short_score, *, copied=(), share=0.25, temperature=1.0, items,
        results, excluded=None, log_sum=None, rule="probability", exponent=1.0, category=None, backfill=None, cap=0,
        diversity=0.0, limit=None):
    """One user; `copied` holds (item, probability, column of its category), `category` that of each item."""
    item, mass, column = zip(*copied) if copied else ((), (), ())
    probability = np.array(generated) + np.bincount(column, mass, len(generated))
    return merge(
        rule=rule, quota_exponent=exponent, probability=tf.constant([probability], tf.float32),
        copied_item=tf.constant([item], tf.int64), copied_probability=tf.constant([mass], tf.float32),
        copied_column=tf.constant([column], tf.int64),
        long_item=tf.constant([long_item], tf.int64), long_score=tf.constant([long_score], tf.float32),
        long_log_sum=tf.constant([log_sum or [np.log(np.exp(np.array(of_one) / temperature).sum() or 1.0)
                                              for of_one in long_score]], tf.float32),
        generated_probability=tf.constant([generated], tf.float32), short_item=tf.constant([short_item], tf.int64),
        short_score=tf.constant([short_score], tf.float32),
        short_log_sum=tf.constant([np.log(np.exp(np.array(short_score) / temperature).sum() or 1.0)], tf.float32),
        short_share=share, temperature=temperature,
        item_category=tf.constant([0, *(category or [1] * items)], tf.int64),
        backfill=tf.constant([range(1, items + 1)], tf.int64) if backfill is None else backfill, results=results,
        category_cap=cap, diversity=diversity, excluded=None if excluded is None else tf.constant([excluded], tf.int64),
        limit=None if limit is None else tf.constant([limit]))


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
    got = run([[1, 2], [3, -1]], [[0.0, 0.0], [5.0, NONE]], [0.8, 0.2], [2, 9], [1.0, 1.0], copied=[(7, 0.1, 0)],
              items=10, results=6, excluded=[2, 4, 7, -1, 5])
    assert got.item[0].numpy().tolist() == [1, 3, 9, 6, 8, 10]
    assert got.count.numpy().tolist() == [6]


def test_copies_of_an_item_add_up():
    """Item 7 was bought twice (.1 and .3), item 1 once (.2) and is found by the search too (.4 * 1)."""
    got = run([[1]], [[3.0]], [0.4], [9], [0.0], copied=[(7, 0.1, 0), (1, 0.2, 0), (7, 0.3, 0), (-1, 0.0, 0)], items=9,
              results=4)
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


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (2, 2), (5, 5), (6, 5)])
def test_a_limit_leaves_places_empty(limit, count):
    got = run([[4, 2]], [[1.0, 0.0]], [1.0], [-1], [NONE], items=9, results=5, limit=limit)
    assert got.count.numpy().tolist() == [count]
    assert got.item[0].numpy().tolist() == [4, 2, 1, 3, 5][:count] + [0] * (5 - count)
    assert got.channel[0].numpy().tolist() == ([LONG_TERM] * 2 + [BACKFILL] * 3)[:count] + [0] * (5 - count)
    assert not got.score[0, count:].numpy().any()


def test_only_what_is_named_fills_up():
    got = run([[4]], [[1.0]], [1.0], [-1], [NONE], items=9, results=5, backfill=tf.constant([[8, 4, -1, 2]], tf.int64))
    assert got.item[0].numpy().tolist() == [4, 2, 8, 0, 0]
    assert got.count.numpy().tolist() == [3]


@pytest.mark.parametrize(("cap", "order"), [
    (1, [3, 5, 8, 0, 0, 0, 0, 0]),
    (2, [3, 4, 5, 2, 8, 9, 0, 0]),  # item 2 fills up a category that was found once, 1 a full one
    (3, [3, 4, 6, 5, 2, 8, 9, 0]),
])
def test_a_category_has_no_more_than_its_cap(cap, order):
    """Items 1, 3, 4, 6 and 7 are of category 1, items 2 and 5 of 2, items 8 and 9 of 3, which was not found."""
    got = run([[3, 4, 6, 7], [5, -1, -1, -1]], [[3.0, 2.0, 1.0, 0.0], [0.0, NONE, NONE, NONE]], [0.9, 0.05], [-1],
              [NONE], items=9, results=8, category=[1, 2, 1, 1, 2, 1, 1, 3, 3], cap=cap)
    assert got.item[0].numpy().tolist() == order
    assert got.count.numpy().tolist() == [np.count_nonzero(order)]


def test_each_further_item_of_a_category_is_worth_less():
    """P .48, .24 and .08 in category 1, .1 and .1 in category 2, diversity log 3: divided by 1, 3 and 9."""
    got = run([[7, 8, 9], [5, 6, -1]], [np.log([6.0, 3.0, 1.0]), [0.0, 0.0, NONE]], [0.8, 0.2], [-1], [NONE],
              share=0.0, items=9, results=7, category=[3, 3, 3, 3, 2, 2, 1, 1, 1], diversity=np.log(3))
    assert got.item[0].numpy().tolist() == [7, 5, 8, 6, 9, 1, 2]
    np.testing.assert_allclose(np.exp(got.score[0, :5]), [.48, .1, .08, .1 / 3, .08 / 9], rtol=1e-5)
    assert got.channel[0].numpy().tolist() == [LONG_TERM] * 5 + [BACKFILL] * 2
    assert (np.diff(got.score[0]) < 0).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_channel_can_be_switched_off(share):
    got = run([[1, 2]], [[1.0, 0.0]], [1.0], [3], [0.0], share=share, items=3, results=3)
    assert got.item[0].numpy().tolist() == ([1, 2, 3] if share == 0.0 else [3, 1, 2])
    assert np.isfinite(got.score).all()


TWO_CATEGORIES = {"long_item": [[1, 2, 3, 4], [5, 6, -1, -1]],
                  "long_score": [[4.0, 3.0, 2.0, 1.0], [9.0, 8.0, NONE, NONE]], "generated": [0.5, 0.25],
                  "short_item": [7, 1], "short_score": [1.0, 0.0], "share": 0.2, "items": 10}


@pytest.mark.parametrize(("rule", "exponent", "order", "keys"), [
    # Weights .8 * 2/3 and .8 * 1/3, short-term .2; divided by 1, 3, 5 and 7.
    ("quota", 1.0, [1, 5, 7, 2, 3, 6, 4], [8 / 15, 4 / 15, 1 / 5, 8 / 45, 8 / 75, 4 / 45, 8 / 105]),
    # .5 ** 2 to .25 ** 2 is 4 to 1: .64, .16 and .2.
    ("quota", 2.0, [1, 2, 7, 5, 3, 4, 6], [.64, .64 / 3, .2, .16, .64 / 5, .64 / 7, .16 / 3]),
    # .4, .4 and .2; of equal keys, the smaller item's first.
    ("equal_quota", 1.0, [1, 5, 7, 2, 6, 3, 4], [.4, .4, .2, .4 / 3, .4 / 3, .4 / 5, .4 / 7]),
])
def test_quotas_worked_out_by_hand(rule, exponent, order, keys):
    """Item 1 is the second of the short-term channel too, which is worth less there. Category 2 has two items only."""
    got = run(**TWO_CATEGORIES, rule=rule, exponent=exponent, results=10)
    assert got.item[0].numpy().tolist() == [*order, 8, 9, 10]
    np.testing.assert_allclose(np.exp(got.score[0, :7]), keys, rtol=1e-5)
    channels = [SHORT_TERM if item == 7 else LONG_TERM for item in order] + [BACKFILL] * 3
    assert got.channel[0].numpy().tolist() == channels


def test_the_first_items_are_those_of_a_shorter_answer_and_hold_each_share():
    """Probabilities .5, .3 and .2; category c has the items 10 c + 1 to 10 c + 10."""
    item = np.arange(1, 31).reshape(3, 10)
    case = {"long_item": item.tolist(), "long_score": -item, "generated": [0.5, 0.3, 0.2], "short_item": [-1],
            "short_score": [NONE], "share": 0.0, "items": 30, "rule": "quota"}
    whole = run(**case, results=20).item[0].numpy()
    assert np.bincount((whole - 1) // 10).tolist() == [10, 6, 4]
    assert np.bincount((whole[:10] - 1) // 10).tolist() == [5, 3, 2]
    for results in (1, 7, 10):
        assert run(**case, results=results).item[0].numpy().tolist() == whole[:results].tolist()


def test_the_short_term_channel_has_its_share_of_the_places():
    """Weights .75 and .25: 6 and 2 of 8 places."""
    got = run([list(range(1, 11))], [list(range(10, 0, -1))], [1.0], list(range(11, 21)), list(range(10, 0, -1)),
              items=20, results=8, rule="quota")
    assert sorted(got.item[0].numpy().tolist()) == [1, 2, 3, 4, 5, 6, 11, 12]


def test_an_excluded_item_takes_no_place_from_its_category():
    got = run(**TWO_CATEGORIES, rule="equal_quota", results=8, excluded=[1, 5, 8])
    # Items 2, 3, 4 have .4, .4 / 3 and .4 / 5, item 6 has .4, item 7 .2.
    assert got.item[0].numpy().tolist() == [2, 6, 7, 3, 4, 9, 10, 0]
    assert got.count.numpy().tolist() == [7]


def test_inside_a_category_copies_count_as_in_the_mixture():
    """Items 1 and 2 share a generated .2; item 2 was bought twice (.1 and .15), item 8 once (.3)."""
    got = run([[1, 2]], [[0.0, 0.0]], [0.2], [-1], [NONE], rule="quota", share=0.0, items=8, results=3,
              copied=[(2, 0.1, 0), (8, 0.3, 0), (2, 0.15, 0)])
    assert got.item[0].numpy().tolist() == [2, 8, 1]  # .35, .3, .1


def test_a_category_of_no_probability_has_no_quota():
    got = run([[3], [2]], [[0.0], [9.0]], [1.0, 0.0], [-1], [NONE], rule="equal_quota", items=3, results=3)
    assert got.item[0].numpy().tolist() == [3, 1, 2]
    assert got.channel[0].numpy().tolist() == [LONG_TERM, BACKFILL, BACKFILL]
    assert np.isfinite(got.score).all()


@pytest.mark.parametrize(("rule", "order"), [
    # .1875 each of the long-term channel, .125 of the other; then backfill.
    ("probability", [3, 4, 5, 6, 7, 8, 1, 2]),
    # Weights .375, .375 and .25: keys .375 (3, 5), .25 (7), .125 (4, 6) and .25 / 3 (8).
    ("quota", [3, 5, 7, 4, 6, 8, 1, 2]),
    ("equal_quota", [3, 5, 7, 4, 6, 8, 1, 2]),
])
@pytest.mark.parametrize("backwards", [False, True])
def test_of_equal_scores_the_more_frequent_item_is_first(rule, order, backwards):
    """Whatever the order in which the channels name them."""
    step = -1 if backwards else 1
    got = run([[3, 4][::step], [5, 6][::step]][::step], [[0.0, 0.0], [0.0, 0.0]], [0.5, 0.5], [7, 8][::step],
              [0.0, 0.0], items=8, results=8, rule=rule)
    assert got.item[0].numpy().tolist() == order
    assert (np.diff(got.score[0, :2]) == 0).all()


class Case:
    """One user, drawn at random: what `run` and the references take."""

    def __init__(self, data: st.DataObject, equal_scores: bool = False):
        self.items, self.results = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40))
        rng = np.random.default_rng(data.draw(st.integers(0, 999)))
        categories, k, short_k = (data.draw(st.integers(1, most)) for most in (4, 4, 6))
        every = np.arange(1, self.items + 1)

        def scores(count: int) -> np.ndarray:
            return rng.integers(0, 2, count).astype(float) if equal_scores else rng.normal(size=count)

        owner = rng.integers(0, categories, self.items)
        self.category = (owner + 1).tolist()
        probability = np.sort(oracles.softmax(rng.normal(size=categories)))[::-1]
        self.long, self.copied = {}, []
        self.long_item, self.long_score = np.full((categories, k), -1), np.full((categories, k), NONE)
        gates = []
        for c in range(categories):
            members = rng.permutation(every[owner == c])
            events = rng.choice(members, 3).tolist() if len(members) and data.draw(st.booleans()) else []
            attention = oracles.softmax(rng.normal(size=3)) if events else []
            found = members[:k]
            self.long_item[c, :len(found)], self.long_score[c, :len(found)] = found, scores(len(found))
            gates.append(rng.random() if events else 0.0)
            self.copied += [(i, probability[c] * gates[c] * a, c) for i, a in zip(events, attention)]
            self.long[c] = (probability[c], gates[c], list(zip(events, attention)),
                            dict(zip(found.tolist(), self.long_score[c])))
        self.generated = probability * (1 - np.array(gates))
        chosen = rng.permutation(every)[:short_k]
        self.short = dict(zip(chosen.tolist(), scores(len(chosen))))
        self.short_item = [*self.short, *[-1] * (short_k - len(chosen))]
        self.short_score = [*self.short.values(), *[NONE] * (short_k - len(chosen))]
        self.excluded = rng.permutation(every)[:rng.integers(0, self.items + 1)].tolist()

    def answer(self, **options):
        return run(self.long_item, self.long_score, self.generated, self.short_item, self.short_score,
                   copied=self.copied, temperature=0.5, items=self.items, category=self.category,
                   results=self.results, **options)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_holds_of_every_answer(rule, data):
    case = Case(data)
    got = case.answer(rule=rule, share=data.draw(st.sampled_from([0.0, 0.3, 1.0])), excluded=case.excluded)
    item, score, channel = (values[0].numpy() for values in got[:3])
    count = min(case.results, case.items - len(case.excluded))
    assert got.count.numpy().tolist() == [count]
    assert len(set(item[:count].tolist())) == count and (item[:count] > 0).all()
    assert not set(item[:count].tolist()) & set(case.excluded)
    assert np.isfinite(score).all() and np.lexsort((item[:count], -score[:count])).tolist() == list(range(count))
    filled = item[:count][channel[:count] == BACKFILL]
    assert (np.diff(filled) > 0).all() and (channel[count - len(filled):count] == BACKFILL).all()
    assert not item[count:].any() and not score[count:].any() and not channel[count:].any()


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999))
def test_the_order_of_what_was_found_does_not_matter(rule, data, seed):
    """Nor where many scores are equal."""
    case, rng = Case(data, equal_scores=True), np.random.default_rng(seed)
    plain = case.answer(rule=rule, share=0.3)
    for row in range(len(case.long_item)):
        order = rng.permutation(case.long_item.shape[1])
        case.long_item[row], case.long_score[row] = case.long_item[row, order], case.long_score[row, order]
    order = rng.permutation(len(case.short_item))
    case.short_item, case.short_score = ([values[i] for i in order] for values in (case.short_item, case.short_score))
    case.copied = [case.copied[i] for i in rng.permutation(len(case.copied))]
    shuffled = case.answer(rule=rule, share=0.3)
    np.testing.assert_array_equal(shuffled.item, plain.item)
    np.testing.assert_array_equal(shuffled.channel, plain.channel)
    np.testing.assert_allclose(shuffled.score, plain.score, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_probabilities_against_the_plain_reference(data):
    case = Case(data)
    got = case.answer(share=0.3)
    expected = oracles.merge(case.long, case.short, 0.3, 0.5)
    ranked = sorted(expected, key=lambda i: -expected[i])
    ranked += [i for i in range(1, case.items + 1) if i not in expected]
    count = min(case.results, case.items)
    assert got.item[0, :count].numpy().tolist() == ranked[:count]
    found = min(count, len(expected))
    np.testing.assert_allclose(np.exp(got.score[0, :found]), [expected[i] for i in ranked[:found]], rtol=1e-4)


@pytest.mark.parametrize(("rule", "exponent"), [("quota", 1.0), ("quota", 0.4), ("equal_quota", 1.0)])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_quotas_against_places_dealt_one_by_one(rule, exponent, data):
    case = Case(data)
    share = 0.2937  # one at which no two parties are ever equally behind
    got = case.answer(rule=rule, exponent=exponent, share=share, excluded=case.excluded)
    expected = oracles.deal(case.long, case.short, share, 0.5, exponent if rule == "quota" else 0.0, case.excluded)
    expected = [*expected, *(i for i in range(1, case.items + 1) if i not in {*expected, *case.excluded})]
    count = int(got.count[0])
    assert got.item[0, :count].numpy().tolist() == expected[:count]


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), cap=st.integers(0, 4), diversity=st.sampled_from([0.0, 0.17, 1.9]))
def test_the_whole_merge_against_places_given_one_by_one(rule, data, cap, diversity):
    """With a backfill that lacks some items, excluded items and a limit."""
    case, share, exponent = Case(data), 0.2937, 0.4 if rule == "quota" else 0.0
    lost = data.draw(st.sets(st.integers(1, case.items)))
    limit = data.draw(st.integers(0, case.results + 1))
    known = [item for item in range(1, case.items + 1) if item not in lost]
    backfill = Backfill(np.array(known, np.int64), tf.Variable([0, *case.category], dtype=tf.int64), cap).candidates(
        case.results, tf.constant([case.excluded], tf.int64))
    got = case.answer(rule=rule, exponent=exponent, share=share, excluded=case.excluded, backfill=backfill, cap=cap,
                      diversity=diversity, limit=limit)
    found = (oracles.merge(case.long, case.short, share, 0.5) if rule == "probability" else
             oracles.deal(case.long, case.short, share, 0.5, exponent, case.excluded))
    expected = oracles.answer({item: np.log(score) for item, score in found.items()}, [0, *case.category], known,
                              case.excluded, cap, diversity, min(limit, case.results))
    count = len(expected)
    assert got.count.numpy().tolist() == [count]
    assert got.item[0].numpy().tolist() == [item for item, _ in expected] + [0] * (case.results - count)
    scores = [score for _, score in expected if score is not None]
    np.testing.assert_allclose(got.score[0, :len(scores)], scores, rtol=1e-4, atol=1e-4)
    assert (np.diff(got.score[0, :count]) <= 0).all()
    np.testing.assert_array_equal(got.channel[0, :count] == BACKFILL, [score is None for _, score in expected])
