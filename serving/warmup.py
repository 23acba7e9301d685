"""Warm-up requests inside a servable: TF Serving answers them before it calls a version available.

They are written where TF Serving looks for them, as a TFRecord of PredictionLog. The validator of the pipeline replays
the same ones, so they are what users will ask: histories of no event, one, a few, a median user's and the longest.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import itertools
import os
from collections.abc import Iterable, Sequence

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving import contract
from serving.client import Filters, History, encode_items_request, predict_request
from serving.client.messages import PredictionLog, PredictRequest
from ulim_tf.config import UlimConfig
from ulim_tf.sequences import DAY_SECONDS

FILE = "assets.extra/tf_serving_warmup_requests"  # the name that TF Serving looks for

_CONSIDERED = 1000  # users; enough for a median, and few enough for any log
_SOME_TIME = 1_700_000_000  # unix seconds


def choose(histories: Iterable[History]) -> list[History]:
    """Of the first thousand histories the shortest, the median and the longest, and the median's without all of its
    events and without all but the newest; shorter ones first, equal lengths once. Nothing of nothing.

    Args:
        histories: real ones, events in the order they happened.
    """
    by_length = sorted(itertools.islice(histories, _CONSIDERED), key=lambda one: len(one.item_ids))
    if not by_length:
        return []
    median = by_length[len(by_length) // 2]
    chosen = [newest(median, 0), newest(median, 1), by_length[0], median, by_length[-1]]
    return list({len(one.item_ids): one for one in chosen}.values())


def make(item_vocabulary: str, config: UlimConfig) -> list[History]:
    """Histories for a servable that was made without a log: the first items of the vocabulary, one a day.

    Args:
        item_vocabulary: text file, an item a line.
        config: of the model; says how long a short and a long history are.
    """
    with tf.io.gfile.GFile(item_vocabulary, "rb") as lines:
        items = [line.rstrip(b"\r\n").decode() for line in itertools.islice(lines, config.history.long)]
    events = list(itertools.islice(itertools.cycle(items), config.history.long))
    longest = History(
        item_ids=events, timestamps=[_SOME_TIME + DAY_SECONDS * day for day in range(len(events))],
        event_types=[config.features.event_types[0]] * len(events) if config.features.event_types else None,
        profile=dict.fromkeys(config.features.user_profile, ""))
    return [newest(longest, length) for length in sorted({0, 1, min(config.history.short, len(events)), len(events)})]


def newest(history: History, count: int) -> History:
    """The history with its last `count` events alone."""
    start = len(history.item_ids) - count
    return dataclasses.replace(
        history, item_ids=history.item_ids[start:], timestamps=history.timestamps[start:],
        event_types=None if history.event_types is None else history.event_types[start:])


def write(directory: str, signatures: Sequence[str], histories: Sequence[History]) -> None:
    """Adds requests to a servable: to each signature one for each history, and one for all of them together.

    Args:
        directory: of the SavedModel.
        signatures: its own, by their names in the contract.
        histories: at least one.
    """
    file = os.path.join(directory, FILE)
    tf.io.gfile.makedirs(os.path.dirname(file))
    with tf.io.TFRecordWriter(file) as writer:
        for signature in signatures:
            for asked in (*([one] for one in histories), histories):
                log = PredictionLog()
                log.predict_log.request.CopyFrom(_request(asked, signature))
                writer.write(log.SerializeToString())


def _request(histories: Sequence[History], signature: str) -> PredictRequest:
    """Asks about histories, or about their newest items; filters let through what was not bought before."""
    if signature == contract.SIGNATURE_ENCODE_ITEM:
        return encode_items_request([history.item_ids[-1] if history.item_ids else "" for history in histories])
    return predict_request(histories, signature, filters=[
        Filters(exclude_items=history.item_ids[-1:], exclude_seen=True) for history in histories])


def read(directory: str) -> list[predict_pb2.PredictRequest]:
    """The requests that `write` added.

    Raises:
        ValueError: the servable has none.
    """
    file = os.path.join(directory, FILE)
    if not tf.io.gfile.exists(file):
        raise ValueError(f"a servable must hold warm-up requests in {FILE}, but {directory} has none. "
                         "Export it again with serving.export.")
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            for record in tf.data.TFRecordDataset(file).as_numpy_iterator()]
