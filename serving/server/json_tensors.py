"""The JSON of TF Serving's REST interface <-> NumPy arrays.

    row format     {"instances": [{input: value}, ..]}      ->  {"predictions": [{output: value}, ..]}
    column format  {"inputs": {input: [value, ..]}}         ->  {"outputs": {output: [value, ..]}}

A signature with one input or one output drops the names. A string is text, or {"b64": base64} for bytes.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.server.errors import ServingError, invalid

_ROWS, _COLUMNS = "instances", "inputs"
# Outputs so named are bytes, not text.
_BYTES_SUFFIX = "_bytes"


def parse_object(body: bytes) -> dict[str, Any]:
    """The request as a JSON object, with a string if any as its `signature_name`.

    Raises:
        ServingError: INVALID_ARGUMENT, it is not that.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid(f"JSON Value: {_brief(request)} Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise invalid("'signature_name' key must be a string value.")
    return request


def parse(body: bytes) -> dict[str, Any]:
    """The request as a JSON object with `instances` or `inputs`, and maybe `signature_name`.

    Raises:
        ServingError: INVALID_ARGUMENT, it is not that.
    """
    request = parse_object(body)
    if (_ROWS in request) == (_COLUMNS in request):
        raise invalid(f"expecting exactly one of '{_ROWS}' and '{_COLUMNS}' keys")
    return request


def read_inputs(request: Mapping[str, Any], signature: SignatureDef) -> dict[str, np.ndarray]:
    """The arrays of a parsed request; their dtypes are the signature's.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the input and the value that does not fit.
    """
    if _ROWS in request:
        return _read_rows(request[_ROWS], signature)
    return _read_columns(request[_COLUMNS], signature)


def write_outputs(outputs: Mapping[str, np.ndarray], request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer in the format of the request it answers.

    Raises:
        ServingError: INVALID_ARGUMENT, outputs of different batch sizes cannot be written as rows.
    """
    values = {alias: _write(array, alias.endswith(_BYTES_SUFFIX)) for alias, array in outputs.items()}
    only = next(iter(values)) if len(values) == 1 else None
    if _COLUMNS in request:
        return {"outputs": values[only] if only else values}
    if len({array.shape[:1] for array in outputs.values()} | {()}) != 2:
        shapes = ", ".join(f"{alias} {list(array.shape)}" for alias, array in outputs.items())
        raise invalid(f"outputs have no common batch size to be rows of: {shapes}. Ask with '{_COLUMNS}'.")
    if only:
        return {"predictions": values[only]}
    return {"predictions": [dict(zip(values, row)) for row in zip(*values.values())]}


def _read_rows(rows: Any, signature: SignatureDef) -> dict[str, np.ndarray]:
    if not isinstance(rows, list) or not rows:
        raise invalid(f"'{_ROWS}' must be a list with at least one element, got {_brief(rows)}")
    aliases = sorted(signature.inputs)
    named = [row if _is_object(row) else {aliases[0]: row} for row in rows]
    for place, row in enumerate(named):
        if _is_object(rows[place]) != _is_object(rows[0]) or sorted(row) != aliases:
            raise invalid(f"Failed to process element: {place} of '{_ROWS}' list. "
                          f"It must be an object with the keys: {', '.join(aliases)}; got {_brief(rows[place])}")
    return {alias: _read(alias, [row[alias] for row in named], signature) for alias in aliases}


def _read_columns(columns: Any, signature: SignatureDef) -> dict[str, np.ndarray]:
    aliases = sorted(signature.inputs)
    if not _is_object(columns):
        columns = {aliases[0]: columns} if len(aliases) == 1 else {}
    if sorted(columns) != aliases:
        raise invalid(f"'{_COLUMNS}' must be an object with the keys: {', '.join(aliases)}; "
                      f"got: {', '.join(sorted(columns)) or 'none'}")
    return {alias: _read(alias, columns[alias], signature) for alias in aliases}


def _read(alias: str, value: Any, signature: SignatureDef) -> np.ndarray:
    dtype = tf.as_dtype(signature.inputs[alias].dtype)
    shape = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    try:
        leaves = [_scalar(leaf, dtype) for leaf in _leaves(value, shape)]
    except ServingError as error:
        raise invalid(f'input "{alias}": {error}') from error
    return np.array(leaves, dtype.as_numpy_dtype).reshape(shape)


def _leaves(value: Any, shape: list[int]) -> Iterator[Any]:
    if not shape:
        yield value
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise invalid(f"expecting a list of {shape[0]} values, as at the same level before; got {_brief(value)}")
    for element in value:
        yield from _leaves(element, shape[1:])


def _scalar(value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string:
        return _bytes(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype == tf.bool:
        fits = isinstance(value, bool)
    elif dtype.is_floating:
        fits = number and (not math.isfinite(value) or abs(value) <= dtype.max)
    else:
        fits = number and isinstance(value, int) and dtype.min <= value <= dtype.max
    if not fits:
        raise invalid(f"JSON Value: {_brief(value)} is not of expected type: {dtype.name}")
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not _is_base64(value):
        raise invalid(f"JSON Value: {_brief(value)} is not of expected type: string")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except binascii.Error as error:
        raise invalid(f"Unable to base64 decode {_brief(value)}") from error


def _write(array: np.ndarray, as_bytes: bool) -> Any:
    spell: Callable[[Any], Any]
    if array.dtype == object:
        spell = _base64 if as_bytes else _text
    elif array.dtype.kind == "f" or array.dtype == tf.bfloat16.as_numpy_dtype:
        # The shortest digits that read back as the same number; float32 through float64 would grow noise digits.
        spell = _short_float
    else:
        return array.tolist()
    flat = np.empty(array.size, object)
    flat[:] = [spell(value) for value in array.ravel()]
    return flat.reshape(array.shape).tolist()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _short_float(value: np.floating) -> float:
    return float(str(value))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else text[:100] + ".."
