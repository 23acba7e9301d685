"""The losses of both parts of ULIM, on scores and probabilities alone."""

import tensorflow as tf


def sampled_softmax(positive: tf.Tensor, negative: tf.Tensor, log_expected_count: tf.Tensor,
                    hit: tf.Tensor) -> tf.Tensor:
    """-log of the positive's share of a softmax whose partition is estimated from sampled negatives.

    Every negative is corrected by the log of how often it was to be expected in the sample, so that the sampled sum
    estimates the sum over all items (logQ correction, Yi et al. 2019); accidental hits are left out.

    Args:
        positive: [...], scores of the bought items.
        negative: [..., n], scores of the sampled items.
        log_expected_count: broadcasts to [..., n], log(n * Q) with Q the sampling probability of each item.
        hit: bool [..., n], where a sampled item is the bought one.

    Returns:
        float32 [...].
    """
    corrected = tf.where(hit, negative.dtype.min, negative - log_expected_count)
    return tf.reduce_logsumexp(tf.concat([positive[..., None], corrected], axis=-1), axis=-1) - positive


def copy_or_generate(gate: tf.Tensor, copied: tf.Tensor, generated_nll: tf.Tensor) -> tf.Tensor:
    """-log(g * copy + (1 - g) * gen), the long-term loss with the item pointer; -log gen where g is 0.

    Args:
        gate: g, [...], in [0, 1).
        copied: copy of the bought item, [...], in [0, 1].
        generated_nll: -log gen of the bought item, [...].
    """
    log_copied = tf.math.log(tf.maximum(gate * copied, 1e-30))
    return -tf.reduce_logsumexp(tf.stack([log_copied, tf.math.log1p(-gate) - generated_nll]), axis=0)


def category_nll(probability: tf.Tensor, owner: tf.Tensor, category: tf.Tensor) -> tf.Tensor:
    """-log(y[c*] + 1e-8), the loss of PGIN.

    Args:
        probability: y, [B, C + 1].
        owner: int64 [n], the moment of each target.
        category: int64 [n], the categories that were bought.

    Returns:
        float32 [n].
    """
    return -tf.math.log(tf.gather_nd(probability, tf.stack([owner, category], axis=1)) + 1e-8)


def mean_of_moments(values: tf.Tensor, owner: tf.Tensor, moments: tf.Tensor) -> tf.Tensor:
    """Mean over the targets of each moment, then over the moments that have one; 0 where none has.

    Every basket counts alike, however large, as in the evaluation.

    Args:
        values: [n].
        owner: int64 [n], the moment of each target.
        moments: B.
    """
    some = tf.math.unsorted_segment_max(tf.ones_like(values), owner, moments) > 0
    return tf.math.divide_no_nan(tf.reduce_sum(tf.math.unsorted_segment_mean(values, owner, moments)),
                                 tf.reduce_sum(tf.cast(some, values.dtype)))
