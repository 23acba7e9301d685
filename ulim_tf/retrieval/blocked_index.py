"""An exact index of TensorFlow's own ops, each of which has a GPU kernel, and of shapes that XLA can compile.

Items are sorted by category, so a category is a range of rows. Pairs are sorted by the size of their category and
searched a few at a time: `rows` rows are gathered, scored and ranked at once, many small categories or a part of a few
large ones. So memory does not grow with the number of pairs, and little is computed for nothing.

A GPU multiplies matrices in TF32, whose scores are off by some thousandths. So a few more rows than were asked for are
found, and scored again without a product of matrices.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import tensorflow as tf

from ulim_tf.retrieval.candidates import NO_ITEM, NOT_FOUND
from ulim_tf.retrieval.index import CategoryIndex, Found

_SMALLEST, _STEP = 64, 4  # rows of a category read at once: 64, 256, 1,024, ...
_LARGEST = 4096
_SPARE = 16  # rows that are found beyond k: as many places, about, as TF32 is off


class BlockedIndex(CategoryIndex):
    """Item vectors in one matrix. Loads in any TensorFlow, and runs on its GPUs.

    Args:
        item: int64 [V], distinct and positive.
        category: int [V], 1..C.
        vectors: float32 [V, D].
        categories: C.
        rows: item vectors read at once. A GPU has thousands of lanes to fill, and takes half a million in less time
            still; a CPU then takes three times as long.

    Raises:
        ValueError: as `CategoryIndex`.
    """

    def __init__(self, item: np.ndarray, category: np.ndarray, vectors: np.ndarray, categories: int,
                 rows: int = 65_536):
        super().__init__(item, category, vectors, categories, "blocked_index")
        order = np.lexsort((item, category))
        row_of_item = np.full(item.max() + 1, len(item))
        row_of_item[item[order]] = np.arange(len(item))
        size = np.bincount(category, minlength=categories + 1)
        self._rows, self._largest = rows, int(size.max())
        self._vectors = tf.Variable(vectors[order], trainable=False, name="vectors")
        # 64 bits: TensorFlow keeps variables of 32-bit integers off the GPU.
        self._first, self._size, self._item, self._row_of_item = (
            tf.Variable(values, trainable=False, dtype=tf.int64, name=name) for name, values in (
                ("first", np.searchsorted(category, np.arange(categories + 1), sorter=order)),
                ("size", size), ("item", item[order]), ("row_of_item", row_of_item)))

    def holds(self, item: tf.Tensor) -> tf.Tensor:
        """See the base class."""
        return self._row_of(item) < self.items

    def _search(self, query: tf.Tensor, category: tf.Tensor, k: int, excluded: tf.Tensor | None) -> Found:
        first, size = tf.gather(self._first, category), tf.gather(self._size, category)
        by_size = tf.argsort(size, stable=True)
        pairs = tf.shape(query)[0]
        # One row more, for what stands in for pairs past the last one.
        best = _nothing(pairs + 1, k + _SPARE)
        user = None
        if excluded is not None:
            excluded, user = self._row_of(excluded), tf.range(pairs) // tf.maximum(pairs // tf.shape(excluded)[0], 1)

        smallest, read = 0, _SMALLEST
        while smallest < self._largest:
            largest = read if read < _LARGEST else self._largest
            start, end = (tf.math.count_nonzero(size <= edge, dtype=tf.int32) for edge in (smallest, largest))
            at_once = tf.minimum(max(self._rows // read, 1), pairs)

            def step(start: tf.Tensor, row: tf.Tensor, score: tf.Tensor, end: tf.Tensor = end,
                     at_once: tf.Tensor = at_once, read: int = read) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
                place = start + tf.range(at_once)
                pair = tf.gather(by_size, tf.minimum(place, pairs - 1))
                taken = _best_of_range(
                    self._vectors, tf.gather(query, pair), tf.gather(first, pair),
                    tf.where(place < end, tf.gather(size, pair), 0), k + _SPARE, read,
                    None if excluded is None else tf.gather(excluded, tf.gather(user, pair)))
                pair = tf.where(place < end, pair, pairs)[:, None]
                return (start + at_once, tf.tensor_scatter_nd_update(row, pair, taken[0]),
                        tf.tensor_scatter_nd_update(score, pair, taken[1]))

            _, *best = tf.while_loop(lambda start, row, score, end=end: start < end, step, [start, *best],
                                     parallel_iterations=1)
            smallest, read = largest, read * _STEP
        return self._found(query, best[0][:-1], best[1][:-1], k)

    def _search_all(self, query: tf.Tensor, k: int, excluded: tf.Tensor | None, allowed: tf.Tensor | None) -> Found:
        users, read = tf.shape(query)[0], min(self._rows, self.items)
        excluded = None if excluded is None else self._row_of(excluded)

        def step(start: tf.Tensor, row: tf.Tensor, score: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            first = tf.minimum(start, self.items - read)  # of the last rows, some were read before
            here = first + tf.range(read)
            # Not a slice: reading the variable for one would copy it whole.
            scored = tf.matmul(query, tf.gather(self._vectors, here), transpose_b=True)
            scored = tf.where(here >= start, scored, NOT_FOUND)
            if excluded is not None:
                scored = _struck_out(scored, excluded - tf.cast(first, tf.int64))
            if allowed is not None:
                category = tf.searchsorted(self._first, tf.cast(here, tf.int64), side="right") - 1
                scored = tf.where(tf.gather(allowed, category, axis=1), scored, NOT_FOUND)
            return start + read, *_best(row, score, tf.cast(first, tf.int64), scored)

        _, row, score = tf.while_loop(
            lambda start, row, score: start < self.items, step,
            [0, *_nothing(users, k + _SPARE)], parallel_iterations=1)
        return self._found(query, row, score, k)

    def _row_of(self, item: tf.Tensor) -> tf.Tensor:
        """int64 [...] -> int64 [...], past the last row for what is no item."""
        known = (item > 0) & (item < self._row_of_item.shape[0])
        return tf.where(known, tf.gather(self._row_of_item, tf.where(known, item, 0)), self.items)

    def _found(self, query: tf.Tensor, row: tf.Tensor, score: tf.Tensor, k: int) -> Found:
        """The best k of rows int64 [A, k + _SPARE], by scores that are as exact as float32."""
        real = score > NOT_FOUND
        row = tf.where(real, row, 0)
        score = tf.reduce_sum(query[:, None] * tf.gather(self._vectors, row), axis=-1)
        score, place = tf.math.top_k(tf.where(real, score, NOT_FOUND), k)
        item = tf.gather(self._item, tf.gather(row, place, batch_dims=1))
        return Found(tf.where(score > NOT_FOUND, item, NO_ITEM), score)


def _best_of_range(vectors: tf.Tensor, query: tf.Tensor, first: tf.Tensor, size: tf.Tensor, k: int, read: int,
                   excluded: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches a range of rows for each query, `read` rows at a time.

    Args:
        vectors: float32 [V, D].
        query: float32 [A, D].
        first: int64 [A], row.
        size: int64 [A], rows.
        k: how many.
        read: rows.
        excluded: int64 [A, E], rows.

    Returns:
        Rows int64 [A, k] and scores float32 [A, k].
    """
    def step(start: tf.Tensor, row: tf.Tensor, score: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        offset = start + tf.range(read, dtype=tf.int64)
        real = offset < size[:, None]
        here = tf.where(real, first[:, None] + offset, 0)
        scored = tf.matmul(query[:, None, :], tf.gather(vectors, here), transpose_b=True)[:, 0]
        scored = tf.where(real, scored, NOT_FOUND)
        if excluded is not None:
            scored = _struck_out(scored, excluded - first[:, None] - start)
        return start + read, *_best(row, score, first[:, None] + start, scored)

    most = tf.reduce_max(size)
    _, row, score = tf.while_loop(lambda start, row, score: start < most, step,
                                  [tf.cast(0, tf.int64), *_nothing(tf.shape(query)[0], k)], parallel_iterations=1)
    return row, score


def _nothing(searches: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.zeros([searches, k], tf.int64), tf.fill([searches, k], NOT_FOUND)


def _best(row: tf.Tensor, score: tf.Tensor, first: tf.Tensor, scored: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The best of what was found before, [A, k] each, and of the rows from `first` on, whose scores are [A, n]."""
    k = score.shape[1]
    score, place = tf.math.top_k(tf.concat([score, scored], axis=1), k)
    before = tf.gather(row, tf.minimum(place, k - 1), batch_dims=1)
    return tf.where(place < k, before, first + tf.cast(place - k, tf.int64)), score


def _struck_out(score: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Scores [A, n] without those at int64 [A, E]; columns outside 0..n - 1 strike out nothing."""
    rows, columns = tf.unstack(tf.shape(score, tf.int64))
    column = tf.where((column >= 0) & (column < columns), column, columns)
    place = tf.stack([tf.broadcast_to(tf.range(rows)[:, None], tf.shape(column)), column], axis=-1)
    return tf.tensor_scatter_nd_update(tf.pad(score, [[0, 0], [0, 1]]), place,
                                       tf.fill(tf.shape(column), NOT_FOUND))[:, :-1]
