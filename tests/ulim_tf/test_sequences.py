import dataclasses
import hashlib
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulim_tf.sequences import Events, Ids, cap, held_out_baskets, histories, lay_out

DAY = 86400


def events_of(rows):
    """rows: (user, item, category, timestamp, group or None)."""
    users, items, categories, times, groups = zip(*rows)
    return Events(Ids.of(users), Ids.of(items), Ids.of(categories), np.array(times, np.int64),
                  None if groups[0] is None else Ids.of(groups))


def shuffle_key(item, seed):
    return int.from_bytes(hashlib.blake2b(item, digest_size=8, key=str(seed).encode()).digest(), "little")


def naive_order(rows, seed):
    return sorted(rows, key=lambda row: (row[3], row[4] or b"", shuffle_key(row[1], seed)))


def basket(row):
    return row[3] if row[4] is None else row[4]


def naive_histories(rows, max_history, seed):
    """user -> the stored features as lists, by the definition and event by event."""
    stored = {}
    for user in sorted({row[0] for row in rows}):
        mine = naive_order([row for row in rows if row[0] == user], seed)
        cut = max(len(mine) - max_history, 0)
        mine = mine[cut:]
        first, by_category = {}, defaultdict(list)
        for rank, row in enumerate(mine):
            first.setdefault(basket(row), rank)
            by_category[row[2]].append((row[1], row[3], rank, first[basket(row)]))
        ordered = [event for category in sorted(by_category) for event in by_category[category]]
        stored[user] = [list(column) for column in zip(*ordered)] + [
            sorted(by_category), [len(by_category[category]) for category in sorted(by_category)], cut]
    return stored


def naive_held_out(rows, cut, seen, seed):
    held_out = {}
    for user in sorted({row[0] for row in rows}):
        mine = naive_order([row for row in rows if row[0] == user], seed)
        started_before = {basket(row) for row in mine if row[3] < cut}
        after = [row for row in mine if basket(row) not in started_before]
        if not after:
            continue
        if after[0][4] is None:
            target = [row for row in after if row[3] < after[0][3] + DAY]
        else:
            target = [row for row in after if row[4] == after[0][4]]
        items = list(dict.fromkeys(row[1] for row in target))
        known = [item for item in items if item in seen]
        held_out[user] = (known, after[0][3], len(items) - len(known))
    return held_out


def as_lists(history):
    return [history.event_item_id.tolist(), history.event_timestamp.tolist(), history.event_rank.tolist(),
            history.event_basket_start.tolist(), history.category_id.tolist(), history.category_length.tolist(),
            history.events_cut]


def seen_mask(events, seen):
    return np.array([item in seen for item in events.item_id.value], dtype=bool)


def ids(letters):
    return st.sampled_from([letter.encode() for letter in letters])


