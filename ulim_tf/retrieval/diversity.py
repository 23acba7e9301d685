"""Answers of many categories: a cap on the items of each, and ComiRec's greedy, which makes further ones cost more.

The greedy takes next the item of the largest score - diversity * (number of items of its category taken before). Each
category is taken from in the order of its scores, so its item at rank r, from 0, is taken at the key score -
diversity * r; these keys fall inside a category, and taking the largest head of falling lists is sorting their union.
"""

import tensorflow as tf

from ulim_tf.retrieval.candidates import Candidates, keep, ranked_within


def diversify(candidates: Candidates, item_category: tf.Tensor, category_cap: int, diversity: float) -> Candidates:
    """Candidates with the greedy's keys for scores, without those that the cap leaves no room for.

    Args:
        candidates: [B, n], no item twice. What no channel found has no score to lower, and counts by item number.
        item_category: int64 [V + 1], the category of each item.
        category_cap: how many of one category may stay; 0 caps nothing.
        diversity: what each item of the same category that ranks before takes from a score, >= 0.
    """
    category = tf.cast(tf.gather(item_category, tf.maximum(candidates.item, 0)), tf.int32)
    candidates, _, rank = ranked_within(candidates, category)
    candidates = candidates._replace(score=candidates.score - diversity * tf.cast(rank, candidates.score.dtype))
    return keep(candidates, rank < category_cap) if category_cap else candidates
