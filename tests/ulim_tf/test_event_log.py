import dataclasses
import hashlib
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings

from tests.ulim_tf.examples import write_users
from tfx_pipeline.beam_transforms import ItemCategories, make_catalog
from tfx_pipeline.reading import CatalogRows
from ulim_tf import data, history
from ulim_tf.config import HistoryConfig, TrainingConfig
from ulim_tf.event_log import EventLog, HeldOut, split_by_time
from ulim_tf.sequences import Ids

DAY = 86_400
SEED = 17
COLUMNS = ("user_id", "item_id", "category_id", "timestamp", "group_id")

Row = tuple[str, str, str, int, str]


def table(rows: list[Row], groups: bool = True) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame if groups else frame.drop(columns="group_id")


def in_time_order(rows: list[Row], groups: bool) -> list[Row]:
    """One user's rows by time, then group, then keyed hash of the item."""
    def key(row: Row) -> tuple[int, bytes, int]:
        digest = hashlib.blake2b(row[1].encode(), digest_size=8, key=str(SEED).encode()).digest()
        return row[3], row[4].encode() if groups else b"", int.from_bytes(digest, "little")

    return sorted(rows, key=key)


def reference(rows: list[Row], catalog: list[tuple[str, str, str]], groups: bool, holdout_days: int, skip_days: int,
              max_history: int) -> dict[str, object]:
    """What `split_by_time` should give, row by row from the definitions, with ids instead of numbers."""
    end = max(row[3] for row in rows) - skip_days * DAY
    cut = end - holdout_days * DAY
    rows = [row for row in rows if not skip_days or row[3] < end]
    before = [row for row in rows if row[3] < cut]

    sold = Counter(row[1] for row in before)
    category = {}
    for item in sold:
        of_item = [row for row in before if row[1] == item]
        latest = max(row[3] for row in of_item)
        category[item] = min(row[2] for row in of_item if row[3] == latest)
    listed = {item: min(row[1:] for row in catalog if row[0] == item) for item, *_ in catalog}
    category |= {item: pair[0] for item, pair in listed.items()}
    of_category: Counter[str] = Counter(dict.fromkeys(category.values(), 0))
    for item, of_item in category.items():
        of_category[of_item] += sold[item]

    users, kept, opening = sorted({row[0] for row in before}), {}, {}
    for user in users:
        mine = in_time_order([row for row in before if row[0] == user], groups)[-max_history:]
        basket = [row[4] if groups else row[3] for row in mine]
        kept[user], opening[user] = mine, [basket.index(one) for one in basket]

    target, now, counts = {}, {}, Counter()
    for user in sorted({row[0] for row in rows}):
        mine = in_time_order([row for row in rows if row[0] == user], groups)
        start = {}
        for row in mine:
            start.setdefault(row[4] if groups else row[3], row[3])
        late = [row for row in mine if start[row[4] if groups else row[3]] >= cut]
        if not late:
            continue
        basket = [row for row in late if (row[4] == late[0][4] if groups else row[3] < late[0][3] + DAY)]
        items = list(dict.fromkeys(row[1] for row in basket))
        wanted = [item for item in items if item in sold]
        counts["items_unseen"] += len(items) - len(wanted)
        counts["without_history"] += user not in users
        counts["without_target"] += user in users and not wanted
        if wanted and user in users:
            target[user], now[user] = wanted, late[0][3]
    return {
        "items": sorted(category, key=lambda item: (-sold[item], item)),
        "categories": sorted(of_category, key=lambda one: (-of_category[one], one)),
        "category": category, "title": {item: pair[1] for item, pair in listed.items()},
        "events": {user: [(row[1], row[3], first) for row, first in zip(kept[user], opening[user])] for user in users},
        "target": target, "now": now,
        "counts": {name: counts[name] for name in ("without_history", "without_target", "items_unseen")}}


def as_ids(log: EventLog, held: HeldOut) -> dict[str, object]:
    """The same, read from the arrays."""
    def items(numbers: np.ndarray) -> list[str]:
        return log.item_id[numbers].tolist()

    events = {}
    for number, user in enumerate(log.user_id):
        mine = log.history(number)
        events[user] = list(zip(items(log.item[mine]), log.timestamp[mine].tolist(), log.basket_start[mine].tolist()))
    known = range(1, log.items + 1)
    return {
        "items": log.item_id[1:].tolist(), "categories": log.category_id[1:].tolist(),
        "category": {log.item_id[item]: log.category_id[log.item_category[item]] for item in known},
        "title": {log.item_id[item]: log.title[item] for item in known if log.title[item]},
        "events": events,
        "target": {log.user_id[user]: items(target) for user, target in zip(held.user, held.target)},
        "now": dict(zip(log.user_id[held.user].tolist(), held.now.tolist())),
        "counts": {name: getattr(held, name) for name in ("without_history", "without_target", "items_unseen")}}


