"""One ranked answer out of the two channels, as one probability.

A dot product inside one category says nothing about another category, so raw scores are never compared. Each channel
becomes a distribution over items instead, and the answer ranks their mixture:

    P(i) = (1 - share) * y_c * (g_c * copy(i) + (1 - g_c) * softmax_c(s_i)) + share * softmax_pool(s_i)

with c the item's category (ULIM gives no merge rule [I]). The softmax of the whole pool is taken over what the search
returned, that of a category over all its items, as `normalizer.py` estimates their sum. What no channel found fills up
the answer, the most frequent first, so that R results always come back while items remain.
"""

from typing import NamedTuple

import tensorflow as tf

LONG_TERM, SHORT_TERM, BACKFILL = 0, 1, 2
_EXCLUDED = 3

_NOT_FOUND = float("-inf")


class Ranked(NamedTuple):
    """R items of B users, best first; past `count`, item 0 and score 0."""

    item: tf.Tensor  # int64 [B, R]
    score: tf.Tensor  # float32 [B, R], log P(i)
    channel: tf.Tensor  # int32 [B, R]
    count: tf.Tensor  # int32 [B]


def merge(*, copied_item: tf.Tensor, copied_probability: tf.Tensor, long_item: tf.Tensor, long_score: tf.Tensor,
          long_log_sum: tf.Tensor, generated_probability: tf.Tensor, short_item: tf.Tensor, short_score: tf.Tensor,
          short_share: float, temperature: float, items: int, results: int,
          excluded: tf.Tensor | None = None) -> Ranked:
    """Ranks what both channels found and fills up to R.

    Args:
        copied_item: int64 [B, n], events of the searched categories; negative in padding. An item may stand often.
        copied_probability: float32 [B, n], y_c * g_c * a of each event.
        long_item: int64 [B, K, k], negative where nothing was found.
        long_score: float32 [B, K, k], dot products; -inf where nothing was found.
        long_log_sum: float32 [B, K], log of what exp(score / temperature) sums to over all items of the category.
        generated_probability: float32 [B, K], y_c * (1 - g_c) of each category.
        short_item: int64 [B, k'], as `long_item`.
        short_score: float32 [B, k'].
        short_share: what the mixture gives to the short-term channel.
        temperature: of both softmaxes, as in training.
        items: V, numbered by falling frequency.
        results: R.
        excluded: int64 [B, E], items that are never answered; negative in padding. None excludes nothing.
    """
    users = tf.shape(short_item)[0]
    long_share = 1.0 - short_share
    copied = tf.math.log(tf.where(copied_item > 0, long_share * copied_probability, 0.0))
    long = _log_share(long_score / temperature, long_log_sum) + tf.math.log(
        long_share * generated_probability)[..., None]
    short_score = short_score / temperature
    pool_log_sum = tf.reduce_logsumexp(tf.maximum(short_score, short_score.dtype.min), axis=-1)
    short = _log_share(short_score, pool_log_sum) + tf.math.log(short_share)
    if excluded is None:
        excluded = tf.zeros([users, 0], tf.int64)
    fill = tf.minimum(results + tf.shape(excluded)[1], items)
    frequent = tf.broadcast_to(tf.range(1, tf.cast(fill, tf.int64) + 1), [users, fill])
    places = (
        (copied_item, copied, LONG_TERM),
        (tf.reshape(long_item, [users, -1]), tf.reshape(long, [users, -1]), LONG_TERM),
        (short_item, short, SHORT_TERM),
        (frequent, tf.fill(tf.shape(frequent), _NOT_FOUND), BACKFILL),
        (excluded, tf.fill(tf.shape(excluded), _NOT_FOUND), _EXCLUDED))
    item = tf.concat([place[0] for place in places], axis=1)
    score = tf.concat([place[1] for place in places], axis=1)
    channel = tf.concat([tf.fill(tf.shape(place[0]), place[2]) for place in places], axis=1)
    return _top(*_once_each(item, score, channel), items, results)


def _log_share(score: tf.Tensor, log_sum: tf.Tensor) -> tf.Tensor:
    """Logs of the shares of scores [..., k] in what they are a part of [...]; -inf where nothing was found."""
    return tf.where(score > _NOT_FOUND, score - log_sum[..., None], _NOT_FOUND)


def _once_each(item: tf.Tensor, score: tf.Tensor, channel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Adds up the probabilities of an item's places [B, n]; the first keeps the sum, the others become item -1.

    So do all places of an excluded item. The channel is that of the most probable place.
    """
    order = tf.argsort(item, axis=1, stable=True)
    item, score, channel = (tf.gather(values, order, batch_dims=1) for values in (item, score, channel))
    first = tf.pad(item[:, 1:] != item[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    run = tf.reshape(tf.cumsum(tf.cast(tf.reshape(first, [-1]), tf.int32)) - 1, tf.shape(item))
    runs = tf.size(item)

    best = tf.gather(tf.math.unsorted_segment_max(score, run, runs), run)
    relative = tf.where(score > _NOT_FOUND, tf.exp(score - best), 0.0)
    total = best + tf.math.log(tf.gather(tf.math.unsorted_segment_sum(relative, run, runs), run))
    of_best = tf.where(score == best, channel, BACKFILL)
    kept = tf.gather(tf.math.unsorted_segment_max(channel, run, runs), run) < _EXCLUDED
    return (tf.where(first & kept, item, -1), tf.where(best > _NOT_FOUND, total, _NOT_FOUND),
            tf.gather(tf.math.unsorted_segment_min(of_best, run, runs), run))


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
