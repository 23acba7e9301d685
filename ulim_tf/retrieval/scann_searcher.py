"""ScaNN searchers whose leaves are given, and that live inside a SavedModel.

A ScaNN tree is a list of leaves, and nothing says that leaves come from k-means. Items and queries get two more
dimensions. Items hold 0 there, so scores do not change. A query holds the code of its leaf, a point of a small integer
grid; the centre of a leaf holds the same code and zeros elsewhere. Searching one leaf under squared L2 then picks
exactly that leaf. The tree has two levels, a row of the grid and a place in it, so that finding one of n leaves takes
2 sqrt(n) distances.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import ctypes
import hashlib
import itertools
import math
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from scann import scann_ops
from scann.partitioning import partitioner_pb2
from scann.proto import partitioning_pb2, scann_pb2
from scann.scann_ops.py.scann_builder import ReorderType

from ulim_tf.retrieval.candidates import NOT_FOUND
from ulim_tf.retrieval.quality import recall

_ALIGNMENT = 64  # bytes
_CODE = 2  # dimensions of a leaf's code
_TRAINING_SAMPLE = 250_000
_SCORED = (1000, 4000, 16_000)  # rows of the pool, the best by their hashes
_LEAF_SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
_POOL_RECALL, _POOL_K = 0.97, 100
_PARTITIONING = """
num_children: {leaves} min_cluster_size: 1 max_clustering_iterations: 1 max_num_levels: 2
partitioning_distance {{ distance_measure: "SquaredL2Distance" }}
query_spilling {{ spilling_type: FIXED_NUMBER_OF_CENTERS max_spill_centers: 1 }}
expected_sample_size: {items}
query_tokenization_distance_override {{ distance_measure: "SquaredL2Distance" }}
partitioning_type: GENERIC query_tokenization_type: FLOAT
"""
_EXACT = """
num_neighbors: 1
distance_measure {{ distance_measure: "DotProductDistance" }}
brute_force {{ fixed_point {{ enabled: {quantised} }} }}
"""

_PARTS = ("dataset", "config", "partitioner", "leaf_of_row", "codebook", "hashed", "int8", "int8_multipliers", "norms")


class Rows(NamedTuple):
    """What P searches found, best first."""

    row: tf.Tensor  # int32 [P, n]
    score: tf.Tensor  # float32 [P, n], dot products; -inf where no row is


class ScannSearcher(tf.Module):
    """A searcher as variables, from which a SavedModel builds it once, when it is loaded.

    `scann_ops.ScannState` keeps its variables beside the searcher, which has the vectors in its own memory, and does
    not name the searcher, so that two of them in one process answer for each other.

    Args:
        parts: what `tensors_to_scann` takes.
        role: name of the module.
    """

    def __init__(self, parts: Sequence[tf.Tensor], role: str):
        super().__init__(name=role)
        self._parts = [tf.Variable(part, trainable=False, shape=tf.TensorShape(None), name=name)
                       for name, part in zip(_PARTS, parts, strict=True)]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(np.asarray(part).ravel().data if part.dtype != tf.string else np.asarray(part).item())
        self._name_in_process = f"{role}-{digest.hexdigest()}"
        self._when_loaded = _WhenLoaded(self._empty)

    @classmethod
    def of_handle(cls, handle: tf.Tensor, role: str) -> "ScannSearcher":
        """Takes a searcher apart, and frees it."""
        *parts, dataset = scann_ops.scann_to_tensors(handle)
        tf.raw_ops.DestroyResourceOp(resource=handle)
        return cls([dataset, *parts], role)

    def search(self, query: tf.Tensor, k: int | tf.Tensor, leaves: int, scored: int | tf.Tensor = -1) -> Rows:
        """The best k of float32 [P, D] in the nearest `leaves` leaves, of which `scored` are scored exactly."""
        # The sequential op: the parallel one starts threads in every call, and cuts the batch, so that queries of one
        # leaf are not scored together.
        row, score = scann_ops.ScannSearcher(self._handle()).search_batched(query, k, scored, leaves)
        return Rows(row, tf.where(tf.math.is_finite(score), score, NOT_FOUND))

    def release(self) -> None:
        """Frees the searcher and keeps the variables."""
        tf.raw_ops.DestroyResourceOp(resource=self._handle())

    def _handle(self) -> tf.Tensor:
        # Builds the searcher where there is none of that name yet.
        return scann_ops.tensors_to_scann(*self._parts, shared_name=self._name_in_process)

    def _empty(self) -> None:
        with tf.control_dependencies([self._handle()]):
            for part in self._parts:
                part.assign(tf.zeros([0], part.dtype))


class _WhenLoaded(tf.saved_model.experimental.TrackableResource):
    """Does something when a SavedModel is loaded, after its variables were restored."""

    def __init__(self, action: Callable[[], None]):
        super().__init__()
        self._action = action

    def _create_resource(self) -> tf.Tensor:
        return tf.constant(0)  # nothing reads it

    def _initialize(self) -> None:
        self._action()


class LeafSearcher(tf.Module):
    """Searches the leaf that is asked for.

    Args:
        vectors: float32 [n, D].
        leaf: int [n], 0..leaves - 1; every leaf has a row.
        leaves: how many.
        role: name of the module.
        quantised: vectors are held in 8 bits a dimension.
        scored: of this many rows of a leaf, the best by asymmetric hashing, scores are computed exactly; 0 for all.
    """

    def __init__(self, vectors: np.ndarray, leaf: np.ndarray, leaves: int, role: str, quantised: bool = False,
                 scored: int = 0):
        super().__init__(name=role)
        self._scored = scored
        side = math.isqrt(leaves - 1) + 1
        codes = np.stack(np.divmod(np.arange(leaves), side), axis=1).astype(np.float32)
        self._codes = tf.Variable(codes, trainable=False, name="codes")
        coded = aligned(len(vectors), _CODE + vectors.shape[1])
        coded[:, :_CODE], coded[:, _CODE:] = 0.0, vectors
        config, hashed = _hashed(coded, scored) if scored else _exact(quantised)
        config.partitioning.CopyFrom(text_format.Parse(_PARTITIONING.format(leaves=leaves, items=len(vectors)),
                                                       partitioning_pb2.PartitioningConfig()))
        parts = [shared(coded), tf.constant([config.SerializeToString()]),
                 tf.constant([_grid(codes, side, vectors.shape[1]).SerializeToString()]), tf.constant(leaf, tf.int32),
                 *hashed]
        if quantised:  # takes over what ScaNN made of the vectors, and not the vectors themselves
            self._searcher = ScannSearcher.of_handle(
                scann_ops.tensors_to_scann(*parts, shared_name=f"build-{uuid.uuid4()}"), "searcher")
        else:
            self._searcher = ScannSearcher(parts, "searcher")

    def search(self, query: tf.Tensor, leaf: tf.Tensor, k: int | tf.Tensor) -> Rows:
        """The best k of float32 [P, D] in the leaves int [P]: [P, n <= k]."""
        # Beside a long query the code would drown in rounding, and another leaf be picked. A power of two, so that
        # scores stay what they are.
        largest = tf.reduce_max(tf.abs(query), axis=1, keepdims=True)
        scale = tf.where(largest > 0.0, 2.0 ** tf.math.floor(tf.math.log(largest) / math.log(2.0)), 1.0)
        coded = tf.concat([tf.gather(self._codes, leaf), query / scale], axis=1)
        row, score = self._searcher.search(coded, k, 1, tf.maximum(self._scored, k) if self._scored else -1)
        return Rows(row, score * scale)

    def release(self) -> None:
        """As of `ScannSearcher`."""
        self._searcher.release()


def trim() -> None:
    """Gives freed memory back to the system: ScaNN frees more than the vectors take, in pieces that glibc keeps."""
    if malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        malloc_trim(0)


def aligned(rows: int, width: int) -> np.ndarray:
    """float32 [rows, width], not set, where a tensor may lie."""
    memory = np.empty(rows * width + _ALIGNMENT // 4, np.float32)
    first = -memory.ctypes.data % _ALIGNMENT // 4
    return memory[first:first + rows * width].reshape(rows, width)


def shared(vectors: np.ndarray) -> tf.Tensor:
    """A tensor of float32 [V, D], in the same memory if that is `aligned`; `tf.constant` takes twice as much again."""
    if vectors.ctypes.data % _ALIGNMENT or not (vectors.flags.c_contiguous and vectors.flags.writeable):
        return tf.constant(vectors)
    return tf.experimental.dlpack.from_dlpack(vectors.__dlpack__())


class PoolSearcher(tf.Module):
    """An approximate search of float32 [V, D]: k-means tree, asymmetric hashing, scores from 8 bits a dimension.

    As many leaves are searched, and rows scored, as it takes to find 97 % of the best 100 for some queries.

    Args:
        vectors: float32 [V, D].
        query: float32 [n, D], like those that will be asked.
    """

    def __init__(self, vectors: np.ndarray, query: np.ndarray):
        super().__init__(name="pool")
        leaves = math.isqrt(len(vectors))
        self._searcher = ScannSearcher.of_handle(
            scann_ops.builder(shared(vectors), 10, "dot_product")
            .tree(num_leaves=leaves, num_leaves_to_search=leaves, training_sample_size=_TRAINING_SAMPLE)
            .score_ah(2, anisotropic_quantization_threshold=0.2, training_sample_size=_TRAINING_SAMPLE)
            .reorder(_SCORED[0], quantize=ReorderType.INT8).build().searcher_handle, "searcher")
        for self._scored, share in itertools.product(_SCORED, _LEAF_SHARES):
            self._leaves = math.ceil(share * leaves)
            if recall(query, vectors, self.search(query, _POOL_K).row.numpy()).mean() >= _POOL_RECALL:
                break
        trim()

    def search(self, query: tf.Tensor, k: int | tf.Tensor) -> Rows:
        """The best k of float32 [P, D]: [P, n <= k]."""
        return self._searcher.search(query, k, self._leaves, tf.maximum(self._scored, k))

    def release(self) -> None:
        """As of `ScannSearcher`."""
        self._searcher.release()


class ExactPoolSearcher(tf.Module):
    """Scores all of float32 [V, D], from 8 bits a dimension if `quantised`: the fastest way in a small pool."""

    def __init__(self, vectors: np.ndarray, quantised: bool):
        super().__init__(name="pool")
        self._rows = len(vectors)
        self._searcher = ScannSearcher.of_handle(
            scann_ops.builder(vectors, 10, "dot_product")
            .score_brute_force(ReorderType.INT8 if quantised else ReorderType.FLOAT32).build().searcher_handle,
            "searcher")

    def search(self, query: tf.Tensor, k: int | tf.Tensor) -> Rows:
        """The best k of float32 [P, D]: [P, n <= k]."""
        return self._searcher.search(query, tf.minimum(k, self._rows), -1)

    def release(self) -> None:
        """As of `ScannSearcher`."""
        self._searcher.release()


def _exact(quantised: bool) -> tuple[scann_pb2.ScannConfig, Sequence[tf.Tensor]]:
    """The config of a searcher by brute force, and what stands for the hashes that it has not."""
    return (text_format.Parse(_EXACT.format(quantised=quantised), scann_pb2.ScannConfig()),
            (tf.constant(b""), tf.zeros([], tf.uint8), tf.zeros([], tf.int8), tf.zeros([]), tf.zeros([])))


def _hashed(coded: np.ndarray, scored: int) -> tuple[scann_pb2.ScannConfig, Sequence[tf.Tensor]]:
    """The config of a searcher by asymmetric hashing; its codebook, hashes, 8-bit vectors, multipliers and norms."""
    flat = (scann_ops.builder(coded, 10, "dot_product")
            .score_ah(2, anisotropic_quantization_threshold=0.2, training_sample_size=_TRAINING_SAMPLE)
            .reorder(scored).build())
    config, _, _, *hashed, _ = scann_ops.scann_to_tensors(flat.searcher_handle)
    tf.raw_ops.DestroyResourceOp(resource=flat.searcher_handle)
    return scann_pb2.ScannConfig.FromString(config.numpy().item()), hashed


def _grid(codes: np.ndarray, side: int, width: int) -> partitioner_pb2.SerializedPartitioner:
    """A tree whose root picks a row of the grid, and whose second level picks the leaf."""
    partitioner = partitioner_pb2.SerializedPartitioner(n_tokens=len(codes))
    root = partitioner.kmeans.kmeans_tree.root
    root.leaf_id, root.learned_spilling_threshold = -1, math.nan
    for first in range(0, len(codes), side):
        root.centers.add().dimension.extend([float(first // side), (side - 1) / 2, *[0.0] * width])
        row = root.children.add(leaf_id=-1, learned_spilling_threshold=math.nan)
        for number, code in enumerate(codes[first:first + side].tolist(), start=first):
            row.centers.add().dimension.extend([*code, *[0.0] * width])
            row.children.add(leaf_id=number, learned_spilling_threshold=math.nan)
    return partitioner
