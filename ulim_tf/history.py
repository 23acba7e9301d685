"""A raw history as the model reads it, in TensorFlow ops that run eagerly, in tf.data and inside the served graph.

`ulim_tf/data.py` cuts the same tensors out of stored users; a test holds the two together. They are, per moment:

    short_item       int64 [B, S]   newest events of any category, oldest first
    short_category   int64 [B, S]   that each stands in, which the number of a bucket does not say
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
SHORT_CATEGORY = "short_category"
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

# Columns of an event: item, timestamp, category, and its type where types are told apart. One op takes all of them.
_TIMESTAMP, _CATEGORY = 1, 2


class Events(NamedTuple):
    """Known events of B users, the newest L of each, oldest first; what lies past `length` is undefined."""

    columns: tf.Tensor  # int64 [B, L, 3 or 4]; category UNKNOWN for an item of which nothing is known but its bucket
    length: tf.Tensor  # int64 [B]
    now: tf.Tensor  # int64 [B]
    place: tf.Tensor  # int32 [B, L], in what was asked


class CategoryRows(NamedTuple):
    """The same events, category by category: row n of a user holds events [start, end) of the category-major order.

    N is one more than the most categories of a user, so that every user has a row of padding.
    """

    columns: tf.Tensor  # int64 [B, L, 3 or 4] category-major, oldest first inside a category
    category: tf.Tensor  # int64 [B, N] ascending; past the last row, larger than any category
    start: tf.Tensor  # int64 [B, N]
    end: tf.Tensor  # int64 [B, N]; start == end in padding
    place: tf.Tensor  # int32 [B, L], as of `Events`, category-major


@scopes.part(scopes.HISTORY)
def order_events(item: tf.Tensor, category: tf.Tensor, timestamp: tf.Tensor, length: tf.Tensor, now: tf.Tensor,
                 long: int, event_type: tf.Tensor | None = None) -> Events:
    """Drops padding and unknown items, sorts by time (stable) and keeps the newest `long` events.

    Args:
        item: int64 [B, L'] item indices in any order.
        category: int64 [B, L'], that each item is in.
        timestamp: int64 [B, L'] unix seconds.
        length: int [B], how many of L' are real; negative counts as 0 and more than L' as L'.
        now: int64 [B], 0 for the time of the newest event.
        long: L.
        event_type: int64 [B, L'].
    """
    width = tf.shape(item)[1]
    real = (tf.range(width)[None, :] < tf.cast(length, tf.int32)[:, None]) & (item != UNKNOWN)
    key = tf.where(real, timestamp, _AFTER_ALL)
    # Most clients send events as they keep them, in order; sorting thousands is what would cost most here.
    order = tf.cond(tf.reduce_all(key[:, 1:] >= key[:, :-1]),
                    lambda: tf.broadcast_to(tf.range(width), tf.shape(key)),
                    lambda: tf.argsort(key, axis=1, stable=True))
    known = tf.math.count_nonzero(real, axis=1)
    newest = tf.maximum(known - long, 0)[:, None] + tf.range(tf.cast(tf.minimum(width, long), tf.int64))[None, :]
    place = tf.gather(order, newest, batch_dims=1)
    columns = tf.stack([item, timestamp, category, *([] if event_type is None else [event_type])], axis=2)
    columns = tf.gather(columns, place, batch_dims=1)
    length = tf.minimum(known, long)
    last = _take(columns, length[:, None] - 1, length[:, None] > 0)[:, 0, _TIMESTAMP]
    return Events(columns, length, tf.where(now == 0, last, now), place)


@scopes.part(scopes.HISTORY)
def group_by_category(events: Events) -> CategoryRows:
    """Re-orders events into category subsequences; those of the unknown category are in none."""
    users, width = tf.unstack(tf.shape(events.columns, tf.int64)[:2])
    category = events.columns[:, :, _CATEGORY]
    category = tf.where((tf.range(width)[None, :] < events.length[:, None]) & (category != UNKNOWN), category,
                        _AFTER_ALL)
    order = tf.argsort(category, axis=1, stable=True)
    category = tf.gather(category, order, batch_dims=1)
    real = category < _AFTER_ALL
    first_of_row = tf.concat([real[:, :1], (category[:, 1:] != category[:, :-1]) & real[:, 1:]], axis=1)
    row_of_event = tf.cumsum(tf.cast(first_of_row, tf.int64), axis=1)  # from 1
    rows = tf.maximum(tf.reduce_max(row_of_event[:, -1:]), 0)  # the largest of nothing is negative
    row_of_event = tf.where(real, row_of_event, _AFTER_ALL)
    # Where each row starts, and one more, where the last one ends. tf.searchsorted makes ten ops of this one.
    edge = tf.raw_ops.LowerBound(sorted_inputs=row_of_event, values=tf.tile(tf.range(1, rows + 3)[None, :], [users, 1]),
                                 out_type=tf.int64)
    start, end = edge[:, :-1], edge[:, 1:]
    return CategoryRows(
        columns=tf.gather(events.columns, order, batch_dims=1),
        category=tf.gather(tf.pad(category, [[0, 0], [0, 1]], constant_values=_AFTER_ALL), start, batch_dims=1),
        start=start,
        end=end,
        place=tf.gather(events.place, order, batch_dims=1),
    )


@scopes.part(scopes.HISTORY)
def describe(events: Events, rows: CategoryRows, config: HistoryConfig) -> dict[str, tf.Tensor]:
    """The short-term and category tensors of the module's table, [B, S] and [B, N]."""
    short_length = tf.minimum(events.length, config.short)
    steps = tf.range(config.short, dtype=tf.int64)[None, :]
    real = steps < short_length[:, None]
    item, timestamp, own, *types = _split(_take(events.columns, (events.length - short_length)[:, None] + steps, real))
    category, start, end = (values[:, :-1] for values in (rows.category, rows.start, rows.end))
    found = end > start
    newest, oldest = (_take(rows.columns, position, found)[:, :, _TIMESTAMP] for position in (end - 1, start))
    return {
        **dict(zip([SHORT_TYPE], types)),
        SHORT_ITEM: item,
        SHORT_CATEGORY: own,
        SHORT_AGE: age(timestamp, events.now, real),
        SHORT_LENGTH: short_length,
        CATEGORY: tf.where(found, category, UNKNOWN),
        CATEGORY_COUNT: end - start,
        CATEGORY_AGE: age(newest, events.now, found),
        CATEGORY_SPAN: newest - oldest,
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
    position, real = _positions(rows, wanted, config)
    item, timestamp, _, *types = _split(_take(rows.columns, position, real))
    return {
        **dict(zip([SUBSEQUENCE_TYPE], types)),
        SUBSEQUENCE_ITEM: item,
        SUBSEQUENCE_AGE: age(timestamp, events.now, real),
        SUBSEQUENCE_LENGTH: tf.math.count_nonzero(real, axis=2),
    }


def subsequence_events(rows: CategoryRows, wanted: tf.Tensor, config: HistoryConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Which events those of `subsequences` are: their places in what was asked, int32 [B, K, M], and times, int64."""
    position, real = _positions(rows, wanted, config)
    return (_take(rows.place[:, :, None], position, real)[..., 0],
            _take(rows.columns, position, real)[..., _TIMESTAMP])


def _positions(rows: CategoryRows, wanted: tf.Tensor, config: HistoryConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the events of each wanted category are in `rows`, int64 [B, K, M], and which of the M are real."""
    row = tf.raw_ops.LowerBound(sorted_inputs=rows.category, values=wanted, out_type=tf.int64)
    category, start, end = _split(tf.gather(tf.stack([rows.category, rows.start, rows.end], axis=2), row, batch_dims=1))
    length = tf.where(category == wanted, tf.minimum(end - start, config.subsequence), 0)
    steps = tf.range(config.subsequence, dtype=tf.int64)[None, None, :]
    real = steps < length[:, :, None]
    return (end - length)[:, :, None] + steps, real


def _split(columns: tf.Tensor) -> list[tf.Tensor]:
    return tf.unstack(columns, axis=-1)


def _take(columns: tf.Tensor, position: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """columns[b, position[b, ...]] where `real`, else 0; positions outside are allowed where not real."""
    padded = tf.pad(columns, [[0, 0], [0, 1], [0, 0]])
    nowhere = tf.shape(padded, out_type=position.dtype)[1] - 1
    return tf.gather(padded, tf.where(real, position, nowhere), batch_dims=1)


def age(timestamp: tf.Tensor, now: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """Seconds of int64 [B, ...] before `now` [B], 0 for what comes after it (clocks differ) and where not `real`."""
    now = tf.reshape(now, [-1] + [1] * (timestamp.shape.rank - 1))
    return tf.where(real, tf.maximum(now - timestamp, 0), 0)
