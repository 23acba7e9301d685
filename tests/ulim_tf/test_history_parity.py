"""One definition of a history: stored users, raw requests and a plain reference give the same tensors."""

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings

from tests import oracles
from ulim_tf import features, history, sequences
from ulim_tf.config import HistoryConfig
from ulim_tf.data import StoredUsers

ITEM_CATEGORY = [0, 1, 1, 1, 2, 2, 3, 4, 5, 6]  # item 0 is the unknown one
ITEMS = 7  # 8 and 9 are of buckets: no targets, and read as all others
SEED = 3


def kind(item, timestamp):
    """The type that an event has here, so that a type which slipped to another event shows."""
    return (7 * item + timestamp) % 4


def log(rows: list[tuple[int, int, int]]) -> sequences.Events:
    """(item, timestamp, group) rows of one user; unknown items keep a category of their own in the log."""
    item, timestamp, group = (np.array(column, np.int64) for column in zip(*rows))
    category = np.array(ITEM_CATEGORY)[item]
    return sequences.Events(
        user_id=sequences.Ids.of([b"u"] * len(rows)),
        item_id=sequences.Ids.of([f"{i}".encode() for i in item]),
        category_id=sequences.Ids.of([f"{c}".encode() for c in category]),
        timestamp=timestamp,
        group_id=sequences.Ids.of([f"{g}".encode() for g in group]),
        event_type=sequences.Ids.of([f"{k}".encode() for k in kind(item, timestamp)]))


def stored(users: list[sequences.UserHistory]) -> StoredUsers:
    """The users as the trainer reads them: ids are indices, as after Transform."""
    def ragged(name: str) -> tf.RaggedTensor:
        values = [np.asarray(getattr(user, name)) for user in users]
        flat = np.concatenate(values) if values else np.zeros(0)
        return tf.RaggedTensor.from_row_lengths(tf.constant(flat.astype(np.int64)), [len(v) for v in values])

    return StoredUsers({name: ragged(name) for name in (
        features.EVENT_ITEM, features.EVENT_TIMESTAMP, features.EVENT_RANK, features.EVENT_BASKET_START,
        features.EVENT_TYPE, features.CATEGORY, features.CATEGORY_LENGTH)}, ITEMS)


def time_order(user: sequences.UserHistory) -> list[oracles.Event]:
    events: list[oracles.Event | None] = [None] * len(user.event_rank)
    for item, timestamp, rank in zip(user.event_item_id, user.event_timestamp, user.event_rank):
        events[rank] = oracles.Event(int(item), int(timestamp))
    return events


def read_moment(tensors: dict[str, tf.Tensor], wanted: list[int], now: int = 0) -> dict[str, object]:
    """The first row of the model's tensors, without padding, in the reference's form; types are checked on the way."""
    t = {name: value.numpy()[0] for name, value in tensors.items()}

    def pairs(item: np.ndarray, age: np.ndarray, length: int, types: np.ndarray | None) -> list[tuple[int, int]]:
        assert not item[length:].any() and not age[length:].any(), "padding must hold 0"
        if types is not None:
            assert types[:length].tolist() == kind(item, now - age)[:length].tolist() and not types[length:].any()
        return list(zip(item[:length].tolist(), age[:length].tolist()))

    rows = zip(*(t[name].tolist() for name in (
        history.CATEGORY, history.CATEGORY_COUNT, history.CATEGORY_AGE, history.CATEGORY_SPAN)))
    rows = [row for row in rows if row[1] > 0]
    assert len({row[0] for row in rows}) == len(rows), "a category stands in one row only"
    return {
        "short": pairs(t[history.SHORT_ITEM], t[history.SHORT_AGE], int(t[history.SHORT_LENGTH]),
                       t.get(history.SHORT_TYPE)),
        "categories": {category: (count, age, span) for category, count, age, span in rows},
        "subsequences": [
            pairs(t[history.SUBSEQUENCE_ITEM][k], t[history.SUBSEQUENCE_AGE][k],
                  int(t[history.SUBSEQUENCE_LENGTH][k]),
                  t[history.SUBSEQUENCE_TYPE][k] if history.SUBSEQUENCE_TYPE in t else None)
            for k in range(len(wanted))]}


def from_store(users: StoredUsers, user: int, rank: int, now: int, wanted: list[int],
               config: HistoryConfig) -> dict[str, object]:
    place = [tf.constant([value], tf.int64) for value in (user, rank, now)]
    tensors = {**users.describe(*place, config),
               **users.subsequences(*place, tf.constant([wanted], tf.int64), config)}
    assert_whole(tensors)
    return read_moment(tensors, wanted, now)


def assert_whole(tensors: dict[str, tf.Tensor]) -> None:
    """Types are there, and each of the newest events has its category, whatever its number."""
    assert history.SHORT_TYPE in tensors and history.SUBSEQUENCE_TYPE in tensors
    item, category = (tensors[name].numpy().tolist() for name in (history.SHORT_ITEM, history.SHORT_CATEGORY))
    assert category == of_items(item[0]).numpy().tolist()


