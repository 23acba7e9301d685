"""A raw history as the model reads it, in TensorFlow ops that run eagerly, in tf.data and inside the served graph.

`ulim_tf/data.py` cuts the same tensors out of stored users; a test holds the two together. They are, per moment:

    short_item       int64 [B, S]   newest events of any category, oldest first
    short_age        int64 [B, S]   seconds before the moment
    short_type       int64 [B, S]   if events have types
    short_length     int64 [B]      how many of S are real
    category         int64 [B, N]   distinct categories of the history, in any order
    category_count   int64 [B, N]   events of each; 0 marks padding
    category_age     int64 [B, N]   seconds since the newest event of each
    category_span    int64 [B, N]   seconds between the oldest and the newest event of each

and, if users have profiles,

    profile          int64 [B, P]   tokens of the user, 0 for none; no part of the history, but read beside it

and, for each of K wanted categories:

    subsequence_item    int64 [B, K, M]   newest events of that category, oldest first
    subsequence_age     int64 [B, K, M]
    subsequence_type    int64 [B, K, M]   if events have types
    subsequence_length  int64 [B, K]      0 where the history has none

Padding holds 0; only the lengths and counts say what is real. Axes: see `ulim_tf/features.py`.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import tensorflow as tf

from ulim_tf import scopes
from ulim_tf.config import HistoryConfig
from ulim_tf.features import UNKNOWN

SHORT_ITEM = "short_item"
SHORT_AGE = "short_age"
SHORT_TYPE = "short_type"
SHORT_LENGTH = "short_length"
PROFILE = "profile"
CATEGORY = "category"
CATEGORY_COUNT = "category_count"
CATEGORY_AGE = "category_age"
CATEGORY_SPAN = "category_span"
SUBSEQUENCE_ITEM = "subsequence_item"
SUBSEQUENCE_AGE = "subsequence_age"
SUBSEQUENCE_TYPE = "subsequence_type"
SUBSEQUENCE_LENGTH = "subsequence_length"

_AFTER_ALL = tf.int64.max


class Events(NamedTuple):
    """Known events of B users, the newest L of each, oldest first; what lies past `length` is undefined."""

    item: tf.Tensor  # int64 [B, L]
    timestamp: tf.Tensor  # int64 [B, L]
    length: tf.Tensor  # int64 [B]
    now: tf.Tensor  # int64 [B]
    type: tf.Tensor | None  # int64 [B, L]; None where types are not told apart


class CategoryRows(NamedTuple):
    """The same events, category by category: row n of a user holds events [start, end) of the category-major order."""

    item: tf.Tensor  # int64 [B, L] category-major, oldest first inside a category
    timestamp: tf.Tensor  # int64 [B, L]
    category: tf.Tensor  # int64 [B, N] ascending; past the last row, larger than any category
    start: tf.Tensor  # int64 [B, N]
    end: tf.Tensor  # int64 [B, N]; start == end in padding
    type: tf.Tensor | None  # int64 [B, L], as `item`


@scopes.part(scopes.HISTORY)
def order_events(item: tf.Tensor, timestamp: tf.Tensor, length: tf.Tensor, now: tf.Tensor, long: int,
                 event_type: tf.Tensor | None = None) -> Events:
    """Drops padding and unknown items, sorts by time (stable) and keeps the newest `long` events.

    Args:
        item: int64 [B, L'] item indices in any order.
        timestamp: int64 [B, L'] unix seconds.
        length: int [B], how many of L' are real; negative counts as 0 and more than L' as L'.
        now: int64 [B], 0 for the time of the newest event.
        long: L.
        event_type: int64 [B, L'].
    """
    width = tf.shape(item)[1]
    real = (tf.range(width)[None, :] < tf.cast(length, tf.int32)[:, None]) & (item != UNKNOWN)
    order = tf.argsort(tf.where(real, timestamp, _AFTER_ALL), axis=1, stable=True)
    known = tf.math.count_nonzero(real, axis=1)
    newest = tf.maximum(known - long, 0)[:, None] + tf.range(tf.cast(tf.minimum(width, long), tf.int64))[None, :]
    order = tf.gather(order, newest, batch_dims=1)
    item, timestamp = tf.gather(item, order, batch_dims=1), tf.gather(timestamp, order, batch_dims=1)
    length = tf.minimum(known, long)
    last = _take(timestamp, length[:, None] - 1, length[:, None] > 0)[:, 0]
    return Events(item, timestamp, length, tf.where(now == 0, last, now),
                  None if event_type is None else tf.gather(event_type, order, batch_dims=1))


@scopes.part(scopes.HISTORY)
def group_by_category(events: Events, item_category: tf.Tensor) -> CategoryRows:
    """Re-orders events into category subsequences.

    Args:
        events: of B users.
        item_category: int64 [V + 1], the category of each item.
    """
    width = tf.shape(events.item, out_type=tf.int64)[1]
    real = tf.range(width)[None, :] < events.length[:, None]
    category = tf.where(real, tf.gather(item_category, events.item), _AFTER_ALL)
    order = tf.argsort(category, axis=1, stable=True)
    category = tf.gather(category, order, batch_dims=1)
    first_of_row = tf.concat([real[:, :1], (category[:, 1:] != category[:, :-1]) & real[:, 1:]], axis=1)
    rows = tf.math.count_nonzero(first_of_row, axis=1)
    row_of_event = tf.where(real, tf.cumsum(tf.cast(first_of_row, tf.int64), axis=1) - 1, width)
    wanted = tf.tile(tf.range(tf.reduce_max(rows))[None, :], [tf.shape(category)[0], 1])
    start = tf.searchsorted(row_of_event, wanted, side="left", out_type=tf.int64)
    end = tf.searchsorted(row_of_event, wanted, side="right", out_type=tf.int64)
    found = end > start
    return CategoryRows(
        item=tf.gather(events.item, order, batch_dims=1),
        timestamp=tf.gather(events.timestamp, order, batch_dims=1),
        category=tf.where(found, _take(category, start, found), _AFTER_ALL),
        start=start,
        end=end,
        type=None if events.type is None else tf.gather(events.type, order, batch_dims=1),
    )


@scopes.part(scopes.HISTORY)
def describe(events: Events, rows: CategoryRows, config: HistoryConfig) -> dict[str, tf.Tensor]:
    """The short-term and category tensors of the module's table, [B, S] and [B, N]."""
    short_length = tf.minimum(events.length, config.short)
    steps = tf.range(config.short, dtype=tf.int64)[None, :]
    real = steps < short_length[:, None]
    position = (events.length - short_length)[:, None] + steps
    found = rows.end > rows.start
    newest = _take(rows.timestamp, rows.end - 1, found)
    types = {} if events.type is None else {SHORT_TYPE: _take(events.type, position, real)}
    return {
        **types,
        SHORT_ITEM: _take(events.item, position, real),
        SHORT_AGE: age(_take(events.timestamp, position, real), events.now, real),
        SHORT_LENGTH: short_length,
        CATEGORY: tf.where(found, rows.category, UNKNOWN),
        CATEGORY_COUNT: rows.end - rows.start,
        CATEGORY_AGE: age(newest, events.now, found),
        CATEGORY_SPAN: newest - _take(rows.timestamp, rows.start, found),
    }


@scopes.part(scopes.HISTORY)
def subsequences(events: Events, rows: CategoryRows, wanted: tf.Tensor, config: HistoryConfig) -> dict[str, tf.Tensor]:
    """The same-category subsequence of each wanted category.

    Args:
        events: of B users.
        rows: their category rows.
        wanted: int64 [B, K] category indices.
        config: gives M.

    Returns:
        The [B, K, M] and [B, K] tensors of the module's table.
    """
    row = tf.searchsorted(rows.category, wanted, out_type=tf.int64)
    in_range = row < tf.shape(rows.category, out_type=tf.int64)[1]
    found = in_range & (_take(rows.category, row, in_range) == wanted)
    end = _take(rows.end, row, found)
    length = tf.minimum(end - _take(rows.start, row, found), config.subsequence)
    steps = tf.range(config.subsequence, dtype=tf.int64)[None, None, :]
    real = steps < length[:, :, None]
    position = (end - length)[:, :, None] + steps
    types = {} if rows.type is None else {SUBSEQUENCE_TYPE: _take(rows.type, position, real)}
    return {
        **types,
        SUBSEQUENCE_ITEM: _take(rows.item, position, real),
        SUBSEQUENCE_AGE: age(_take(rows.timestamp, position, real), events.now, real),
        SUBSEQUENCE_LENGTH: length,
    }


def _take(values: tf.Tensor, position: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """values[b, position[b, ...]] where `real`, else 0; positions outside are allowed where not real."""
    padded = tf.pad(values, [[0, 0], [0, 1]])
    nowhere = tf.shape(padded, out_type=position.dtype)[1] - 1
    return tf.gather(padded, tf.where(real, position, nowhere), batch_dims=1)


def age(timestamp: tf.Tensor, now: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """Seconds before `now`, 0 for what comes after it (clocks differ) and in padding."""
    now = tf.reshape(now, [-1] + [1] * (timestamp.shape.rank - 1))
    return tf.where(real, tf.maximum(now - timestamp, 0), 0)
