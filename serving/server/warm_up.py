"""Replays a servable's warm-up requests, before its version takes any other."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import os
from collections.abc import Iterator

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.server.errors import ServingError, invalid
from serving.server.loader import LoadedModel
from serving.server.metrics import Metrics
from serving.server.tensors import to_array
from serving.warmup import FILE

_MOST_RECORDS = 1000  # TF Serving's limit
_EXAMPLES = "inputs"  # the input of a signature that takes serialized examples


def replay(model: LoadedModel, directory: str, metrics: Metrics) -> None:
    """Answers the requests that a servable holds for this, if it does.

    Args:
        model: loaded from the servable.
        directory: of the servable.
        metrics: is told how long it takes.

    Raises:
        ServingError: a request cannot be read or answered, or there are more than a thousand; the code is the
            request's, and the message names it.
    """
    file = os.path.join(directory, FILE)
    if not tf.io.gfile.exists(file):
        return
    with metrics.warm_up(directory):
        for number, record in enumerate(_records(file), 1):
            if number > _MOST_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MOST_RECORDS}) at {file}")
            try:
                _answer(model, PredictionLog.FromString(record))
            except DecodeError as error:
                raise invalid(f"Failed to parse warmup record {number} from {file}") from error
            except ServingError as error:
                raise ServingError(error.code, f"warmup record {number} of {file}: {error}") from error


def _records(file: str) -> Iterator[bytes]:
    try:
        yield from tf.data.TFRecordDataset(file).as_numpy_iterator()
    except tf.errors.DataLossError as error:
        raise ServingError(grpc.StatusCode.DATA_LOSS, f"{error.message}. Please verify your warmup data is in "
                                                      "TFRecord format.") from error


def _answer(model: LoadedModel, log: PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {alias: to_array(alias, proto) for alias, proto in request.inputs.items()}
        model.predict(request.model_spec.signature_name, inputs, request.output_filter)
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        model.predict(request.model_spec.signature_name, {_EXAMPLES: _examples(request.input)})
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        for task in request.tasks:
            model.predict(task.model_spec.signature_name, {_EXAMPLES: _examples(request.input)})
    elif kind:
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")


def _examples(sent: Input) -> np.ndarray:
    """The serialized examples [n] of a request; a context that they share is merged into each."""
    if sent.WhichOneof("kind") == "example_list_with_context":
        context = sent.example_list_with_context.context.SerializeToString()
        examples = sent.example_list_with_context.examples
    else:
        context, examples = b"", sent.example_list.examples
    if not examples:
        raise invalid("Input is empty.")
    # Joined bytes of two messages of a type are the bytes of both merged.
    return np.array([context + example.SerializeToString() for example in examples], object)
