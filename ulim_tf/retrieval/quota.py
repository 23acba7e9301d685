"""Places of the answer, divided among categories and the short-term channel as seats are among parties.

By the divisor method of Sainte-Laguë: the item at rank r, from 0, of a party that weighs w gets the key w / (2r + 1),
and the answer is in the order of the keys. So no quota is computed, and yet the first R items hold each party's share
of R, rounded, whatever R is; places that a party cannot fill go to the next keys.
"""

import tensorflow as tf

from ulim_tf.retrieval.candidates import NOT_FOUND, Candidates, concat, log_share, ranked_within


def by_quota(long: Candidates, column: tf.Tensor, short: Candidates, probability: tf.Tensor, exponent: float,
             short_share: float) -> Candidates:
    """Both channels' items, with the log of their keys for scores.

    An item that both found stands twice. Places are in the order of the categories, the short-term channel last.

    Args:
        long: [B, n], no item twice, scored so that the items of one category compare.
        column: int32 [B, n], of the K categories the one that each is in, from 0.
        short: [B, k'], no item twice.
        probability: y, float32 [B, K]. A category of probability 0 gets nothing, even where the exponent is 0.
        exponent: categories share 1 - short_share in proportion to y ** exponent.
        short_share: the weight of the short-term channel.
    """
    power = tf.where(probability > 0.0, exponent * tf.math.log(probability), NOT_FOUND)
    share = log_share(power, tf.reduce_logsumexp(power, axis=-1)) + tf.math.log(1.0 - short_share)
    weight = tf.pad(share, [[0, 0], [0, 1]], constant_values=tf.math.log(short_share))

    party = tf.concat([column, tf.fill(tf.shape(short.item), tf.shape(probability)[1])], axis=1)
    found, party, rank = ranked_within(concat(long, short), party)
    key = tf.gather(weight, party, batch_dims=1) - tf.math.log(2.0 * tf.cast(rank, weight.dtype) + 1.0)
    return found._replace(score=tf.where(found.score > NOT_FOUND, key, NOT_FOUND))
