"""What the blocked index promises beyond being right: stock ops, GPU kernels, XLA, bounded memory."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import kernels

from tests.ulim_tf.retrieval.brute_force import BruteForce
from tests.ulim_tf.retrieval.test_index import SIZES, assert_right, catalogue
from ulim_tf.retrieval.blocked_index import BlockedIndex
from ulim_tf.retrieval.index import Found

# They compute nothing: XLA and the function runtime take them over wherever a graph runs.
NO_KERNEL_OF_THEIR_OWN = {"EnsureShape", "NoOp", "Placeholder", "PartitionedCall", "StatefulPartitionedCall", "While",
                          "StatelessWhile", "_Arg", "_Retval"}


@pytest.fixture(scope="module")
def parts():
    item, category, vectors, categories = catalogue([*SIZES, 6000])
    return BlockedIndex(item, category, vectors, categories), BruteForce(item, category, vectors), categories


def search_both(index: BlockedIndex, query: tf.Tensor, category: tf.Tensor, excluded: tf.Tensor) -> tuple[Found, Found]:
    users = tf.shape(query)[0] // tf.shape(excluded)[0]
    return index.search(query, category, 20, excluded), index.search_all(query[::users], 20, excluded)


def ops_of(graph: tf.compat.v1.GraphDef) -> set[str]:
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}


@pytest.fixture(scope="module")
def ops(parts):
    search = tf.function(lambda *asked: search_both(parts[0], *asked), autograph=False).get_concrete_function(
        tf.TensorSpec([None, 8]), tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, None], tf.int64))
    return ops_of(search.graph.as_graph_def())


def test_every_op_has_a_gpu_kernel(ops):
    with_kernel = {op for op in ops if any(
        kernel.device_type == "GPU" for kernel in kernels.get_registered_kernels_for_op(op).kernel)}
    assert "BatchMatMulV2" in with_kernel  # else this build has no GPU kernels at all, and the next line tells nothing
    assert ops - with_kernel - NO_KERNEL_OF_THEIR_OWN == set()


def test_no_op_is_of_another_library_or_ragged(ops):
    assert not [op for op in ops if ">" in op or "Ragged" in op]


def test_a_saved_model_of_it_holds_stock_ops_only(parts, tmp_path):
    holder = tf.Module()
    holder.index = parts[0]
    tf.saved_model.save(holder, str(tmp_path), signatures=tf.function(
        lambda query: parts[0].search_all(query, 5)._asdict(), autograph=False
    ).get_concrete_function(tf.TensorSpec([None, 8], tf.float32, "query")))
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        assert not [op for op in ops_of(graph.graph_def) if ">" in op]


def test_xla_compiles_it_at_fixed_shapes(parts):
    index, oracle, categories = parts
    query = np.random.default_rng(1).normal(size=(2 * categories, 8)).astype(np.float32)
    category = np.tile(np.arange(1, categories + 1), 2)
    excluded = np.stack([list(oracle.scores(query[0], categories))[:7], list(oracle.scores(query[-1], 7))[:7]])
    compiled = tf.function(lambda *asked: search_both(index, *asked), jit_compile=True, autograph=False)
    found, of_all = compiled(tf.constant(query), tf.constant(category), tf.constant(excluded))
    for place, number in enumerate(category):
        expected = oracle.scores(query[place], number, excluded[place // categories])
        assert_right(found, place, expected, 20, query[place])
    for user in range(2):
        expected = oracle.scores(query[user * categories], None, excluded[user])
        assert_right(of_all, user, expected, 20, query[user * categories])


@pytest.mark.parametrize("rows", [1, 100, 100_000])
def test_how_many_rows_are_read_at_once_changes_nothing(rows):
    item, category, vectors, categories = catalogue([*SIZES, 6000])
    query = np.random.default_rng(2).normal(size=(categories, 8)).astype(np.float32)
    found = BlockedIndex(item, category, vectors, categories, rows=rows).search(
        tf.constant(query), tf.range(1, categories + 1, dtype=tf.int64), 20)
    for place in range(categories):
        expected = BruteForce(item, category, vectors).scores(query[place], place + 1)
        assert_right(found, place, expected, 20, query[place])
