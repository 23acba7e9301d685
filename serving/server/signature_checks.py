"""A request's inputs and output filter against the signature they are meant for."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving.server.errors import invalid

# A row may have no more than a byte in a request, and takes two megabytes while the graph runs.
_MOST_ROWS = 1024


def check_inputs(signature: SignatureDef, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses inputs that the signature does not take.

    Raises:
        ServingError: INVALID_ARGUMENT: an input is missing, unknown, of another dtype or shape than the signature's,
            or its batch (first dimension, where the signature leaves it open) is not the other inputs'.
    """
    if inputs.keys() != signature.inputs.keys():
        raise invalid(
            f"inputs do not match the signature. Sent extra: {_names(inputs.keys() - signature.inputs.keys())}. "
            f"Missing but required: {_names(signature.inputs.keys() - inputs.keys())}.")
    for alias, array in inputs.items():
        _check_input(alias, signature.inputs[alias], array)
    batches = {alias: array.shape[0] for alias, array in sorted(inputs.items()) if _has_batch(signature.inputs[alias])}
    if len(set(batches.values())) > 1:
        raise invalid("inputs of one request must have one batch size (first dimension), got "
                      + ", ".join(f'"{alias}": {size}' for alias, size in batches.items()))


def answers_by_row(signature: SignatureDef, outputs: Iterable[TensorInfo], inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether a signature answers row by row: the first dimension of every input and output is left open.

    Args:
        signature: the request is meant for.
        outputs: of the signature that are asked for.
        inputs: checked.

    Raises:
        ServingError: INVALID_ARGUMENT, it does, and there is no row, or more than 1,024.
    """
    if not inputs or not all(map(_has_batch, [*signature.inputs.values(), *outputs])):
        return False
    rows = len(next(iter(inputs.values())))
    if not 1 <= rows <= _MOST_ROWS:
        raise invalid(f"a request must have 1 to {_MOST_ROWS} rows (first dimension), got {rows}")
    return True


def outputs_wanted(signature: SignatureDef, output_filter: Sequence[str]) -> dict[str, TensorInfo]:
    """The outputs that the filter names; all of the signature's if it is empty.

    Raises:
        ServingError: INVALID_ARGUMENT: the filter names an output twice, or one the signature does not have.
    """
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(f"output tensor alias not found in signature: {alias}. "
                          f"Outputs expected to be in the set {_names(signature.outputs)}.")
    if len(set(output_filter)) < len(output_filter):
        raise invalid(f"duplicate output tensor alias in output_filter: {', '.join(output_filter)}")
    return {alias: signature.outputs[alias] for alias in output_filter or signature.outputs}


def _check_input(alias: str, info: TensorInfo, array: np.ndarray) -> None:
    wanted_dtype, wanted = tf.as_dtype(info.dtype), tf.TensorShape(info.tensor_shape)
    dtype = tf.as_dtype(array.dtype)
    if dtype != wanted_dtype or not wanted.is_compatible_with(array.shape):
        raise invalid(f'input "{alias}" must be {wanted_dtype.name} {_shape(wanted)}, '
                      f"got {dtype.name} {_shape(tf.TensorShape(array.shape))}")


def _has_batch(info: TensorInfo) -> bool:
    shape = tf.TensorShape(info.tensor_shape)
    return bool(shape.rank) and shape[0] is None


def _shape(shape: tf.TensorShape) -> str:
    if shape.rank is None:
        return "of any shape"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _names(names: Iterable[str]) -> str:
    return "{" + ", ".join(sorted(names)) + "}"
