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


def keep(candidates: Candidates, where: tf.Tensor) -> Candidates:
    """Nothing stands elsewhere than `where`, bool [B, n]."""
    return candidates._replace(item=tf.where(where, candidates.item, NO_ITEM),
                               score=tf.where(where, candidates.score, NOT_FOUND))


def without(candidates: Candidates, excluded: tf.Tensor) -> Candidates:
    """Nothing stands where one of the items `excluded`, int64 [B, E], stood."""
    return keep(candidates, ~hits(candidates.item, excluded))


def by_score(candidates: Candidates) -> tf.Tensor:
    """int64 [B, n], larger for the larger score; of equal scores, for the smaller (the more frequent) item."""
    bits = tf.bitcast(candidates.score, tf.int32)
    ordered = tf.where(bits < 0, tf.int32.min - bits, bits)  # a float is a sign and a magnitude; this orders as it does
    return tf.cast(ordered, tf.int64) * 2**32 - candidates.item


def ranked_within(candidates: Candidates, group: tf.Tensor) -> tuple[Candidates, tf.Tensor, tf.Tensor]:
    """Candidates in the order of their groups, int32 [B, n], and in each as `by_score` has them.

    Returns:
        them, their groups and the rank of each in its group, from 0, int32 [B, n].
    """
    order = tf.argsort(by_score(candidates), axis=1, direction="DESCENDING")
    order = tf.gather(order, tf.argsort(tf.gather(group, order, batch_dims=1), axis=1, stable=True), batch_dims=1)
    group = tf.gather(group, order, batch_dims=1)
    return gather(candidates, order), group, tf.range(tf.shape(group)[1]) - tf.searchsorted(group, group)


def once_each(candidates: Candidates, together: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]) -> Candidates:
    """Leaves each item at its first place, with the score that its places have together; no place moves.

    Args:
        candidates: the channel of an item becomes that of its best place, or backfill where none was found.
        together: `total` or `best`.
    """
    item, score, channel = candidates
    user = tf.range(tf.shape(item, tf.int64)[0])[:, None]
    different, group = tf.unique(tf.reshape(user * 2**32 + item, [-1]))
    groups, group = tf.size(different), tf.reshape(group, tf.shape(item))
    place = tf.reshape(tf.range(tf.size(item)), tf.shape(item))

    first = tf.gather(tf.math.unsorted_segment_min(place, group, groups), group) == place
    best_here = (score > NOT_FOUND) & (score == tf.gather(best(score, group, groups), group))
    named = tf.math.unsorted_segment_min(tf.where(best_here, channel, BACKFILL), group, groups)
    return Candidates(item=tf.where(first, item, NO_ITEM),
                      score=tf.where(first, tf.gather(together(score, group, groups), group), NOT_FOUND),
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
