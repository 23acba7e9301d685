"""Values that stand row after row, in a rectangle.

A RaggedTensor of row ids would take a hundred ops for it, and be checked anew in every request.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import tensorflow as tf


def places(row: tf.Tensor, rows: tf.Tensor, width: int | None = None) -> tf.Tensor:
    """Where the values of each row stand.

    Args:
        row: int64 [n], 0..rows - 1 ascending, of each value.
        rows: how many, int64 [].
        width: of the rectangle, at least as many as the largest row has; None takes as many.

    Returns:
        int64 [rows, width], n where a row has no more.
    """
    edge = tf.raw_ops.LowerBound(sorted_inputs=row[None, :], values=tf.range(rows + 1)[None, :], out_type=tf.int64)[0]
    start, end = edge[:-1, None], edge[1:, None]
    if width is None:
        width = tf.maximum(tf.reduce_max(end - start), 0)  # the largest of nothing is negative
    place = start + tf.range(tf.cast(width, tf.int64))[None, :]
    return tf.where(place < end, place, edge[-1])


def padded(values: tf.Tensor, place: tf.Tensor, padding: float) -> tf.Tensor:
    """Values [n, ...] at `places`: [rows, width, ...], `padding` where there is none."""
    one_more = [[0, 1], *[[0, 0]] * (values.shape.rank - 1)]
    return tf.gather(tf.pad(values, one_more, constant_values=padding), place)
