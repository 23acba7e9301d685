"""Search inside a category, and in the whole pool, with two ScaNN searchers that live inside a SavedModel.

One searcher holds an exact index per category: a ScaNN tree is a list of leaves, and nothing says that leaves come
from k-means, so the category is the leaf. Items and queries get two more dimensions. Items hold 0 there, so scores do
not change. A query holds the code of its category, a point of a small integer grid; the centre of a leaf holds the
same code and zeros elsewhere. Small integers are exact in float32, so searching one leaf under squared L2 picks
exactly the leaf of that category.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import hashlib
import uuid

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from scann import scann_ops
from scann.partitioning import partitioner_pb2
from scann.proto import scann_pb2

from ulim_tf.retrieval.candidates import NO_ITEM

_LARGEST_EXACT_POOL = 100_000  # up to here brute force answers in about a millisecond
_CATEGORY_LEAVES = """
num_neighbors: 1
distance_measure {{ distance_measure: "DotProductDistance" }}
partitioning {{
  num_children: {categories} min_cluster_size: 1 max_clustering_iterations: 1
  partitioning_distance {{ distance_measure: "SquaredL2Distance" }}
  query_spilling {{ spilling_type: FIXED_NUMBER_OF_CENTERS max_spill_centers: 1 }}
  expected_sample_size: {items}
  query_tokenization_distance_override {{ distance_measure: "SquaredL2Distance" }}
  partitioning_type: GENERIC query_tokenization_type: FLOAT
}}
brute_force {{ fixed_point {{ enabled: False }} }}
"""


class ScannIndex(tf.Module):
    """Item vectors that are searched by dot product.

    Args:
        vectors: float32 [V, D]; row i is item i + 1.
        category: int [V], 1..C. Every category needs an item: ScaNN cannot search an empty leaf.
        categories: C.

    Raises:
        ValueError: wrong shapes, a vector that is not finite (the item is named), or a category without items.
    """

    def __init__(self, vectors: np.ndarray, category: np.ndarray, categories: int):
        super().__init__(name="scann_index")
        _check(vectors, category, categories)
        self._codes = tf.Variable(_grid_codes(categories), trainable=False, name="codes")
        self._items = len(vectors)
        self._leaves = _Searcher(_category_leaves(vectors, category - 1, self._codes.numpy()), "leaves")
        self._pool = _Searcher(_pool(vectors), "pool")

    def search(self, query: tf.Tensor, category: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The best items of one category for each query, exactly.

        Args:
            query: float32 [P, D].
            category: int64 [P], 1..C.
            k: how many.

        Returns:
            items int64 [P, k], best first, NO_ITEM where the category holds fewer than k, and their scores
            float32 [P, k], -inf there.
        """
        coded = tf.concat([tf.gather(self._codes, category - 1), query], axis=1)
        return _items_and_scores(*self._leaves.search(coded, k, leaves=1), k)

    def search_all(self, query: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The best items of the whole pool: float32 [B, D] -> as `search`, [B, k]."""
        return _items_and_scores(*self._pool.search(query, min(k, self._items)), k)


class _Searcher(tf.Module):
    """A ScaNN searcher as variables, from which a loaded SavedModel builds it again.

    `scann_ops.ScannState` does the same without a name of its own for the searcher, so that two of them in one process
    answer for each other.
    """

    def __init__(self, handle: tf.Tensor, role: str):
        super().__init__(name=role)
        tensors = scann_ops.scann_to_tensors(handle)
        # The order in which the op that builds a searcher takes what the op that takes it apart gives.
        self._parts = [tf.Variable(part, trainable=False, validate_shape=False, name=name) for name, part in (
            ("dataset", tensors[-1]), *zip(("config", "partitioner", "leaf_of_item", "ah_codebook", "hashed", "int8",
                                            "int8_multipliers", "norms"), tensors[:-1], strict=True))]
        digest = hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in self._parts[:4])).hexdigest()
        self._name_in_process = f"{role}-{digest}"

    def search(self, query: tf.Tensor, k: int, leaves: int = -1) -> tuple[tf.Tensor, tf.Tensor]:
        handle = scann_ops.tensors_to_scann(*self._parts, shared_name=self._name_in_process)
        return scann_ops.ScannSearcher(handle).search_batched_parallel(query, k, leaves_to_search=leaves)


def _check(vectors: np.ndarray, category: np.ndarray, categories: int) -> None:
    if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) == 0:
        raise ValueError(f"vectors must be float32 [V, D] with V >= 1, got {vectors.dtype} {list(vectors.shape)}.")
    if category.shape != vectors.shape[:1]:
        raise ValueError(f"category must have shape [V] = [{len(vectors)}], got {list(category.shape)}.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if broken.size:
        raise ValueError(f"vectors must be finite, got NaN or infinity for {broken.size} items, the first of them item "
                         f"{broken[0] + 1}. Did training diverge? Lower training.learning_rate.")
    if category.min() < 1 or category.max() > categories:
        raise ValueError(f"category must be in 1..C = 1..{categories}, got {category.min()}..{category.max()}.")
    empty = np.flatnonzero(np.bincount(category, minlength=categories + 1)[1:] == 0)
    if empty.size:
        raise ValueError(f"every category needs at least one item, got none for {empty.size} categories, the first of "
                         f"them category {empty[0] + 1}. Leave categories without items out of the vocabulary.")


def _grid_codes(categories: int) -> np.ndarray:
    side = int(np.ceil(np.sqrt(categories)))
    return np.stack(np.divmod(np.arange(categories), side), axis=1).astype(np.float32)


def _category_leaves(vectors: np.ndarray, leaf: np.ndarray, codes: np.ndarray) -> tf.Tensor:
    partitioner = partitioner_pb2.SerializedPartitioner(n_tokens=len(codes))
    root = partitioner.kmeans.kmeans_tree.root
    root.leaf_id = -1
    root.learned_spilling_threshold = float("nan")
    for number, code in enumerate(codes):
        root.centers.add().dimension.extend([*code.tolist(), *[0.0] * vectors.shape[1]])
        root.children.add(leaf_id=number, learned_spilling_threshold=float("nan"))
    config = text_format.Parse(_CATEGORY_LEAVES.format(categories=len(codes), items=len(vectors)),
                               scann_pb2.ScannConfig())
    return scann_ops.tensors_to_scann(
        np.pad(vectors, [(0, 0), (2, 0)]), tf.constant([config.SerializeToString()]),
        tf.constant([partitioner.SerializeToString()]), tf.constant(leaf, tf.int32), tf.constant(b""),
        tf.zeros([], tf.uint8), tf.zeros([], tf.int8), tf.zeros([]), tf.zeros([]), shared_name=f"build-{uuid.uuid4()}")


def _pool(vectors: np.ndarray) -> tf.Tensor:
    builder = scann_ops.builder(vectors, 10, "dot_product")
    if len(vectors) <= _LARGEST_EXACT_POOL:
        return builder.score_brute_force().build().searcher_handle
    leaves = int(np.sqrt(len(vectors)))
    return (builder.tree(num_leaves=leaves, num_leaves_to_search=leaves // 10, training_sample_size=250_000)
            .score_ah(2, anisotropic_quantization_threshold=0.2).reorder(1000).build().searcher_handle)


def _items_and_scores(row: tf.Tensor, score: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    # ScaNN gives NaN, or fewer columns, where it found fewer than k.
    found = tf.math.is_finite(score)
    item = tf.where(found, tf.cast(row, tf.int64) + 1, NO_ITEM)
    score = tf.where(found, score, float("-inf"))
    missing = [[0, 0], [0, k - tf.shape(score)[1]]]
    item = tf.pad(item, missing, constant_values=NO_ITEM)
    score = tf.pad(score, missing, constant_values=float("-inf"))
    return tf.ensure_shape(item, [None, k]), tf.ensure_shape(score, [None, k])