ROW = st.builds(
    lambda user, item, category, day, second, group: (f"u{user}", f"i{item}", f"c{category}", day * DAY + second,
                                                      f"g{group}"),
    st.integers(0, 3), st.integers(0, 9), st.integers(0, 3), st.integers(0, 12), st.integers(0, 2), st.integers(0, 5))
LISTED = st.tuples(st.integers(0, 12).map("i{}".format), st.integers(0, 4).map("c{}".format),
                   st.sampled_from(["A", "B"]))


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=40), catalog=st.lists(LISTED, max_size=12), groups=st.booleans(),
       holdout_days=st.integers(1, 6), skip_days=st.integers(0, 4), max_history=st.integers(1, 30))
@example(rows=[("u", "a", "x", 0, "g"), ("u", "b", "x", 2 * DAY, "g"), ("u", "c", "x", 2 * DAY, "h")], catalog=[],
         groups=True, holdout_days=1, skip_days=0, max_history=9)  # a basket goes on behind the cut
def test_a_split_is_what_the_definitions_say(rows, catalog, groups, holdout_days, skip_days, max_history):
    listed = pd.DataFrame(catalog, columns=["item_id", "category_id", "title"]) if catalog else None
    cut = max(row[3] for row in rows) - (holdout_days + skip_days) * DAY
    arguments = {"holdout_days": holdout_days, "skip_days": skip_days, "max_history": max_history, "seed": SEED}
    if min(row[3] for row in rows) >= cut:
        with pytest.raises(ValueError, match=f"no event lies before the cut, {holdout_days + skip_days} days"):
            split_by_time(table(rows, groups), listed, **arguments)
        return
    log, held = split_by_time(table(rows, groups), listed, **arguments)
    assert as_ids(log, held) == reference(rows, catalog, groups, holdout_days, skip_days, max_history)
    assert (log.item_id[0], log.category_id[0], log.title[0], log.item_category[0]) == ("", "", "", 0)
    assert log.splits.tolist() == [0, *np.cumsum([len(log.item[log.history(u)]) for u in range(len(log.user_id))])]


def random_rows(seed: int, count: int = 300) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [(f"u{rng.integers(12)}", f"i{rng.integers(40)}", f"c{rng.integers(6)}", int(day * DAY),
             f"g{day}") for day in rng.integers(0, 100, count)]


@pytest.mark.parametrize("skip_days", [0, 20])
def test_nothing_at_or_after_the_cut_reaches_the_log(skip_days):
    rows = random_rows(1)
    end = max(row[3] for row in rows)
    cut = end - (10 + skip_days) * DAY
    changed = [row if row[3] < cut else ("u1", "never seen", "nor this", row[3], row[4]) for row in rows]
    log, _ = split_by_time(table(rows), holdout_days=10, skip_days=skip_days)
    other, _ = split_by_time(table(changed), holdout_days=10, skip_days=skip_days)
    for field in dataclasses.fields(EventLog):
        np.testing.assert_array_equal(getattr(log, field.name), getattr(other, field.name), err_msg=field.name)


def test_a_validation_split_sees_nothing_of_the_test_split():
    """Its cut and targets are those of a log that ends where the test split's targets begin."""
    rows = random_rows(2)
    end = max(row[3] for row in rows)
    skipped = split_by_time(table(rows), holdout_days=10, skip_days=10)
    changed = [row if row[3] < end - 10 * DAY or row[3] == end else ("u1", "never seen", "nor this", *row[3:])
               for row in rows]
    assert as_ids(*skipped) == as_ids(*split_by_time(table(changed), holdout_days=10, skip_days=10))


def test_the_order_of_the_rows_does_not_matter():
    rows = random_rows(3)
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    assert as_ids(*split_by_time(table(rows))) == as_ids(*split_by_time(table(shuffled)))


