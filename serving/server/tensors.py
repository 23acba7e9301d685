"""TensorProto <-> NumPy array, refusing every proto that does not say exactly one array."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.server.errors import ServingError, invalid

_VALUE_FIELD = {
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
}
# A few bytes may ask for a tensor of any size; more than this is an attack or a mistake.
_MOST_REPEATS = 1 << 20


def to_array(alias: str, proto: TensorProto) -> np.ndarray:
    """The array that a client sent as input `alias`.

    Stricter than TF Serving, which fills missing values with zeros and drops surplus ones: the values must be as many
    as the shape holds, or one, repeated (TensorFlow's clients send constants so).

    Raises:
        ServingError: INVALID_ARGUMENT, the proto's dtype, shape and values do not make an array.
    """
    field = _VALUE_FIELD.get(proto.dtype)
    if field is None:
        known = proto.dtype in types_pb2.DataType.values()
        raise _malformed(alias, f"dtype {types_pb2.DataType.Name(proto.dtype) if known else proto.dtype} "
                                "is not supported")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise _malformed(alias, f"shape {'of unknown rank' if proto.tensor_shape.unknown_rank else shape} "
                                "is not fully known")
    sent, held = len(getattr(proto, field)), math.prod(shape)
    if not proto.tensor_content and sent != held and not (sent == 1 < held <= _MOST_REPEATS):
        raise _malformed(alias, f"shape {shape} holds {held} values, but {field} has {sent}")
    try:
        return tf.make_ndarray(proto)
    except (ValueError, OverflowError, MemoryError) as error:
        raise _malformed(alias, str(error)) from error


def fill(proto: TensorProto, array: np.ndarray) -> None:
    """Makes an empty proto say an array, its values in the typed field, as TF Serving answers."""
    proto.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = _VALUE_FIELD[proto.dtype]
    flat = array.ravel()
    getattr(proto, field).extend((flat.view(np.uint16) if field == "half_val" else flat).tolist())


def _malformed(alias: str, why: str) -> ServingError:
    return invalid(f'tensor parsing error: input "{alias}": {why}')
