import collections
import csv
import json

import apache_beam as beam
import numpy as np
import pytest

from tfx_pipeline import reading
from tfx_pipeline.beam_transforms import Ingest, ItemCategories, make_catalog
from tfx_pipeline.config import IngestConfig
from tfx_pipeline.reading import CatalogRows
from ulim_tf.config import FeaturesConfig
from ulim_tf.sequences import Ids

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2

DAY = 86400
HEADER = ["user_id", "item_id", "category_id", "timestamp", "group_id"]
# The last event is on day 30, so with two held-out days the cut is on day 28.
ROWS = [
    ("ann", "milk", "drink", 1 * DAY, "b1"),
    ("ann", "rye", "bread", 2 * DAY, "b2"),
    ("ann", "milk", "dairy", 3 * DAY, "b3"),
    ("ann", "tea", "drink", 28 * DAY, "b4"),  # at the cut: held out
    ("ann", "milk", "moved", 28 * DAY, "b4"),
    ("ann", "gone", "drink", 28 * DAY, "b4"),
    ("ann", "rye", "bread", 29 * DAY, "b5"),
    ("bob", "tea", "drink", 28 * DAY - 1, "b6"),
    ("cat", "rye", "bread", 30 * DAY, "b7"),
]


COLLECTED = collections.defaultdict(list)


def collect(element, name):
    """The runner of these tests works in this process; a sink for each output would take most of their time."""
    COLLECTED[name].append(element)


def write_rows(path, rows, header=HEADER):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


BYTES = {"user_id", "event_item_id", "category_id", "target_item_id", "catalog_item_id", "catalog_category_id",
         "catalog_title"}
INTEGERS = {"event_timestamp", "event_rank", "event_basket_start", "category_length", "target_timestamp"}


def decode(record, more_bytes=frozenset(), more_integers=frozenset()):
    """The features that hold something; all are there, of one type in every split."""
    found = tf.train.Example.FromString(record).features.feature
    assert {name for name in found if found[name].HasField("bytes_list")} == BYTES | more_bytes
    assert {name for name in found if found[name].HasField("int64_list")} == INTEGERS | more_integers
    values = {name: list((found[name].bytes_list if found[name].HasField("bytes_list") else found[name].int64_list)
                         .value) for name in found}
    return {name: value for name, value in values.items() if value}


