"""TensorProto <-> NumPy array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.client.messages import TensorProto

# dtype as `serving/contract.py` names it -> its number in TensorFlow's DataType, and the field that holds its values
_FIELDS = {"float32": (1, "float_val"), "int32": (3, "int_val"), "string": (7, "string_val"), "int64": (9, "int64_val"),
           "bool": (10, "bool_val")}
_FIELD_OF_NUMBER = dict(_FIELDS.values())
_DTYPE_OF_NUMBER = {1: np.dtype("<f4"), 3: np.dtype("<i4"), 7: np.dtype(object), 9: np.dtype("<i8"),
                    10: np.dtype(bool)}


def fill(tensor: TensorProto, dtype: str, shape: Sequence[int], values: Sequence[Any]) -> None:
    """Makes an empty proto say an array.

    Args:
        tensor: is changed.
        dtype: as the contract names it.
        shape: of the array.
        values: in row-major order, as many as the shape holds; bytes for "string".
    """
    tensor.dtype, field = _FIELDS[dtype]
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, field).extend(values)


def to_array(tensor: TensorProto) -> np.ndarray:
    """The array, whether its values are in the typed field or in tensor_content; strings as objects, of bytes."""
    dtype = _DTYPE_OF_NUMBER[tensor.dtype]
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, dtype)
    else:
        values = np.array(getattr(tensor, _FIELD_OF_NUMBER[tensor.dtype]), dtype)
    return values.reshape([dim.size for dim in tensor.tensor_shape.dim])
