"""PGIN: which categories come next, copied from the history or generated (ULIM, section PGIN).

y_ptr = scatter_C(softmax_i(g . W[e_ci; recency_i; log count_i])) over the N categories of the history [P]
y_gen = softmax_C(MLP(attention(pooled long history; pooled short history))) [P]
p     = sigmoid(w . [ctx_ptr; ctx_gen; q] + b), forced to 0 where there is no history [I]
y     = p * y_ptr + (1 - p) * y_gen [P]
"""

from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras

from ulim_tf.layers.dnn import dnn, of_rows

_DAY = 86400.0


class CategoryPrediction(NamedTuple):
    """Next-category distributions over C + 1 indices; index 0, the unknown category, has none of the mass."""

    probability: tf.Tensor  # y, [B, C + 1], sums to 1
    copied: tf.Tensor  # p * y_ptr, [B, C + 1]: the part of `probability` that was copied from the history


class PointerGenerator(keras.layers.Layer):
    """Mixes copying a category of the history with generating any category.

    Args:
        categories: C.
        width: D.
        hidden: units of the generator's and the pointer's DNN.
        copies: whether p may differ from 0.
        generates: whether p may differ from 1 where there is a history.
    """

    def __init__(self, categories: int, width: int, hidden: int, copies: bool = True, generates: bool = True, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.categories, self.width, self.copies, self.generates = categories, width, copies, generates
        self.token = dnn("token", hidden, width)
        self.seeker = keras.layers.Dense(width, dtype="float32", name="seeker")
        self.fusion = keras.layers.Dense(1, dtype="float32", name="fusion")
        self.generator = dnn("generator", hidden, categories + 1)
        self.gate = keras.layers.Dense(1, dtype="float32", name="gate")

    def call(self, short: tf.Tensor, category: tf.Tensor, embedding: tf.Tensor, recency: tf.Tensor, count: tf.Tensor,
             age: tf.Tensor, span: tf.Tensor) -> CategoryPrediction:
        """Predicts the categories of the next basket.

        Args:
            short: q, [B, D].
            category: int64 [B, N], the history's categories.
            embedding: e_c of each, [B, N, D].
            recency: recency embedding of each category's newest event, [B, N, D].
            count: int64 [B, N], events of each; 0 marks padding.
            age: int64 [B, N], seconds since the newest event of each.
            span: int64 [B, N], seconds from the oldest to the newest event of each.
        """
        real = count > 0
        token = of_rows(self.token, tf.concat([embedding, recency, _rhythm(count, age, span)], axis=-1))
        logit = tf.linalg.matvec(token, self.seeker(short)) / self.width**0.5
        pointer = tf.where(real, tf.nn.softmax(tf.where(real, logit, logit.dtype.min), axis=-1), 0.0)
        context_pointer = tf.linalg.matvec(token, pointer, transpose_a=True)

        weight = tf.cast(real, token.dtype)[:, :, None]
        pooled_long = tf.reduce_sum(token * weight, axis=1) / tf.maximum(tf.reduce_sum(weight, axis=1), 1.0)
        views = tf.stack([pooled_long, short], axis=1)
        context_generator = tf.reduce_sum(tf.nn.softmax(of_rows(self.fusion, tf.tanh(views)), axis=1) * views, axis=1)
        known = tf.range(self.categories + 1) > 0
        generated = self.generator(context_generator)
        generated = tf.nn.softmax(tf.where(known, generated, generated.dtype.min), axis=-1)

        gate = tf.sigmoid(self.gate(tf.concat([context_pointer, context_generator, short], axis=-1)))
        gate = tf.where(tf.reduce_any(real, axis=1, keepdims=True), gate if self.generates else tf.ones_like(gate), 0.0)
        gate = gate if self.copies else tf.zeros_like(gate)
        copied = gate * self._scatter(category, pointer)
        return CategoryPrediction(copied + (1.0 - gate) * generated, copied)

    @property
    def category_outputs(self) -> tuple[tf.Variable, tf.Variable]:
        """What generates a category has of each: the kernel [hidden, C + 1] and the bias [C + 1] of the last layer."""
        last = self.generator.layers[-1]
        return last.kernel, last.bias

    def _scatter(self, category: tf.Tensor, mass: tf.Tensor) -> tf.Tensor:
        """Mass [B, N] of categories [B, N] -> [B, C + 1]."""
        users, width = tf.shape(category, out_type=tf.int64)[0], self.categories + 1
        flat = tf.reshape(tf.range(users)[:, None] * width + category, [-1])
        return tf.reshape(tf.math.unsorted_segment_sum(tf.reshape(mass, [-1]), flat, users * width), [users, width])


def _rhythm(count: tf.Tensor, age: tf.Tensor, span: tf.Tensor) -> tf.Tensor:
    """How often and how lately each category was bought, in logarithms of counts and days: [B, N, 4]."""
    count, age, span = (tf.cast(values, tf.float32) for values in (count, age, span))
    age, interval = age / _DAY, span / _DAY / tf.maximum(count - 1.0, 1.0)
    return tf.stack([tf.math.log1p(count), tf.math.log1p(age), tf.math.log1p(interval),
                     tf.math.log((age + 1.0) / (interval + 1.0))], axis=-1)