def of_items(item: list[int]) -> tf.Tensor:
    """The categories of one user's items."""
    return tf.gather(tf.constant(ITEM_CATEGORY, tf.int64), tf.constant([item], tf.int32))


def from_request(events: list[oracles.Event], now: int, wanted: list[int], config: HistoryConfig,
                 rng: np.random.Generator, padding: tuple[int, int, int]) -> dict[str, object]:
    """Shuffled (events of one time stay in order), then padded with `padding` = (item, timestamp, how many)."""
    moved = rng.permutation(len(events)).tolist()
    by_time: dict[int, list[oracles.Event]] = {}
    for event in events:
        by_time.setdefault(event.timestamp, []).append(event)
    sent = [by_time[events[i].timestamp].pop(0) for i in moved]
    item = [event.item for event in sent] + [padding[0]] * padding[2]
    timestamp = [event.timestamp for event in sent] + [padding[1]] * padding[2]
    ordered = history.order_events(
        tf.constant([item], tf.int64), of_items(item), tf.constant([timestamp], tf.int64), tf.constant([len(events)]),
        tf.constant([now], tf.int64), config.long,
        tf.constant([[kind(one, time) for one, time in zip(item, timestamp)]], tf.int64))
    rows = history.group_by_category(ordered)
    tensors = {**history.describe(ordered, rows, config),
               **history.subsequences(ordered, rows, tf.constant([wanted], tf.int64), config)}
    assert_whole(tensors)
    return read_moment(tensors, wanted, now)


ROW = st.tuples(st.integers(0, 9), st.integers(1, 40), st.integers(0, 5))
WANTED = [1, 2, 3, 4, 5, 6]


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=40), short=st.integers(1, 6), subsequence=st.integers(1, 4),
       long=st.integers(1, 50), max_history=st.integers(1, 60), seed=st.integers(0, 99),
       padding=st.tuples(st.integers(0, 9), st.integers(-5, 99), st.integers(0, 5)))
@example(rows=[(0, 1, 0)], short=1, subsequence=1, long=1, max_history=1, seed=0, padding=(3, 9, 2))  # nothing known
@example(rows=[(1, 5, 0)], short=3, subsequence=2, long=9, max_history=9, seed=0, padding=(1, 5, 0))  # one event
@example(rows=[(1, 7, 0)] * 9, short=3, subsequence=2, long=4, max_history=9, seed=0, padding=(1, 7, 3))  # all ties
def test_three_ways_to_a_history_agree(rows, short, subsequence, long, max_history, seed, padding):
    config = HistoryConfig(long=long, short=short, subsequence=subsequence)
    (user,) = sequences.histories(log(rows), max_history, SEED)
    events = time_order(user)
    known = [event for event in events if event.item != 0]
    users = stored([user])
    assert users.lengths().numpy().tolist() == [len(known)]
    rng = np.random.default_rng(seed)
    baskets = {int(start) for start, item in zip(user.event_basket_start, user.event_item_id) if int(item) != 0}
    for start in sorted(baskets):
        now = events[start].timestamp
        expected = oracles.moment(events[:start], now, ITEM_CATEGORY, short, subsequence, long, WANTED)
        rank = sum(event.item != 0 for event in events[:start])
        assert from_store(users, 0, rank, now, WANTED, config) == expected
        if start:  # a request's `now` of 0 would mean something else where nothing happened
            assert from_request(events[:start], now, WANTED, config, rng, padding) == expected
    # The whole history, as the evaluation split stores it.
    now = events[-1].timestamp + 100
    expected = oracles.moment(events, now, ITEM_CATEGORY, short, subsequence, long, WANTED)
    assert from_request(events, now, WANTED, config, rng, padding) == expected
    if known:
        assert from_store(users, 0, len(known), now, WANTED, config) == expected


def test_a_long_history_agrees_too():
    rng = np.random.default_rng(1)
    rows = list(zip(rng.integers(0, 10, 5000).tolist(), rng.integers(1, 10**6, 5000).tolist(),
                    rng.integers(0, 400, 5000).tolist()))
    config = HistoryConfig(long=1000, short=100, subsequence=50)
    (user,) = sequences.histories(log(rows), 5000, SEED)
    events = time_order(user)
    now = events[-1].timestamp + 7
    expected = oracles.moment(events, now, ITEM_CATEGORY, 100, 50, 1000, WANTED)
    known = sum(event.item != 0 for event in events)
    assert from_store(stored([user]), 0, known, now, WANTED, config) == expected
    assert from_request(events, now, WANTED, config, rng, (4, 2, 17)) == expected


