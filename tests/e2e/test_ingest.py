"""The ingest of the whole real log against pandas, which counts users, lengths, orders and targets in its own way."""

import json

import apache_beam as beam
import pandas as pd
import pytest

from tfx_pipeline import reading
from tfx_pipeline.beam_transforms import Ingest
from tfx_pipeline.config import IngestConfig
from tfx_pipeline.datasets import complete_journey

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2

pytestmark = pytest.mark.e2e

SPLITS = ("train", "eval", "catalog")


def decode(record):
    found = tf.train.Example.FromString(record).features.feature
    return {name: [value.decode() for value in found[name].bytes_list.value] or list(found[name].int64_list.value)
            for name in found}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return complete_journey.write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def found(written, tmp_path_factory):
    """The decoded splits and the summary."""
    directory = tmp_path_factory.mktemp("ingest")
    events, catalog = (reading.find(kind, str(path), {}) for kind, path in
                       ((reading.EVENTS, written.events), (reading.CATALOG, written.catalog)))
    with beam.Pipeline() as pipeline:
        outputs = pipeline | Ingest(events, catalog, IngestConfig())
        for name in SPLITS:
            outputs[name] | name >> beam.io.WriteToTFRecord(str(directory / name))
        outputs["summary"] | "summary" >> beam.io.WriteToText(str(directory / "summary"))
    splits = {name: [decode(record.numpy()) for record in tf.data.TFRecordDataset(
        [str(path) for path in directory.glob(f"{name}-*")])] for name in SPLITS}
    summary, = directory.glob("summary-*")
    return splits | {"summary": json.loads(summary.read_text())}


@pytest.fixture(scope="module")
def log(written):
    """The log with the catalogue's categories, and whether a row comes before the cut."""
    events = pd.read_parquet(written.events)
    events["category_id"] = events["item_id"].map(pd.read_parquet(written.catalog).set_index("item_id")["category_id"])
    events["before"] = events["timestamp"] < events["timestamp"].max() - 28 * 86_400
    return events


@pytest.fixture(scope="module")
def stored(found):
    """The split train as a row for each event: user_id, category_id, item_id, timestamp, rank, basket_start."""
    rows = []
    for user in found["train"]:
        category = [name for name, length in zip(user["category_id"], user["category_length"]) for _ in range(length)]
        rows.append(pd.DataFrame({
            "user_id": user["user_id"][0], "category_id": category, "item_id": user["event_item_id"],
            "timestamp": user["event_timestamp"], "rank": user["event_rank"],
            "basket_start": user["event_basket_start"]}))
    return pd.concat(rows, ignore_index=True)


def test_users_and_the_lengths_of_their_histories(log, stored, found):
    expected = log[log["before"]].groupby("user_id").size()
    assert stored.groupby("user_id").size().to_dict() == expected.to_dict()
    by_category = ["user_id", "category_id"]
    assert stored.groupby(by_category).size().to_dict() == log[log["before"]].groupby(by_category).size().to_dict()
    assert found["summary"]["events"] == len(log) and found["summary"]["train_users"] == len(expected) > 2_000


def test_the_same_events_are_stored(log, stored):
    columns = ["user_id", "category_id", "item_id", "timestamp"]
    expected = log[log["before"]][columns].sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(stored[columns].sort_values(columns, ignore_index=True), expected)


def test_time_order_inside_users_and_categories(stored, log):
    users = stored.groupby("user_id")
    in_time = stored.sort_values(["user_id", "rank"])
    assert (in_time.groupby("user_id")["rank"].diff().dropna() == 1).all() and (users["rank"].min() == 0).all()
    assert in_time.groupby("user_id")["timestamp"].is_monotonic_increasing.all()
    assert stored.groupby(["user_id", "category_id"])["rank"].is_monotonic_increasing.all()
    categories = stored.drop_duplicates(["user_id", "category_id"])
    assert categories.groupby("user_id")["category_id"].is_monotonic_increasing.all()
    runs = stored[["user_id", "category_id"]]
    assert len(categories) == (runs != runs.shift()).any(axis=1).sum()
    # A basket's rank is that of its first event: there are as many as the log has baskets.
    baskets = stored.groupby("user_id")["basket_start"].nunique()
    assert baskets.to_dict() == log[log["before"]].groupby("user_id")["group_id"].nunique().to_dict()
    assert (stored["basket_start"] <= stored["rank"]).all()


def test_targets_are_the_first_basket_after_the_cut(log, found):
    sold = set(log.loc[log["before"], "item_id"])
    known = set(log.loc[log["before"], "user_id"])
    start = log.groupby(["user_id", "group_id"])["timestamp"].min().reset_index()
    start = start[start["timestamp"] >= log["timestamp"].max() - 28 * 86_400]
    first = start.sort_values(["user_id", "timestamp", "group_id"]).drop_duplicates("user_id")
    targets = log.merge(first[["user_id", "group_id"]], on=["user_id", "group_id"])
    expected = {user: (set(rows["item_id"]) & sold, rows["timestamp"].min())
                for user, rows in targets.groupby("user_id")
                if user in known and set(rows["item_id"]) & sold}
    held_out = {user["user_id"][0]: (user["target_item_id"], user["target_timestamp"]) for user in found["eval"]}
    assert held_out.keys() == expected.keys() and len(held_out) == 1_994
    for user, (items, time) in held_out.items():
        assert (set(items), *time) == expected[user] and len(items) == len(set(items))
    of_train = {user["user_id"][0]: user for user in found["train"]}
    for user in found["eval"]:
        assert {**of_train[user["user_id"][0]], "target_item_id": user["target_item_id"],
                "target_timestamp": user["target_timestamp"]} == user


def test_rows_out_of_order(log, found):
    newest = log.groupby("user_id")["timestamp"].cummax()
    assert found["summary"]["events_out_of_order"] == (log["timestamp"] < newest).sum()
