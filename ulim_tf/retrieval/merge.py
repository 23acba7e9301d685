"""One ranked answer out of the two channels, by one of three rules (ULIM gives none [I]).

A dot product inside one category says nothing about another category, so raw scores are never compared. With c the
category of item i, y_c its probability and P(i|c) = g_c * copy(i) + (1 - g_c) * softmax_c(s_i),

    probability   the answer ranks a mixture, (1 - share) * y_c * P(i|c) + share * softmax_pool(s_i)
    quota         categories share the answer in proportion to y_c ** exponent, each filling its places by P(i|c); the
                  short-term channel has `share` of it (`quota.py`)
    equal_quota   the same with exponent 0

The softmax of the whole pool is taken over the best items of a search, that of a category over all its items, as
`normalizer.py` estimates their sum. Then `diversity.py` may cap what a category has of the answer, or make its further
items worth less. What no channel found fills up the answer, the most frequent first, so that R results always come back
while items remain. Equal scores are in the order of the item numbers, which is that of falling frequency.
"""

from typing import NamedTuple

import tensorflow as tf

from ulim_tf import scopes
from ulim_tf.retrieval.candidates import (
    BACKFILL,
    LONG_TERM,
    NO_ITEM,
    NOT_FOUND,
    SHORT_TERM,
    Candidates,
    best,
    by_score,
    concat,
    gather,
    log_share,
    of_channel,
    once_each,
    total,
    without,
)
from ulim_tf.retrieval.diversity import diversify
from ulim_tf.retrieval.quota import by_quota


class Ranked(NamedTuple):
    """R items of B users, best first; past `count`, item 0 and score 0."""

    item: tf.Tensor  # int64 [B, R]
    score: tf.Tensor  # float32 [B, R], log P(i) or the log of a quota's key, less what diversity takes; falling
    channel: tf.Tensor  # int32 [B, R]
    count: tf.Tensor  # int32 [B]


@scopes.part(scopes.MERGE)
def merge(*, rule: str, quota_exponent: float, probability: tf.Tensor, copied_item: tf.Tensor,
          copied_probability: tf.Tensor, copied_column: tf.Tensor, long_item: tf.Tensor, long_score: tf.Tensor,
          long_log_sum: tf.Tensor, generated_probability: tf.Tensor, short_item: tf.Tensor, short_score: tf.Tensor,
          short_log_sum: tf.Tensor, short_share: float, temperature: float, item_category: tf.Tensor,
          backfill: tf.Tensor, results: int, category_cap: int = 0, diversity: float = 0.0,
          excluded: tf.Tensor | None = None, limit: tf.Tensor | None = None) -> Ranked:
    """Ranks what both channels found and fills up to R.

    Args:
        rule: "probability", "quota" or "equal_quota".
        quota_exponent: of the rule "quota".
        probability: y, float32 [B, K], of the searched categories, most probable first.
        copied_item: int64 [B, n], events of the searched categories; negative in padding. An item may stand often.
        copied_probability: float32 [B, n], y_c * g_c * a of each event.
        copied_column: int [B, n], of the K categories the one that each event is in, from 0.
        long_item: int64 [B, K, k], negative where nothing was found.
        long_score: float32 [B, K, k], dot products; -inf where nothing was found.
        long_log_sum: float32 [B, K], log of what exp(score / temperature) sums to over all items of the category.
        generated_probability: float32 [B, K], y_c * (1 - g_c) of each category.
        short_item: int64 [B, k'], as `long_item`.
        short_score: float32 [B, k'].
        short_log_sum: float32 [B], as `long_log_sum`, over the best items of the pool, whether they may be answered or
            not.
        short_share: what the short-term channel gets of the mixture, or of the answer.
        temperature: of both softmaxes, as in training.
        item_category: int64 [V + 1], the category of each item, 0 for item 0.
        backfill: int64 [B or 1, m], items that fill up, in any order; negative in padding. See `Backfill.candidates`.
        results: R.
        category_cap: at most so many items of a category are answered, those that fill up included; 0 caps nothing.
        diversity: what an item's score loses for each item of its category that is answered before it.
        excluded: int64 [B, E], items that are never answered; negative in padding. None excludes nothing.
        limit: int32 [B], at most so many items are answered. None answers R.
    """
    users = tf.shape(short_item)[0]
    copied = tf.math.log(tf.where(copied_item > 0, copied_probability, 0.0))
    generated = log_share(long_score / temperature, long_log_sum) + tf.math.log(generated_probability)[..., None]
    short_scored = log_share(short_score / temperature, short_log_sum)
    # Padded, so that there are R places to choose from.
    backfill = tf.pad(backfill, [[0, 0], [0, tf.maximum(results - tf.shape(backfill)[1], 0)]], constant_values=NO_ITEM)
    backfill = tf.broadcast_to(backfill, [users, tf.shape(backfill)[1]])
    parts = (concat(of_channel(copied_item, copied, LONG_TERM),
                    of_channel(tf.reshape(long_item, [users, -1]), tf.reshape(generated, [users, -1]), LONG_TERM)),
             of_channel(short_item, short_scored, SHORT_TERM),
             of_channel(backfill, tf.fill(tf.shape(backfill), NOT_FOUND), BACKFILL))
    long, short, backfill = parts if excluded is None else (without(part, excluded) for part in parts)
    if rule == "probability":
        found = concat(long._replace(score=long.score + tf.math.log(1.0 - short_share)),
                       short._replace(score=short.score + tf.math.log(short_share)))
        candidates = once_each(concat(found, backfill), total)
    else:
        column = tf.broadcast_to(tf.range(tf.shape(long_item)[1])[:, None], tf.shape(long_item))
        column = tf.concat([tf.cast(copied_column, tf.int32), tf.reshape(column, [users, -1])], axis=1)
        found = by_quota(once_each(long, total), column, short, probability,
                         quota_exponent if rule == "quota" else 0.0, short_share)
        candidates = once_each(concat(found, backfill), best)
    if category_cap or diversity:
        candidates = diversify(candidates, item_category, category_cap, diversity)
    return _top(_filled_up(candidates, tf.shape(item_category)[0] - 1), results, limit)


def _filled_up(candidates: Candidates, items: tf.Tensor) -> Candidates:
    """Backfill scores less than whatever a channel found, the more frequent of V items (the smaller number) more."""
    item, score, _ = candidates
    real, found = item > 0, score > NOT_FOUND
    lowest = tf.reduce_min(tf.where(real & found, score, 0.0), axis=1, keepdims=True)
    fill = lowest - 1.0 - tf.cast(item, score.dtype) / tf.cast(items, score.dtype)
    return candidates._replace(score=tf.where(real, tf.where(found, score, fill), NOT_FOUND))


def _top(candidates: Candidates, results: int, limit: tf.Tensor | None) -> Ranked:
    item, score, channel = gather(candidates, tf.math.top_k(by_score(candidates), results).indices)
    real = score > NOT_FOUND
    if limit is not None:
        real &= tf.sequence_mask(limit, results)
    return Ranked(
        item=tf.where(real, item, 0),
        score=tf.where(real, score, 0.0),
        channel=tf.where(real, channel, 0),
        count=tf.math.count_nonzero(real, axis=1, dtype=tf.int32),
    )
