"""What ULIM is compared with: TFRS's two towers on the newest events, and its ScaNN layer, in the same contract."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import math

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from benchmarks.baselines.sequence_model import EVENTS
from benchmarks.baselines.two_tower import TwoTower
from serving import contract
from ulim_tf import history
from ulim_tf.event_log import EventLog

RESULTS = 500  # R
_LEAF_SHARE = 0.05
_REORDERED = 2000
_EMBEDDED = 2**16  # items at once


def export(log: EventLog, vectors: np.ndarray, item_vocabulary: str, directory: str) -> None:
    """Writes a SavedModel that reads the newest events of a request, which come oldest first, and answers R items.

    Args:
        log: gives the items and their categories.
        vectors: float32 [V + 1, D], of the items in histories and as candidates.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        directory: where saved_model.pb goes.
    """
    model = TwoTower(log)
    model.item.embeddings.assign(vectors)
    candidate = np.concatenate([model.candidates(tf.range(start, min(start + _EMBEDDED, log.items + 1))).numpy()
                                for start in range(1, log.items + 1, _EMBEDDED)])
    leaves = math.isqrt(log.items)
    index = tfrs.layers.factorized_top_k.ScaNN(
        k=RESULTS, num_leaves=leaves, num_leaves_to_search=math.ceil(_LEAF_SHARE * leaves),
        num_reordering_candidates=_REORDERED, parallelize_batch_searches=False)
    index.index(tf.constant(candidate), tf.constant(log.item_id[1:]))
    number = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
        item_vocabulary, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
        -1)

    @tf.function(autograph=False, input_signature=[
        tf.TensorSpec([None, None], tf.string, contract.ITEM_ID),
        tf.TensorSpec([None, None], tf.int64, contract.TIMESTAMP),
        tf.TensorSpec([None], tf.int32, contract.LENGTH), tf.TensorSpec([None], tf.int64, contract.NOW)])
    def recommend(item_id: tf.Tensor, timestamp: tf.Tensor, length: tf.Tensor, now: tf.Tensor) -> dict[str, tf.Tensor]:
        score, item = index(model.interests({
            history.SHORT_ITEM: number.lookup(item_id[:, -EVENTS:]) + 1,
            history.SHORT_AGE: tf.maximum(now[:, None] - timestamp[:, -EVENTS:], 0),
            history.SHORT_LENGTH: tf.minimum(length, EVENTS)})[:, 0])
        return {contract.ITEM_ID: item, contract.SCORE: score}

    held = tf.Module()
    held.weights = [*model.user_tower.variables, model.item.embeddings, model.category.embeddings,
                    model.recency.embeddings]
    held.index, held.number = index, number
    tf.saved_model.save(held, directory, signatures=recommend.get_concrete_function(),
                        options=tf.saved_model.SaveOptions(namespace_whitelist=["Scann"]))
