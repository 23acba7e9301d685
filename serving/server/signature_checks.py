"""A request's inputs and output filter against the signature they are meant for."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving.server.errors import invalid

# A row may have no more than a byte in a request, and takes two megabytes while the graph runs.
_MOST_ROWS = 1024


class Slot(NamedTuple):
    """An input or output of a signature."""

    tensor: tf.Tensor
    dtype: tf.DType
    shape: tf.TensorShape
    has_batch: bool  # its first dimension is left open


class Signature:
    """What a signature takes and answers, looked up once for all requests.

    Args:
        definition: of the SavedModel.
        graph: it was loaded into.

    Raises:
        KeyError, ValueError: an input or output is not a tensor of the graph.
    """

    def __init__(self, definition: SignatureDef, graph: tf.Graph):
        self.inputs, self.outputs = ({alias: _slot(info, graph) for alias, info in of.items()}
                                     for of in (definition.inputs, definition.outputs))

    def check_inputs(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Refuses inputs that the signature does not take.

        Raises:
            ServingError: INVALID_ARGUMENT: an input is missing, unknown, of another dtype or shape than the
                signature's, or its batch (first dimension, where the signature leaves it open) is not the other
                inputs'.
        """
        if inputs.keys() != self.inputs.keys():
            raise invalid(
                f"inputs do not match the signature. Sent extra: {_names(inputs.keys() - self.inputs.keys())}. "
                f"Missing but required: {_names(self.inputs.keys() - inputs.keys())}.")
        for alias, array in inputs.items():
            _check_input(alias, self.inputs[alias], array)
        batches = {alias: len(array) for alias, array in sorted(inputs.items()) if self.inputs[alias].has_batch}
        if len(set(batches.values())) > 1:
            raise invalid("inputs of one request must have one batch size (first dimension), got "
                          + ", ".join(f'"{alias}": {size}' for alias, size in batches.items()))

    def answers_by_row(self, outputs: Iterable[str], inputs: Mapping[str, np.ndarray]) -> bool:
        """Whether it answers row by row: the first dimension of every input and output is left open.

        Args:
            outputs: that are asked for.
            inputs: checked.

        Raises:
            ServingError: INVALID_ARGUMENT, it does, and there is no row, or more than 1,024.
        """
        if not inputs or not all(slot.has_batch for slot in (
                *self.inputs.values(), *(self.outputs[alias] for alias in outputs))):
            return False
        rows = len(next(iter(inputs.values())))
        if not 1 <= rows <= _MOST_ROWS:
            raise invalid(f"a request must have 1 to {_MOST_ROWS} rows (first dimension), got {rows}")
        return True

    def wanted(self, output_filter: Sequence[str]) -> list[str]:
        """The outputs that the filter names; all of the signature's if it is empty.

        Raises:
            ServingError: INVALID_ARGUMENT: the filter names an output twice, or one the signature does not have.
        """
        for alias in output_filter:
            if alias not in self.outputs:
                raise invalid(f"output tensor alias not found in signature: {alias}. "
                              f"Outputs expected to be in the set {_names(self.outputs)}.")
        if len(set(output_filter)) < len(output_filter):
            raise invalid(f"duplicate output tensor alias in output_filter: {', '.join(output_filter)}")
        return list(output_filter or self.outputs)


def _slot(info: TensorInfo, graph: tf.Graph) -> Slot:
    shape = tf.TensorShape(info.tensor_shape)
    return Slot(graph.get_tensor_by_name(info.name), tf.as_dtype(info.dtype), shape,
                bool(shape.rank) and shape[0] is None)


def _check_input(alias: str, slot: Slot, array: np.ndarray) -> None:
    dtype = tf.as_dtype(array.dtype)
    if dtype != slot.dtype or not slot.shape.is_compatible_with(array.shape):
        raise invalid(f'input "{alias}" must be {slot.dtype.name} {_shape(slot.shape)}, '
                      f"got {dtype.name} {_shape(tf.TensorShape(array.shape))}")


def _shape(shape: tf.TensorShape) -> str:
    if shape.rank is None:
        return "of any shape"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _names(names: Iterable[str]) -> str:
    return "{" + ", ".join(sorted(names)) + "}"