@pytest.mark.parametrize("seed", range(5))
def test_the_catalogue_is_the_one_the_pipeline_gives(seed):
    rng = np.random.default_rng(seed)
    rows = random_rows(seed, 60)
    listed = [(f"i{rng.integers(50)}", f"c{rng.integers(3)}", f"title {rng.integers(2)}",
               rng.choice([None, "own", "national"]), rng.choice([None, "large", "small"])) for _ in range(80)]
    log, _ = split_by_time(
        table(rows), pd.DataFrame(listed, columns=["item_id", "category_id", "title", "brand", "size"]),
        content=("brand", "size"))
    cut = max(row[3] for row in rows) - 28 * DAY

    def ids(values) -> Ids:
        return Ids.of([value.encode() for value in values])

    before = [row for row in rows if row[3] < cut]
    catalog, _ = make_catalog(
        ItemCategories(ids(row[1] for row in before), ids(row[2] for row in before),
                       np.array([row[3] for row in before])),
        [CatalogRows(*map(ids, zip(*(row[:3] for row in listed))), ids(
            "\x1f".join(f"{name}={value}" for name, value in zip(("brand", "size"), row[3:]) if value)
            for row in listed))])
    assert {item: (category, title, "\x1f".join(tokens).strip("\x1f")) for item, category, title, tokens in zip(
        log.item_id[1:], log.category_id[log.item_category[1:]], log.title[1:],
        log.content_id[log.item_content[1:]])} == {
            item.decode(): (category.decode(), title.decode(), content.decode())
            for item, category, title, content in zip(
                catalog.item_id, catalog.category_id, catalog.title, catalog.content)}


def test_tokens_are_numbered_by_frequency_and_begin_at_the_left():
    log, _ = split_by_time(
        {"user_id": ["u"] * 3, "item_id": ["a", "a", "b"], "category_id": ["c"] * 3, "timestamp": [0, 1, 40 * DAY]},
        {"item_id": ["a", "b", "d"], "category_id": ["c"] * 3, "brand": ["own", None, "own"],
         "maker": [7.0, 9.0, None]}, content=("brand", "maker"))
    assert log.content_id.tolist() == ["", "brand=own", "maker=7", "maker=9"]
    assert dict(zip(log.item_id, log.item_content.tolist())) == {"": [0, 0], "a": [1, 2], "b": [3, 0], "d": [1, 0]}


def test_numbers_are_ids_too():
    """Also where pandas made floats of them."""
    log, held = split_by_time({
        "user_id": [7, 7, 7], "item_id": [30.0, 4.0, 30.0], "category_id": np.array([1, 2, 1], object),
        "timestamp": pd.array([0, 5, 40 * DAY], "Int64")})
    assert log.user_id.tolist() == ["7"] and log.item_id.tolist() == ["", "30", "4"]
    assert log.category_id.tolist() == ["", "1", "2"]
    assert held.target[0].tolist() == [1] and held.now.tolist() == [40 * DAY]


def test_an_item_without_a_title_has_an_empty_one():
    log, _ = split_by_time(table(random_rows(4)), {"item_id": ["i1", "i2"], "category_id": ["c", "c"],
                                                   "title": ["Tea", None]})
    assert dict(zip(log.item_id, log.title)).items() >= {"i1": "Tea", "i2": "", "i3": ""}.items()


GOOD = {"user_id": ["u", "u"], "item_id": ["a", "b"], "category_id": ["x", "x"], "timestamp": [0, 50 * DAY]}


@pytest.mark.parametrize(("changed", "message"), [
    ({"item_id": None}, r"events must have the columns user_id, item_id, category_id, timestamp, missing: item_id\."),
    ({"user_id": ["u"]}, r"the columns of events must be of one length, at least 1, got \{'user_id': 1, 'item_id': 2"),
    ({"user_id": [], "item_id": [], "category_id": [], "timestamp": []}, "must be of one length, at least 1"),
    ({"item_id": ["a", None]}, "every row of events must have a value in item_id, but 1 of 2 rows have none, the first "
                               "at position 1. Drop these rows or name them"),
    ({"user_id": [np.nan, np.nan]}, "must have a value in user_id, but 2 of 2 rows have none, the first at position 0"),
    ({"category_id": ["", "x"]}, "must have a value in category_id, but 1 of 2 rows have none"),
    ({"group_id": [3.0, np.nan]}, "must have a value in group_id, but 1 of 2 rows have none, the first at position 1"),
    ({"timestamp": [0, np.nan]}, r"in unix seconds, 0 to 4,102,444,800 \(the year 2100\), but the one at position 1 is "
                                 "nan. Divide milliseconds by 1,000"),
    ({"timestamp": [0, 1_700_000_000_000]}, "the one at position 1 is 1700000000000"),
    ({"timestamp": [-1, 5]}, "the one at position 0 is -1"),
    ({"timestamp": np.array(["2017-01-01", "2017-03-01"], "datetime64[ns]")},
     r"the column timestamp of events must hold unix seconds as numbers, got datetime64\[ns\]. Convert times with"),
    ({"timestamp": [0, 27 * DAY]}, "no event lies before the cut, 28 days before the last one. Give a longer log"),
])
def test_a_log_that_cannot_be_read_is_refused_by_name(changed, message):
    events = {name: values for name, values in {**GOOD, **changed}.items() if values is not None}
    with pytest.raises(ValueError, match=message):
        split_by_time(events)


