"""The best items of the whole pool by the largest dot product of any interest."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def best_items(interests: tf.Tensor, candidates: tf.Tensor, count: int,
               excluded: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """The union of what each interest finds, best score first.

    Args:
        interests: [B, K, D].
        candidates: [V + 1, D]; index 0, the unknown item, is never found.
        count: R.
        excluded: of each user, items that must not be found.

    Returns:
        int64 [B, R]; 0 past the last item that may be found.

    Raises:
        ValueError: `count` is not in 1..V.
    """
    if not 1 <= count < len(candidates):
        raise ValueError(f"count must be in 1..V = 1..{len(candidates) - 1}, got {count}. Ask for fewer items.")
    score = tf.reduce_max(tf.einsum("bkd,vd->bkv", interests, candidates), axis=1).numpy()
    score[:, 0] = -np.inf
    for row, items in zip(score, excluded or ()):
        row[items] = -np.inf
    best, item = tf.math.top_k(score, count)
    return tf.where(best > -np.inf, tf.cast(item, tf.int64), 0).numpy()