@st.composite
def logs(draw):
    rows = st.tuples(ids("uvw"), ids(["a", "b", "c", "d", "e", "é", "a\0"]), ids("xyz"),
                     st.integers(1, 6).map(lambda tick: tick * DAY // 3), ids("gh"))
    drawn = draw(st.lists(rows, min_size=1, max_size=40))
    # As in a run, an item has one category: that of its first row.
    category = {}
    for row in drawn:
        category.setdefault(row[1], row[2])
    grouped = draw(st.booleans())
    return [(user, item, category[item], time, group if grouped else None) for user, item, _, time, group in drawn]


@settings(max_examples=200, deadline=None)
@given(logs(), st.integers(1, 12), st.integers(0, 3))
def test_histories_agree_with_the_definition(rows, max_history, seed):
    found = {history.user_id: as_lists(history) for history in histories(events_of(rows), max_history, seed)}
    assert found == naive_histories(rows, max_history, seed)


@settings(max_examples=200, deadline=None)
@given(logs(), st.integers(1, 2 * DAY), st.sets(ids(["a", "b", "c", "é"])), st.integers(0, 3))
def test_held_out_baskets_agree_with_the_definition(rows, cut, seen, seed):
    events = events_of(rows)
    found = {held_out.user_id: (held_out.target_item_id.tolist(), held_out.target_timestamp, held_out.items_unseen)
             for held_out in held_out_baskets(events, cut, seen_mask(events, seen), seed)}
    assert found == naive_held_out(rows, cut, seen, seed)


@settings(max_examples=100, deadline=None)
@given(logs(), st.randoms(use_true_random=False), st.integers(1, 12))
def test_the_order_of_rows_does_not_matter(rows, random, max_history):
    shuffled = random.sample(rows, len(rows))
    first, second = ([as_lists(history) for history in histories(events_of(log), max_history, 17)]
                     for log in (rows, shuffled))
    assert first == second


def test_a_history_by_hand():
    rows = [
        (b"u", b"milk", b"dairy", 100, b"1"),
        (b"u", b"rye", b"bread", 200, b"2"),
        (b"u", b"brie", b"dairy", 250, b"3"),  # basket 3 begins inside basket 2
        (b"u", b"oats", b"cereal", 300, b"2"),
        (b"v", b"rye", b"bread", 50, b"4"),
    ]
    first, second = histories(events_of(rows), max_history=10, seed=17)
    assert first.user_id == b"u"
    assert first.event_item_id.tolist() == [b"rye", b"oats", b"milk", b"brie"]
    assert first.event_timestamp.tolist() == [200, 300, 100, 250]
    assert first.event_rank.tolist() == [1, 3, 0, 2]
    assert first.event_basket_start.tolist() == [1, 1, 0, 2]
    assert first.category_id.tolist() == [b"bread", b"cereal", b"dairy"]
    assert first.category_length.tolist() == [1, 1, 2]
    assert (second.user_id, second.event_item_id.tolist(), second.event_rank.tolist()) == (b"v", [b"rye"], [0])


def test_the_newest_events_are_kept_and_counted_from_zero():
    rows = [(b"u", b"%d" % second, b"c", second, b"one basket") for second in range(1, 8)]
    history, = histories(events_of(rows), max_history=3, seed=17)
    assert history.event_timestamp.tolist() == [5, 6, 7]
    assert history.event_rank.tolist() == [0, 1, 2]
    assert history.event_basket_start.tolist() == [0, 0, 0]
    assert history.events_cut == 4


def test_a_basket_is_not_left_in_the_order_of_its_ids():
    items = [b"%03d" % number for number in range(50)]
    rows = [(b"u", item, b"c", 100, b"g") for item in items]
    orders = [next(histories(events_of(rows), 100, seed)).event_item_id.tolist() for seed in (17, 17, 18)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != items and sorted(orders[0]) == items


def test_the_held_out_basket_is_whole_and_starts_after_the_cut():
    rows = [
        (b"u", b"old", b"c", 90, b"straddling"),
        (b"u", b"late", b"c", 110, b"straddling"),
        (b"u", b"a", b"c", 120, b"first"),
        (b"u", b"x", b"c", 130, b"second"),
        (b"u", b"a", b"c", 140, b"first"),
        (b"u", b"new", b"c", 140, b"first"),
        (b"v", b"a", b"c", 99, b"before"),
    ]
    events = events_of(rows)
    held_out, = held_out_baskets(events, 100, seen_mask(events, {b"a", b"x", b"old"}), 17)
    assert held_out.user_id == b"u"
    assert held_out.target_item_id.tolist() == [b"a"]
    assert (held_out.target_timestamp, held_out.items_unseen) == (120, 1)


def test_without_groups_the_held_out_basket_lasts_a_day():
    rows = [(b"u", item, b"c", time, None)
            for item, time in [(b"a", 99), (b"b", 100), (b"c", 100 + 86399), (b"d", 100 + 86400)]]
    events = events_of(rows)
    held_out, = held_out_baskets(events, 100, seen_mask(events, {b"a", b"b", b"c", b"d"}), 17)
    assert held_out.target_item_id.tolist() == [b"b", b"c"]


@pytest.mark.parametrize("parts", [[[b"b", b"a"], [b"c", b"b"]], [[], [b"a"]], [[], []]])
def test_ids_keep_their_values_when_joined_and_taken(parts):
    joined = Ids.concat([Ids.of(part) for part in parts])
    values = [value for part in parts for value in part]
    assert joined.decode().tolist() == values
    assert joined.take(np.arange(len(values))[::2]).decode().tolist() == values[::2]
    assert joined.take(np.arange(len(values))[::2]).value.tolist() == sorted(set(values[::2]))


def test_no_events_make_no_histories():
    events = events_of([(b"u", b"a", b"c", 1, None)]).take(np.array([False]))
    assert list(histories(events, 5, 17)) == [] == list(held_out_baskets(events, 1, np.array([], bool), 17))


def test_repeated_events_are_counted_and_dropped_if_wanted():
    rows = [(b"u", b"a", b"c", 5, b"g"), (b"u", b"a", b"c", 5, b"g"), (b"u", b"a", b"c", 6, b"g")]
    kept, dropped = (lay_out(events_of(rows), 9, 17, drop) for drop in (False, True))
    assert (kept.event_timestamp.tolist(), kept.duplicates.tolist()) == ([5, 5, 6], [1])
    assert (dropped.event_timestamp.tolist(), dropped.duplicates.tolist()) == ([5, 6], [1])


def test_the_cap_keeps_what_is_nearest_to_the_cut():
    rows = [(b"u", b"a", b"c", time, None) for time in range(10)] + [(b"v", b"a", b"c", 1, None)]
    kept = cap(events_of(rows), cut=5, most=2, seed=17)
    assert kept.timestamp.tolist() == [3, 4, 5, 6, 1]


def test_types_of_events_that_do_not_tell_theirs_apart_are_refused():
    events = events_of([(b"a", b"x", b"c", 5, None), (b"a", b"y", b"c", 9, None)])
    message = "event_type must be there for all events, got some without"
    with pytest.raises(ValueError, match=message):
        events.of_types(["buy"])
    with pytest.raises(ValueError, match=message):
        cap(events, 6, 1, 17, ["buy"])
    typed = dataclasses.replace(events, event_type=Ids.of([b"buy", b"view"]))
    with pytest.raises(ValueError, match=message):
        Events.concat([typed, events])