@pytest.mark.parametrize(("catalog", "message"), [
    ({"item_id": ["a"]}, "catalog must have the columns item_id, category_id, missing: category_id. Rename"),
    ({"item_id": ["a"], "category_id": ["x", "y"]}, "the columns of catalog must be of one length"),
    ({"item_id": ["a"], "category_id": [None]}, "every row of catalog must have a value in category_id"),
])
def test_a_catalogue_that_cannot_be_read_is_refused_by_name(catalog, message):
    with pytest.raises(ValueError, match=message):
        split_by_time(GOOD, catalog)


def test_profiles_stand_beside_their_users():
    log, _ = split_by_time(
        {"user_id": ["u", "v", "w"], "item_id": ["a"] * 3, "category_id": ["c"] * 3, "timestamp": [0, 1, 40 * DAY]},
        users={"user_id": ["v", "x", "u", "u"], "age": ["30", "9", None, "40"], "home": ["own", "own", "own", None]},
        profile=("age", "home"))
    # "w" has no history; of "u"'s two rows, the first by its tokens.
    assert log.user_id.tolist() == ["u", "v"] and log.profile_id.tolist() == ["", "age=30", "age=40", "home=own"]
    assert log.profile.tolist() == [[2, 0], [1, 3]]
    flat, length = log.stored()["profile"]
    assert flat.tolist() == [2, 1, 3] and length.tolist() == [1, 2]
    with pytest.raises(ValueError, match="profile must name columns of users, got age and no users"):
        split_by_time(GOOD, profile=("age",))


@pytest.mark.parametrize(("catalog", "message"), [
    ({"item_id": ["a"], "category_id": ["x"]}, "catalog must have the columns .*, brand, missing: brand"),
    (None, "content must name columns of a catalogue, got brand and no catalogue"),
])
def test_content_that_is_not_there_is_refused(catalog, message):
    with pytest.raises(ValueError, match=message):
        split_by_time(GOOD, catalog, content=("brand",))


def moments_of(dataset, count: int) -> set[tuple]:
    """(history items, categories, one target and its subsequence) of the moments in so many batches."""
    found = set()
    for batch in dataset.take(count).as_numpy_iterator():
        for row in range(len(batch[history.SHORT_LENGTH])):
            short = tuple(batch[history.SHORT_ITEM][row, :batch[history.SHORT_LENGTH][row]])
            ages = tuple(batch[history.SHORT_AGE][row, :batch[history.SHORT_LENGTH][row]])
            categories = frozenset(
                tuple(batch[name][row, column] for name in (history.CATEGORY, history.CATEGORY_COUNT,
                                                            history.CATEGORY_AGE, history.CATEGORY_SPAN))
                for column in np.flatnonzero(batch[history.CATEGORY_COUNT][row]))
            for place in np.flatnonzero(batch[data.TARGET_REAL][row]):
                length = batch[history.SUBSEQUENCE_LENGTH][row, place]
                found.add((short, ages, categories, batch[data.TARGET_ITEM][row, place],
                           tuple(batch[history.SUBSEQUENCE_ITEM][row, place, :length]),
                           tuple(batch[history.SUBSEQUENCE_AGE][row, place, :length])))
    return found


def test_training_in_memory_draws_from_the_same_moments_as_training_from_files(tmp_path):
    rng = np.random.default_rng(5)
    # A basket a day, of distinct items; the last one lies behind the cut.
    baskets = [[rng.choice(12, rng.integers(1, 4), replace=False).tolist() for _ in range(4)] for _ in range(3)]
    rows = [(f"u{user}", f"i{item:02}", f"c{item % 3}", day * DAY, f"g{day}")
            for user, days in enumerate(baskets) for day, items in enumerate(days) for item in items]
    rows.append(("u0", "i00", "c0", 40 * DAY, "last"))
    log, _ = split_by_time(table(rows))
    # The files hold the items as the log numbers and orders them.
    numbered = []
    for user in range(len(log.user_id)):
        mine = log.history(user)
        starts = np.unique(log.basket_start[mine])
        numbered.append([part.tolist() for part in np.split(log.item[mine], starts[1:])])
    file = tmp_path / "users.gz"
    write_users(file, numbered, log.item_category)
    config = HistoryConfig(long=6, short=4, subsequence=2)
    training = TrainingConfig(moments=64, moments_per_user=16, targets=2)
    in_memory = moments_of(data.training_dataset_in_memory(log, config, training), 15)
    from_files = moments_of(data.training_dataset([str(file)], log.item_category, config, training), 15)
    first = {item for user in numbered for item in user[0]}  # with no history, the moments of two users are alike
    later = sum(len(basket) for user in numbered for basket in user[1:])
    assert in_memory == from_files and len(in_memory) == len(first) + later
