"""What a call's time goes to, from the trace of a session.

A session with one thread runs one op after the other, so that the time from an op's start to that of the next one is
that op's, what TensorFlow needs between the two included. Ops belong to the part whose name scope they are in
(`ulim_tf/scopes.py`):

    history    from the raw events to the tensors of `ulim_tf/history.py`
    encoder    short-term and long-term interests
    pgin       the next categories
    search     inside categories and in the whole pool
    merge      of the channels, with backfill
    rest       ids to numbers and back

What a call costs beside its ops, feeding and fetching, is spread over all of them: traced, it is mostly the trace.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import re
from collections.abc import Mapping, Sequence

import numpy as np
import scann  # noqa: F401  registers its ops
import tensorflow as tf
from tensorflow.core.framework.step_stats_pb2 import StepStats

from serving import contract
from ulim_tf.scopes import PARTS

REST = "rest"
_WARM_UP, _CALLS = 20, 30
_SCOPE = re.compile(rf"/({'|'.join(PARTS)})(?:_\d+)?/")  # TensorFlow numbers a scope that comes again


def shares(directory: str, asked: Sequence[Sequence[Mapping[str, np.ndarray]]]) -> list[dict[str, float]]:
    """Traces calls of `serving_default`.

    Args:
        directory: holds saved_model.pb.
        asked: for each result, the calls' inputs, taken in turn.

    Returns:
        The share of each part in the median call; they sum to 1.
    """
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    with tf.compat.v1.Session(graph=tf.Graph(), config=config) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, [tf.saved_model.SERVING], directory)
        signature = loaded.signature_def[contract.SIGNATURE_RECOMMEND]
        outputs = [info.name for info in signature.outputs.values()]
        return [_shares(session, outputs, [{signature.inputs[alias].name: array for alias, array in one.items()}
                                           for one in inputs]) for inputs in asked]


def _shares(session: tf.compat.v1.Session, outputs: Sequence[str],
            feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    trace = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.SOFTWARE_TRACE)
    calls = []
    for number in range(_WARM_UP + _CALLS):
        told = tf.compat.v1.RunMetadata()
        session.run(outputs, feeds[number % len(feeds)], trace, told)
        if number >= _WARM_UP:
            calls.append(by_part(told.step_stats))
    median = {part: float(np.median([call[part] for call in calls])) for part in (*PARTS, REST)}
    return {part: nanos / sum(median.values()) for part, nanos in median.items()}


def by_part(stats: StepStats) -> dict[str, float]:
    """Nanoseconds of each part of a call."""
    ops = sorted((op.all_start_nanos, op.all_end_rel_nanos, op.node_name)
                 for device in stats.dev_stats for op in device.node_stats)
    last_start, last_nanos, _ = ops[-1]
    ends = [*(start for start, _, _ in ops[1:]), last_start + last_nanos]
    spent = dict.fromkeys((*PARTS, REST), 0.0)
    for (start, _, name), end in zip(ops, ends):
        scope = _SCOPE.search(f"/{name}")
        spent[scope[1] if scope else REST] += end - start
    return spent