def test_users_of_a_chunk_do_not_mix():
    first, second = [(1, 5, 0), (4, 6, 1)], [(9, 2, 0), (1, 3, 1), (2, 9, 2)]
    histories = [next(sequences.histories(log(rows), 9, SEED)) for rows in (first, second)]
    config = HistoryConfig(long=9, short=4, subsequence=2)
    for index, rows in enumerate((first, second)):
        expected = oracles.moment([oracles.Event(item, time) for item, time, _ in rows], 50, ITEM_CATEGORY, 4, 2, 9,
                                  WANTED)
        assert from_store(stored(histories), index, len(rows), 50, WANTED, config) == expected


@pytest.mark.parametrize("length", [0, -3])
def test_an_empty_request_is_an_empty_history(length):
    config = HistoryConfig(long=5, short=2, subsequence=2)
    events = history.order_events(tf.constant([[1, 2]], tf.int64), of_items([1, 2]),
                                  tf.constant([[9, 9]], tf.int64), tf.constant([length]), tf.constant([0], tf.int64),
                                  config.long)
    rows = history.group_by_category(events)
    described = history.describe(events, rows, config)
    assert described[history.SHORT_LENGTH].numpy().tolist() == [0]
    assert described[history.CATEGORY].shape == (1, 0)
    subsequences = history.subsequences(events, rows, tf.constant([[1, 2]], tf.int64), config)
    assert subsequences[history.SUBSEQUENCE_LENGTH].numpy().tolist() == [[0, 0]]


def test_now_zero_means_the_newest_event():
    events = history.order_events(tf.constant([[1, 2]], tf.int64), of_items([1, 2]),
                                  tf.constant([[50, 20]], tf.int64), tf.constant([2]), tf.constant([0], tf.int64), 5)
    assert events.now.numpy().tolist() == [50]


def test_events_later_than_now_are_kept_with_age_zero():
    config = HistoryConfig(long=5, short=2, subsequence=2)
    events = history.order_events(tf.constant([[1, 2]], tf.int64), of_items([1, 2]),
                                  tf.constant([[50, 20]], tf.int64), tf.constant([2]), tf.constant([30], tf.int64), 5)
    rows = history.group_by_category(events)
    assert history.describe(events, rows, config)[history.SHORT_AGE].numpy().tolist() == [[10, 0]]


def test_an_event_of_no_category_is_among_the_newest_events_and_in_no_subsequence():
    config = HistoryConfig(long=5, short=3, subsequence=2)
    category = tf.constant([[1, 0, 0, 1]], tf.int64)
    events = history.order_events(tf.constant([[1, 8, 9, 2]], tf.int64), category,
                                  tf.constant([[40, 30, 20, 10]], tf.int64), tf.constant([4]),
                                  tf.constant([50], tf.int64), config.long)
    rows = history.group_by_category(events)
    tensors = {**history.describe(events, rows, config),
               **history.subsequences(events, rows, tf.constant([[1, 5, 0]], tf.int64), config)}
    assert read_moment(tensors, [1, 5, 0]) == {
        "short": [(9, 30), (8, 20), (1, 10)], "categories": {1: (2, 10, 30)},
        "subsequences": [[(2, 40), (1, 10)], [], []]}
    assert tensors[history.CATEGORY].numpy().tolist() == [[1]]
    assert tensors[history.SHORT_CATEGORY].numpy().tolist() == [[0, 0, 1]]


def test_events_of_subsequences_are_told_by_their_places_in_what_was_asked():
    events = history.order_events(tf.constant([[5, 1, 2, 1, 4]], tf.int64), tf.constant([[1, 0, 2, 1, 1]], tf.int64),
                                  tf.constant([[40, 30, 20, 10, 0]], tf.int64), tf.constant([4]),
                                  tf.constant([50], tf.int64), 9)
    rows = history.group_by_category(events)
    place, timestamp = history.subsequence_events(rows, tf.constant([[1, 2]], tf.int64),
                                                  HistoryConfig(long=9, short=2, subsequence=2))
    assert place.numpy().tolist() == [[[3, 0], [2, 0]]] and timestamp.numpy().tolist() == [[[10, 40], [20, 0]]]


def test_buckets_are_no_targets():
    """In time order 1 8 | 8 9 | 9 7: the second basket has nothing to predict."""
    (user,) = sequences.histories(log([(1, 1, 0), (8, 1, 0), (8, 2, 1), (9, 2, 1), (9, 3, 2), (7, 3, 2)]), 9, SEED)
    users = stored([user])
    assert users.lengths().numpy().tolist() == [6] and users.baskets().numpy().tolist() == [2]
    first, second = (users.basket_items(tf.constant([0], tf.int64), tf.constant([one], tf.int64),
                                        tf.constant([0], tf.int64), 2) for one in (0, 1))
    assert first["target_item"].numpy().tolist() == [[1, 0]] and second["target_item"].numpy().tolist() == [[7, 0]]
    assert second["target_real"].numpy().tolist() == [[True, False]]
    assert users.basket_start(tf.constant([0], tf.int64), tf.constant([1], tf.int64)).numpy().tolist() == [4]
