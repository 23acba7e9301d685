"""Items that a channel found, each with a score: what the rules of `merge.py` are made of."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

LONG_TERM, SHORT_TERM, BACKFILL = 0, 1, 2
NO_ITEM, NOT_FOUND = -1, float("-inf")


class Candidates(NamedTuple):
    """n places of B users. An item may stand at several; none stands where `item` is not positive."""

    item: tf.Tensor  # int64 [B, n]
    score: tf.Tensor  # float32 [B, n]; -inf where nothing was found
    channel: tf.Tensor  # int32 [B, n]


def of_channel(item: tf.Tensor, score: tf.Tensor, channel: int) -> Candidates:
    """What one channel found, [B, n]."""
    return Candidates(item, score, tf.fill(tf.shape(item), channel))


def concat(*parts: Candidates) -> Candidates:
    """The places of one after those of the other."""
    return Candidates(*(tf.concat(tensors, axis=1) for tensors in zip(*parts)))


def gather(candidates: Candidates, place: tf.Tensor) -> Candidates:
    """Those at `place`, int32 [B, m]."""
    return Candidates(*(tf.gather(tensor, place, batch_dims=1) for tensor in candidates))


def log_share(score: tf.Tensor, log_sum: tf.Tensor) -> tf.Tensor:
    """Logs of the shares of scores [..., k] in what they are a part of [...]; -inf where nothing was found."""
    return tf.where(score > NOT_FOUND, score - log_sum[..., None], NOT_FOUND)


def hits(item: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
    """Which of int64 [B, n] are among int64 [B, E]: bool [B, n]."""
    ordered = tf.sort(tf.pad(excluded, [[0, 0], [0, 1]], constant_values=NO_ITEM), axis=1)
    place = tf.minimum(tf.searchsorted(ordered, item), tf.shape(ordered)[1] - 1)
    return tf.gather(ordered, place, batch_dims=1) == item


def without(candidates: Candidates, excluded: tf.Tensor) -> Candidates:
    """Nothing stands where one of the items `excluded`, int64 [B, E], stood."""
    hit = hits(candidates.item, excluded)
    return candidates._replace(item=tf.where(hit, tf.cast(NO_ITEM, tf.int64), candidates.item),
                               score=tf.where(hit, NOT_FOUND, candidates.score))


def once_each(candidates: Candidates, together: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]) -> Candidates:
    """Leaves each item at its first place, with the score that its places have together; no place moves.

    Args:
        candidates: the channel of an item becomes that of its best place, or backfill where none was found.
        together: `total` or `best`.
    """
    item, score, channel = candidates
    order = tf.argsort(item, axis=1, stable=True)
    ordered = tf.gather(item, order, batch_dims=1)
    new = tf.pad(ordered[:, 1:] != ordered[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    group = tf.reshape(tf.cumsum(tf.cast(tf.reshape(new, [-1]), tf.int32)) - 1, tf.shape(item))
    size = tf.size(item)
    place = tf.reshape(tf.range(size), tf.shape(item))
    ordered_place = tf.gather(place, order, batch_dims=1)
    group = tf.reshape(tf.scatter_nd(tf.reshape(ordered_place, [-1, 1]), tf.reshape(group, [-1]), [size]),
                       tf.shape(item))

    first = tf.gather(tf.math.unsorted_segment_min(place, group, size), group) == place
    best_here = (score > NOT_FOUND) & (score == tf.gather(best(score, group, size), group))
    named = tf.math.unsorted_segment_min(tf.where(best_here, channel, BACKFILL), group, size)
    return Candidates(item=tf.where(first, item, NO_ITEM),
                      score=tf.where(first, tf.gather(together(score, group, size), group), NOT_FOUND),
                      channel=tf.gather(named, group))


def best(score: tf.Tensor, group: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
    """The largest score of each group, [groups]."""
    largest = tf.math.unsorted_segment_max(score, group, groups)
    return tf.where(largest > score.dtype.min, largest, NOT_FOUND)  # the op starts from the least finite number


def total(score: tf.Tensor, group: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
    """Log of what the exponentiated scores of each group add up to, [groups]."""
    largest = best(score, group, groups)
    relative = tf.where(score > NOT_FOUND, tf.exp(score - tf.gather(largest, group)), 0.0)
    return largest + tf.math.log(tf.math.unsorted_segment_sum(relative, group, groups))
