"""Behaviours and candidates as vectors: x_j = e_item + e_category + e_recency + e_type (ULIM, section CHDIL [I]).

An item's own part is the sum of a row of its own and of one for each content token, so that an item nobody bought yet
stands with those that share its content [I].
"""

import tensorflow as tf
import tf_keras as keras

_HOUR = 3600.0
_RECENCY_BUCKETS = 20  # powers of two of an hour: the last one starts at 30 years


class BehaviourEmbedding(keras.layers.Layer):
    """The embedding tables and what they are summed into.

    Args:
        items: V, items with a row of their own; index 0 is the unknown one.
        categories: C, known categories; index 0 is the unknown one.
        width: D.
        content: A, known content tokens; 0 for items without content.
        tokens: P, most tokens an item has.
        event_types: known types of events; 0 where types are not told apart.
        fixed: whether items keep the rows they are given; their content is learned all the same.
        buckets: rows V + 1.. that all other items share, of any category and without content.
    """

    def __init__(self, items: int, categories: int, width: int, content: int = 0, tokens: int = 0,
                 event_types: int = 0, fixed: bool = False, buckets: int = 0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.items, self.categories, self.width = items, categories, width
        self.content, self.tokens, self.event_types, self.fixed = content, tokens, event_types, fixed
        self.buckets = buckets

    def build(self, _: tf.TensorShape) -> None:
        def table(name: str, rows: int, trainable: bool = True) -> tf.Variable:
            # An initializer of its own: one that is shared would give all tables the same first rows.
            return self.add_weight(name, [rows, self.width], trainable=trainable,
                                   initializer=keras.initializers.RandomUniform(-0.05, 0.05))

        rows = 1 + self.items + self.buckets
        self.item_table = table("item", rows, trainable=not self.fixed)
        self.bias_table = self.add_weight("bias", [rows], initializer="zeros")
        if self.content:
            self.content_table = table("content", self.content + 1)
            self.item_content = self.add_weight("item_content", [rows, self.tokens], tf.int64, trainable=False,
                                                initializer="zeros")
        if self.event_types:
            self.type_table = table("event_type", self.event_types + 1)
        self.category_table = table("category", self.categories + 1)
        self.recency_table = table("recency", _RECENCY_BUCKETS)
        self.recency_bias_table = self.add_weight("recency_bias", [_RECENCY_BUCKETS], initializer="zeros")
        self.item_category = self.add_weight("item_category", [rows], tf.int64, trainable=False, initializer="zeros")
        super().build(_)

    def candidate(self, item: tf.Tensor) -> tf.Tensor:
        """What a whole-pool interest is scored against: int64 [...] -> float32 [..., D + 1], the item's bias last."""
        vector = self._item(item) + self.category(tf.gather(self.item_category, item))
        return tf.concat([vector, self._bias(item)], axis=-1)

    def candidate_elsewhere(self, item: tf.Tensor, bias: tf.Tensor, category: tf.Tensor,
                            content: tf.Tensor | None) -> tf.Tensor:
        """As `candidate`, of items as another catalogue has them, those after V without a row of their own.

        Args:
            item: int64 [n].
            bias: float32 [n].
            category: int64 [n].
            content: int64 [n, P']; None without content.
        """
        trained = item <= self.items
        row = tf.where(trained[:, None], tf.gather(self.item_table, tf.where(trained, item, 0)), 0.0)
        if content is not None:
            row += self._described(content)
        return tf.concat([row + self.category(category), bias[:, None]], axis=-1)

    def in_category(self, item: tf.Tensor) -> tf.Tensor:
        """Candidates without the part that all items of a category share: int64 [...] -> float32 [..., D + 1]."""
        return tf.concat([self._item(item), self._bias(item)], axis=-1)

    def _item(self, item: tf.Tensor) -> tf.Tensor:
        row = tf.gather(self.item_table, item)
        if not self.content:
            return row
        return row + self._described(tf.gather(self.item_content, item))

    def _described(self, token: tf.Tensor) -> tf.Tensor:
        known = tf.where((token > 0)[..., None], tf.gather(self.content_table, token), 0.0)
        return tf.reduce_sum(known, axis=-2)

    def _bias(self, item: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.bias_table, item)[..., None]

    def category(self, category: tf.Tensor) -> tf.Tensor:
        """int64 [...] -> float32 [..., D]."""
        return tf.gather(self.category_table, category)

    def recency(self, age: tf.Tensor) -> tf.Tensor:
        """Ages in seconds, int64 [...] -> float32 [..., D], one row for each power of two of an hour."""
        return tf.gather(self.recency_table, _recency_bucket(age))

    def recency_bias(self, age: tf.Tensor) -> tf.Tensor:
        """What its age alone adds to a behaviour's attention: int64 [...] -> float32 [...]."""
        return tf.gather(self.recency_bias_table, _recency_bucket(age))

    def call(self, item: tf.Tensor, category: tf.Tensor, age: tf.Tensor,
             event_type: tf.Tensor | None = None) -> tf.Tensor:
        """Behaviours: int64 [...] each -> float32 [..., D]. The category is the event's; that of a bucket says none."""
        behaviour = self._item(item) + self.category(category) + self.recency(age)
        return behaviour if event_type is None else behaviour + tf.gather(self.type_table, event_type)


def _recency_bucket(age: tf.Tensor) -> tf.Tensor:
    octave = tf.math.log1p(tf.cast(age, tf.float32) / _HOUR) / tf.math.log(2.0)
    return tf.clip_by_value(tf.cast(octave, tf.int32), 0, _RECENCY_BUCKETS - 1)
