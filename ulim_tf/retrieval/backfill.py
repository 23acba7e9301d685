"""Items that fill up an answer where too few were found: the most frequent of those that may come back."""

import numpy as np
import tensorflow as tf

from ulim_tf.retrieval.candidates import NO_ITEM


class Backfill(tf.Module):
    """Picks for each request the few items that its backfill can be made of, whatever the number of items.

    Without a cap these are the first R + E. With one, an answer has at most the first `category_cap` items of each
    category, and one further item of the category for each that is excluded: R + E of the former and E of the latter.

    Args:
        item: int64 [n], that may come back, ascending: numbers are by falling frequency.
        item_category: int64 [V + 1], the category of each item, 0 for item 0.
        category_cap: as of `merge`; 0 caps nothing.
    """

    def __init__(self, item: np.ndarray, item_category: tf.Variable, category_cap: int):
        super().__init__(name="backfill")
        category = item_category.numpy()
        grouped = item[np.argsort(category[item], kind="stable")]
        rank = np.arange(len(item)) - np.searchsorted(category[grouped], category[grouped])
        within = rank < (category_cap or len(item))
        first, spare = np.sort(grouped[within]), grouped[~within]
        # Where the spare items of each category start; one start more is the end of the last.
        start = np.searchsorted(category[spare], np.arange(category.max() + 2))
        self._cap, self._item_category = category_cap, item_category
        # Of the first items, how many are of each category.
        size = np.bincount(category[first], minlength=category.max() + 1)
        self._first, self._spare, self._start, self._size = (
            tf.Variable(values, trainable=False, name=name, dtype=tf.int64) for name, values in (
                ("first", first), ("spare", np.append(spare, NO_ITEM)), ("start", start), ("size", size)))

    def candidates(self, results: int, excluded: tf.Tensor | None, allowed: tf.Tensor | None = None) -> tf.Tensor:
        """What is enough to fill up R places: int64 [B, m], NO_ITEM in padding; [1, m] if it is the same for all.

        Args:
            results: R.
            excluded: int64 [B, E], as of `merge`.
            allowed: bool [B, C + 1], the categories that the items may be of; None allows all.
        """
        if excluded is None:
            return self._first_allowed(results, allowed)
        users, hidden = tf.unstack(tf.shape(excluded))
        first = self._first_allowed(results + hidden, allowed)
        if not self._cap:
            return first
        # The n-th excluded item of a category, from 0, makes room for the n-th spare one at the latest.
        category = tf.sort(tf.gather(self._item_category, tf.maximum(excluded, 0)), axis=1)
        place = (tf.gather(self._start, category) + tf.range(hidden, dtype=tf.int64)
                 - tf.searchsorted(category, category, out_type=tf.int64))
        there = place < tf.gather(self._start, category + 1)
        if allowed is not None:
            there &= tf.gather(allowed, category, batch_dims=1)
        place = tf.where(there, place, tf.size(self._spare, tf.int64) - 1)
        return tf.concat([tf.broadcast_to(first, [users, tf.shape(first)[1]]), tf.gather(self._spare, place)], axis=1)

    def _first_allowed(self, count: int | tf.Tensor, allowed: tf.Tensor | None) -> tf.Tensor:
        """The first items of allowed categories, as `candidates`: int64 [B or 1, m], m at most the count."""
        if allowed is None:
            return self._first[None, :count]
        # As many as any user's categories leave out, and then there are enough.
        others = tf.reduce_max(tf.reduce_sum(tf.where(~allowed[:, :self._size.shape[0]], self._size, 0), axis=1))
        item = self._first[:count + tf.cast(tf.maximum(others, 0), tf.int32)]
        may_come = tf.gather(allowed, tf.gather(self._item_category, item), axis=1)
        nth = tf.cumsum(tf.cast(may_come, tf.int32), axis=1)
        wanted = tf.broadcast_to(tf.range(1, count + 1), [tf.shape(allowed)[0], count])
        place = tf.searchsorted(nth, wanted)  # past the last where there are not so many
        return tf.gather(tf.pad(item, [[0, 1]], constant_values=NO_ITEM), place)
