"""How much probability the items of a category share, of which a search returned only the best k [I].

The softmax inside a category needs log sum_i exp(s_i), s_i = v . e_i + b_i, over all its n items. The sum over the k
that a search returned is too small, and each of them gets too much. The rest is estimated from moments: with weights
exp(b_i), the scores of a category's items are taken for normally distributed,

    log sum_i exp(s_i) ~ log sum_i exp(b_i) + v . mean(e_i) + v^2 . var(e_i) / 2

with one mean and one variance for each dimension: 2 D + 1 numbers a category, whatever its size. The scores returned
bound the estimate: no item that is missing scores more than the last of them.
"""

import numpy as np
import tensorflow as tf

from ulim_tf import scopes


class CategoryNormalizer(tf.Module):
    """Estimates the log-sum of a category's exponentiated scores.

    Args:
        vectors: float32 [V, D + 1], each item's bias last; row i is item i + 1.
        category: int [V], 1..C. A category may be without items.
        categories: C.
        temperature: divides scores before the softmax.
    """

    def __init__(self, vectors: np.ndarray, category: np.ndarray, categories: int, temperature: float):
        super().__init__(name="category_normalizer")
        bias = vectors[:, -1].astype(np.float64) / temperature
        largest = np.full(categories + 1, -np.inf)
        np.maximum.at(largest, category, bias)
        weight = np.exp(bias - largest[category])
        total = np.bincount(category, weight, categories + 1)
        weight /= total[category]

        # One dimension at a time: all of them in float64 would take many times the memory of the vectors.
        centre, spread = np.zeros([2, categories + 1, vectors.shape[1] - 1])
        for column in range(vectors.shape[1] - 1):
            values = vectors[:, column].astype(np.float64) / temperature
            centre[:, column] = np.bincount(category, weight * values, categories + 1)
            spread[:, column] = np.bincount(category, weight * (values - centre[category, column]) ** 2, categories + 1)
        with np.errstate(divide="ignore"):  # a category without items, as category 0 always is
            level = np.log(total) + largest
        self._temperature = temperature
        self._size, self._level, self._mean, self._variance = (
            tf.Variable(values, trainable=False, name=name, dtype=tf.float32)
            for name, values in (("size", np.bincount(category, minlength=categories + 1)), ("level", level),
                                 ("mean", centre), ("variance", spread)))

    @scopes.part(scopes.SEARCH)
    def log_sum(self, query: tf.Tensor, category: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
        """What exp(score / temperature) sums to over a whole category.

        Args:
            query: float32 [P, D + 1], a 1 last.
            category: int64 [P].
            score: float32 [P, k], of the best k items, best first; -inf past the last one.

        Returns:
            float32 [P], exact where the k are the whole category; the least finite number where it has no items.
        """
        vector, score = query[:, :-1], tf.maximum(score / self._temperature, score.dtype.min)
        estimate = (tf.gather(self._level, category)
                    + tf.reduce_sum(vector * tf.gather(self._mean, category), axis=1)
                    + tf.reduce_sum(vector**2 * tf.gather(self._variance, category), axis=1) / 2.0)
        found = tf.reduce_logsumexp(score, axis=1)
        missing = tf.maximum(tf.gather(self._size, category) - tf.cast(tf.shape(score)[1], tf.float32), 0.0)
        rest = tf.math.log(missing) + score[:, -1]
        most = tf.maximum(found, rest) + tf.math.log1p(tf.exp(-tf.abs(found - rest)))
        return tf.clip_by_value(estimate, found, most)
