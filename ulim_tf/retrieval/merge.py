"""One ranked answer out of the two channels, as one probability.

A dot product inside one category says nothing about another category, so raw scores are never compared. Each channel
becomes a distribution over items instead, and the answer ranks their mixture:

    P(i) = (1 - share) * y_c(i) * softmax_c(s_i) + share * softmax_pool(s_i)

with the softmax of a search taken over what it returned (ULIM gives no merge rule [I]). Items that no channel found
fill up the answer, the most frequent first, so that R results always come back while items remain.
"""

from typing import NamedTuple

import tensorflow as tf

LONG_TERM, SHORT_TERM, BACKFILL = 0, 1, 2

_NOT_FOUND = float("-inf")


class Ranked(NamedTuple):
    """R items of B users, best first; past `count`, item 0 and score 0."""

    item: tf.Tensor  # int64 [B, R]
    score: tf.Tensor  # float32 [B, R], log P(i)
    channel: tf.Tensor  # int32 [B, R]
    count: tf.Tensor  # int32 [B]


def merge(long_item: tf.Tensor, long_score: tf.Tensor, category_probability: tf.Tensor, short_item: tf.Tensor,
          short_score: tf.Tensor, *, short_share: float, temperature: float, items: int, results: int) -> Ranked:
    """Ranks what both channels found and fills up to R.

    Args:
        long_item: int64 [B, K, k], negative where nothing was found; an item stands in one category only.
        long_score: float32 [B, K, k], dot products; -inf where nothing was found.
        category_probability: float32 [B, K], y of each category.
        short_item: int64 [B, k'], as `long_item`.
        short_score: float32 [B, k'].
        short_share: what the mixture gives to the short-term channel.
        temperature: of both softmaxes, as in training.
        items: V, numbered by falling frequency.
        results: R.
    """
    users = tf.shape(short_item)[0]
    long = _log_softmax(long_score / temperature) + tf.math.log((1.0 - short_share) * category_probability)[..., None]
    short = _log_softmax(short_score / temperature) + tf.math.log(short_share)
    frequent = tf.broadcast_to(tf.range(1, min(results, items) + 1, dtype=tf.int64), [users, min(results, items)])
    item = tf.concat([tf.reshape(long_item, [users, -1]), short_item, frequent], axis=1)
    score = tf.concat([tf.reshape(long, [users, -1]), short, tf.fill(tf.shape(frequent), _NOT_FOUND)], axis=1)
    widths = [tf.reduce_prod(tf.shape(long_item)[1:]), tf.shape(short_item)[1], tf.shape(frequent)[1]]
    channel = tf.broadcast_to(tf.repeat([LONG_TERM, SHORT_TERM, BACKFILL], tf.stack(widths)), tf.shape(item))
    return _top(*_once_each(item, score, channel), items, results)


def _log_softmax(score: tf.Tensor) -> tf.Tensor:
    """Over the last axis, -inf where nothing was found (also where nothing was found at all)."""
    total = tf.reduce_logsumexp(tf.maximum(score, score.dtype.min), axis=-1, keepdims=True)
    return tf.where(score > _NOT_FOUND, score - total, _NOT_FOUND)


def _once_each(item: tf.Tensor, score: tf.Tensor, channel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Adds up the probabilities of an item that stands in several channels; its other places become item -1."""
    order = tf.argsort(item, axis=1, stable=True)
    item, score, channel = (tf.gather(values, order, batch_dims=1) for values in (item, score, channel))

    def following(values: tf.Tensor, by: int, fill: float) -> tf.Tensor:
        return tf.pad(values[:, by:], [[0, 0], [0, tf.minimum(by, tf.shape(values)[1])]], constant_values=fill)

    total, best, best_channel = score, score, channel
    for by in (1, 2):  # an item stands in at most three places, one a channel
        same = following(item, by, -1) == item
        other = tf.where(same, following(score, by, _NOT_FOUND), _NOT_FOUND)
        total = _log_add(total, other)
        best_channel = tf.where(other > best, following(channel, by, 0), best_channel)
        best = tf.maximum(best, other)
    first = tf.pad(item[:, 1:] != item[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    return tf.where(first, item, -1), total, best_channel


def _log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    larger = tf.maximum(a, b)
    return tf.where(larger > _NOT_FOUND, larger + tf.math.log1p(tf.exp(tf.minimum(a, b) - larger)), _NOT_FOUND)


def _top(item: tf.Tensor, score: tf.Tensor, channel: tf.Tensor, items: int, results: int) -> Ranked:
    real = item > 0
    lowest = tf.reduce_min(tf.where(real & (score > _NOT_FOUND), score, 0.0), axis=1, keepdims=True)
    # Backfill ranks below whatever a channel found, the more frequent item (the smaller number) first.
    fill = lowest - 1.0 - tf.cast(item, score.dtype) / items
    score = tf.where(real, tf.where(score > _NOT_FOUND, score, fill), _NOT_FOUND)
    missing = tf.maximum(results - tf.shape(score)[1], 0)
    score, place = tf.math.top_k(tf.pad(score, [[0, 0], [0, missing]], constant_values=_NOT_FOUND), results)
    real = score > _NOT_FOUND
    place = tf.minimum(place, tf.shape(item)[1] - 1)
    return Ranked(
        item=tf.where(real, tf.gather(item, place, batch_dims=1), 0),
        score=tf.where(real, score, 0.0),
        channel=tf.where(real, tf.gather(channel, place, batch_dims=1), 0),
        count=tf.math.count_nonzero(real, axis=1, dtype=tf.int32),
    )