def ingest(directory, rows, catalog=None, content=(), types=(), targets=(), profiles=(), files=1, **config):
    """The splits as sorted serialized examples, the sorted rejected lines and the summary."""
    for number in range(files):
        part = rows[len(rows) * number // files:len(rows) * (number + 1) // files]
        write_rows(directory / f"events{number}.csv", part, [*HEADER, "event_type"] if types else HEADER)
    sources = [reading.find(reading.EVENTS, str(directory / "events*.csv"), {}), None]
    if catalog:
        write_rows(directory / "catalog.csv", catalog, ["item_id", "category_id", "title", *content])
        sources[1] = reading.find(reading.CATALOG, str(directory / "catalog.csv"), {}, content)
    users = None
    if profiles:
        write_rows(directory / "users.csv", profiles, ["user_id", "age", "home"])
        users = reading.find(reading.USERS, str(directory / "users.csv"), {}, ["age", "home"])
    with beam.Pipeline() as pipeline:
        outputs = pipeline | Ingest(*sources, IngestConfig(**{"holdout_days": 2} | config),
                                     FeaturesConfig(tuple(content), ("age", "home") if users else (), tuple(types),
                                                    tuple(targets)), users)
        COLLECTED.clear()
        for name, output in outputs.items():
            output | name >> beam.Map(collect, name)
    found = {name: sorted(COLLECTED[name]) for name in outputs}
    found["summary"] = json.loads(found["summary"][0])
    return found


def catalog_of(found):
    names = ("catalog_item_id", "catalog_category_id", "catalog_title")
    return {item for chunk in map(decode, found["catalog"]) for item in zip(*(chunk[name] for name in names))}


@pytest.fixture(scope="module")
def derived(tmp_path_factory):
    return ingest(tmp_path_factory.mktemp("derived"), ROWS)


def test_the_examples_of_a_log(derived):
    ann = {
        "user_id": [b"ann"],
        "event_item_id": [b"rye", b"milk", b"milk"],
        "event_timestamp": [2 * DAY, 1 * DAY, 3 * DAY],
        "event_rank": [1, 0, 2],
        "event_basket_start": [1, 0, 2],
        "category_id": [b"bread", b"dairy"],  # both milks: the category it had last before the cut
        "category_length": [1, 2],
    }
    bob = {
        "user_id": [b"bob"], "event_item_id": [b"tea"], "event_timestamp": [28 * DAY - 1], "event_rank": [0],
        "event_basket_start": [0], "category_id": [b"drink"], "category_length": [1],
    }
    assert sorted(map(decode, derived["train"]), key=lambda user: user["user_id"]) == [ann, bob]
    held_out, = map(decode, derived["eval"])
    assert sorted(held_out.pop("target_item_id")) == [b"milk", b"tea"]
    assert held_out == ann | {"target_timestamp": [28 * DAY]}
    assert catalog_of(derived) == {(b"milk", b"dairy", b""), (b"rye", b"bread", b""), (b"tea", b"drink", b"")}


def test_the_summary_of_a_log(derived):
    assert derived["summary"] == {
        "events_rows_read": 9, "events_rows_rejected": {}, "events": 9, "users": 3, "items": 3, "categories": 3,
        "category_conflicts": 1, "events_cut_by_max_history": 0, "train_users": 2, "held_out_baskets": 2,
        "eval_users": 1, "target_items": 2, "target_items_unseen": 1, "first_time": DAY, "cut_time": 28 * DAY,
        "last_time": 30 * DAY, "catalog_rows_read": 0, "catalog_rows_rejected": {}, "users_rows_read": 0,
        "users_rows_rejected": {}, "catalog_conflicts": 0,
        "catalog_disagreements": 0, "items_missing_from_catalog": 0, "categories_missing_from_catalog": 0,
        "events_out_of_order": 0, "duplicate_events": 0, "held_out_events_cut_by_max_history": 0,
    }


def test_a_catalogue_file_rules_and_the_log_fills_it_up(tmp_path):
    listed = [("milk", "fresh", "Milk"), ("gone", "drink", "Gone"), ("unsold", "bread", ""), ("tea", "drink", "Tea")]
    found = ingest(tmp_path, ROWS, listed)
    assert catalog_of(found) == {
        (b"milk", b"fresh", b"Milk"), (b"gone", b"drink", b"Gone"), (b"unsold", b"bread", b""),
        (b"tea", b"drink", b"Tea"), (b"rye", b"bread", b"")}
    held_out, = map(decode, found["eval"])
    assert held_out["category_id"] == [b"bread", b"fresh"]
    # The file lists "gone", but nobody had it before the cut.
    assert sorted(held_out["target_item_id"]) == [b"milk", b"tea"]
    counts = {"items": 5, "categories": 3, "category_conflicts": 1, "catalog_disagreements": 1,
              "items_missing_from_catalog": 1, "target_items_unseen": 1, "catalog_rows_read": 4,
              "categories_missing_from_catalog": 1}  # dairy
    assert found["summary"].items() >= counts.items()


def test_content_is_stored_item_after_item(tmp_path):
    found = ingest(tmp_path, ROWS, [("milk", "fresh", "Milk", "own", "large"), ("tea", "drink", "", "", ""),
                                    ("unsold", "bread", "", "", "small")], content=("brand", "size"))
    names = {"catalog_content"}, {"catalog_content_length"}
    stored, = (decode(record, *names) for record in found["catalog"])
    assert stored["catalog_item_id"] == [b"milk", b"rye", b"tea", b"unsold"]
    assert stored["catalog_content"] == [b"brand=own", b"size=large", b"size=small"]
    assert stored["catalog_content_length"] == [2, 0, 0, 1]
    for split in ("train", "eval"):
        assert all(not names[0] & decode(record, *names).keys() for record in found[split])


def test_types_are_numbered_and_only_targets_are_held_out(tmp_path):
    types = ["view", "buy", "buy", "view", "buy", "return", "buy", "", "buy"]
    found = ingest(tmp_path, [(*row, one) for row, one in zip(ROWS, types)], types=["view", "buy"], targets=["buy"])
    ann, bob = sorted((decode(user, more_integers={"event_type"}) for user in found["train"]),
                      key=lambda user: user["user_id"])
    assert ann["event_item_id"] == [b"rye", b"milk", b"milk"] and ann["event_type"] == [2, 1, 2]
    assert bob["event_type"] == [0]
    held_out, = (decode(user, more_integers={"event_type"}) for user in found["eval"])
    # Of the basket after the cut, tea was viewed only, and "gone" was returned.
    assert held_out["target_item_id"] == [b"milk"]


def test_profiles_go_to_their_users(tmp_path):
    profiles = [("ann", "40", "own"), ("nobody", "30", ""), ("ann", "4", ""), ("", "1", "")]
    found = ingest(tmp_path, ROWS, profiles=profiles)
    ann, bob = sorted((decode(user, {"profile"}) for user in found["train"]), key=lambda user: user["user_id"])
    # Of ann's two rows, the first by its tokens.
    assert ann["profile"] == [b"age=4"] and "profile" not in bob
    held_out, = (decode(user, {"profile"}) for user in found["eval"])
    assert held_out["profile"] == [b"age=4"]
    assert found["summary"].items() >= {"users_rows_read": 4, "users_rows_rejected": {"missing user_id": 1}}.items()


def test_types_without_a_column_are_refused(tmp_path):
    write_rows(tmp_path / "events.csv", ROWS)
    with pytest.raises(ValueError, match=r"features\.event_types needs a column event_type in the log, which has on"):
        Ingest(reading.find(reading.EVENTS, str(tmp_path / "events.csv"), {}), None, IngestConfig(),
               FeaturesConfig(event_types=("buy",)))


def item_categories(*rows):
    items, categories, times = zip(*rows)
    return ItemCategories(Ids.of(items), Ids.of(categories), np.array(times))


def test_the_latest_category_of_the_log_wins_and_ties_go_by_bytes():
    catalog, counts = make_catalog(
        item_categories((b"a", b"x", 1), (b"a", b"y", 3), (b"a", b"z", 2), (b"b", b"y", 5), (b"b", b"x", 5),
                        (b"c", b"x", 1)), None)
    assert dict(zip(catalog.item_id, catalog.category_id)) == {b"a": b"y", b"b": b"x", b"c": b"x"}
    assert catalog.seen.all()
    assert counts == {"category_conflicts": 2, "items": 3, "categories": 2}


def test_of_several_rows_of_a_catalogue_file_the_first_by_bytes_counts():
    rows = [CatalogRows(Ids.of([b"a", b"b"]), Ids.of([b"y", b"x"]), Ids.of([b"Old", b"A"]), Ids.of([b"", b"n=2"])),
            CatalogRows(Ids.of([b"a", b"b"]), Ids.of([b"x", b"x"]), Ids.of([b"New", b"A"]), Ids.of([b"n=9", b"n=1"]))]
    for listed in (rows, rows[::-1]):
        catalog, counts = make_catalog(item_categories((b"a", b"y", 1)), listed)
        assert list(zip(*catalog)) == [(b"a", b"x", b"New", b"n=9", True), (b"b", b"x", b"A", b"n=1", False)]
        assert (counts["catalog_conflicts"], counts["catalog_disagreements"]) == (1, 1)


def random_rows(seed, count=600):
    random = np.random.default_rng(seed)
    item, time = random.integers(0, 40, count), random.integers(1, 30 * 24, count) * 3600
    user, category = random.integers(0, 20, count), item % 7 + 7 * (random.random(count) < 0.1)
    # A basket is a user's time here, so its name is unique; the last event fixes the cut on day 28.
    return [(f"u{u}", f"i{i}", f"c{c}", int(t), f"{u}-{t}") for u, i, c, t in zip(user, item, category, time)] + [
        ("u0", "i0", "c0", 30 * DAY, "last")]


@pytest.fixture(scope="module")
def random_log(tmp_path_factory):
    return ingest(tmp_path_factory.mktemp("random"), random_rows(0), shards=16)


def test_neither_the_order_of_rows_nor_the_shards_change_the_examples(tmp_path, random_log):
    rows = random_rows(0)
    np.random.default_rng(1).shuffle(rows)
    found = ingest(tmp_path, rows, shards=2)
    assert found["summary"].pop("events_out_of_order") != random_log["summary"]["events_out_of_order"]
    assert found == random_log | {"summary": {name: value for name, value in random_log["summary"].items()
                                              if name != "events_out_of_order"}}


def test_rows_out_of_order_are_counted_by_user_wherever_files_are_cut(tmp_path, random_log, monkeypatch):
    newest, expected = collections.defaultdict(int), 0
    for user, _, _, time, _ in random_rows(0):
        expected += time < newest[user]
        newest[user] = max(newest[user], time)
    assert random_log["summary"]["events_out_of_order"] == expected > 400
    monkeypatch.setattr(reading, "_PART_BYTES", 1_000)
    found = ingest(tmp_path, random_rows(0), files=3, shards=3)
    assert len(reading.parts(str(tmp_path / "events0.csv"))) > 3
    assert found == random_log


def test_each_row_below_a_later_one_of_its_user_is_out_of_order(tmp_path):
    times = {"ann": [3, 3, 2, 5, 4, 4, 6], "bob": [1, 2]}  # ann: the 2 and both 4s
    rows = [(user, "milk", "dairy", DAY + time, f"{user}{time}") for user in times for time in times[user]]
    found = ingest(tmp_path, [*rows, ("cat", "rye", "bread", 30 * DAY, "b7")], files=3, max_history=1)
    assert found["summary"].items() >= {"events_out_of_order": 3, "events": 10, "events_cut_by_max_history": 7}.items()


LISTED = [(f"i{number}", f"c{number % 5}", f"Item {number}") for number in range(35)]


def without_targets(records):
    return [{name: values for name, values in user.items() if not name.startswith("target_")}
            for user in map(decode, records)]


@pytest.mark.parametrize("catalog", [None, LISTED], ids=["derived", "listed"])
def test_nothing_after_the_cut_reaches_a_history(tmp_path_factory, catalog):
    rows = random_rows(0)
    late = [row for row in rows if row[3] >= 28 * DAY and row[4] != "last"]  # the last event keeps the cut in its place
    assert len(late) > 20
    deleted = [row for row in rows if row not in late]
    altered = [("u5", f"i{39 - int(row[1][1:])}", "moved", row[3] + 1, "x") if row in late else row for row in rows]
    intruding = [("new user", "new item", "new category", *row[3:]) if row in late else row for row in rows]
    given, *changed = (ingest(tmp_path_factory.mktemp("log"), log, catalog)
                       for log in (rows, deleted, altered, intruding))
    assert all(max(decode(user)["event_timestamp"]) < 28 * DAY for user in given["train"])
    histories = without_targets(given["train"])
    assert len(without_targets(given["eval"])) > 10
    for found in (given, *changed):
        assert (found["train"], found["catalog"]) == (given["train"], given["catalog"])
        assert found["eval"] and all(user in histories for user in without_targets(found["eval"]))
    assert [len(found["eval"]) for found in changed] == [1, 2, 1]
    assert all(user not in given["eval"] for user in changed[1]["eval"] if decode(user)["user_id"] == [b"u5"])


def test_rejected_rows_and_a_short_memory(tmp_path):
    bad = [("", "milk", "drink", DAY, "b0"), ("ann", 'a,"b', "drink", "soon", "b0")]
    found = ingest(tmp_path, [bad[0], *ROWS, bad[1]], max_history=1)
    path = str(tmp_path / "events0.csv")
    assert [row[:3] for row in csv.reader(found["rejected"])] == [
        [path, "1", "missing user_id"], [path, "11", "unparsable timestamp"]]
    raw = next(csv.reader([found["rejected"][1]]))[3]
    assert json.loads(raw) == {"user_id": "ann", "item_id": 'a,"b', "category_id": "drink", "timestamp": "soon",
                               "group_id": "b0"}
    summary = found["summary"]
    assert summary["events_rows_rejected"] == {"missing user_id": 1, "unparsable timestamp": 1}
    assert (summary["events_rows_read"], summary["events"], summary["events_cut_by_max_history"]) == (11, 9, 2)
    assert {tuple(decode(user)["event_item_id"]) for user in found["train"]} == {(b"milk",), (b"tea",)}


def test_a_log_without_a_valid_row_has_a_summary_only(tmp_path):
    found = ingest(tmp_path, [("", "", "", "", "")])
    assert found["train"] == found["eval"] == found["catalog"] == []
    assert found["summary"]["events_rows_rejected"] == {"missing user_id": 1}
    assert "cut_time" not in found["summary"]
