"""Stored users as the requests of a client."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import tensorflow as tf

from serving.client import History
from serving.histories import User, read_users
from ulim_tf.config import FeaturesConfig


def example(**values: list) -> bytes:
    return tf.train.Example(features=tf.train.Features(feature={
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=of))
        if of and isinstance(of[0], int) else tf.train.Feature(bytes_list=tf.train.BytesList(value=of))
        for name, of in values.items()})).SerializeToString()


def test_events_are_in_the_order_they_happened_with_types_and_profile(tmp_path):
    # Two categories, of the events at ranks 0, 3 and 1, 2; the two of second 50 happened in the order of their ranks.
    stored = {"user_id": ["ann é".encode()], "event_item_id": [b"tea", b"rum", b"rye", b"oat"],
              "event_timestamp": [40, 60, 50, 50], "event_rank": [0, 3, 2, 1], "category_id": [b"drinks", b"grain"],
              "category_length": [2, 2], "event_type": [2, 1, 0, 1], "profile": [b"home=own=yes"]}
    with tf.io.TFRecordWriter(str(tmp_path / "users.gz"), "GZIP") as writer:
        writer.write(example(**stored))
        writer.write(example(user_id=[b"bob"], target_timestamp=[99], target_item_id=[b"tea"]))
    told_apart = FeaturesConfig(event_types=("view", "buy"), user_profile=("age", "home"))
    assert list(read_users([str(tmp_path / "users.gz")], told_apart)) == [
        User("ann é", History(["tea", "oat", "rye", "rum"], [40, 50, 50, 60], event_types=["buy", "view", "", "view"],
                              profile={"age": "", "home": "own=yes"})),
        User("bob", History([], [], now=99, event_types=[], profile={"age": "", "home": ""}))]
    plain, _ = read_users([str(tmp_path / "users.gz")], FeaturesConfig())
    assert plain == User("ann é", History(["tea", "oat", "rye", "rum"], [40, 50, 50, 60]))
