"""PredictionService over gRPC: Predict and GetModelMetadata."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import grpc
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import unoffered
from serving.server.errors import invalid
from serving.server.grpc_errors import refusing, seconds_left
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.tensors import fill, to_array

_SIGNATURE_DEF = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers from the versions that a manager serves, and counts what it answers."""

    def __init__(self, manager: Manager, metrics: Metrics):
        self._manager, self._metrics = manager, metrics

    def Predict(self, request: predict_pb2.PredictRequest,
                context: grpc.ServicerContext) -> predict_pb2.PredictResponse:
        """Runs a signature on the request's tensors."""
        with refusing(context), self._metrics.request("Predict", "GRPC") as asked:
            _need_model_spec(request)
            with self._manager.borrow(request.model_spec) as (number, model):
                asked.model_name = request.model_spec.name
                inputs = {alias: to_array(alias, proto) for alias, proto in request.inputs.items()}
                outputs = model.predict(request.model_spec.signature_name, inputs, request.output_filter,
                                        seconds_left(context))
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = number
            response.model_spec.signature_name = (
                request.model_spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY)
            for alias, array in outputs.items():
                fill(response.outputs[alias], array)
            return response

    def GetModelMetadata(self, request: get_model_metadata_pb2.GetModelMetadataRequest,
                         context: grpc.ServicerContext) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a version."""
        with refusing(context):
            _need_model_spec(request)
            return model_metadata(self._manager, request)

    def Classify(self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext) -> None:
        """Not offered."""
        with refusing(context):
            _need_model_spec(request)
            unoffered.single_inference(self._manager, request.model_spec, "Classify")

    def Regress(self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext) -> None:
        """Not offered."""
        with refusing(context):
            _need_model_spec(request)
            unoffered.single_inference(self._manager, request.model_spec, "Regress")

    def MultiInference(self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext) -> None:
        """Not offered."""
        with refusing(context):
            unoffered.multi_inference(self._manager, request)


def model_metadata(manager: Manager, request: get_model_metadata_pb2.GetModelMetadataRequest,
                   ) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures of a version, packed in an Any under "signature_def".

    Raises:
        ServingError: INVALID_ARGUMENT, `metadata_field` names nothing or another field; or see `Manager.borrow`.
    """
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != _SIGNATURE_DEF:
            raise invalid(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with manager.borrow(request.model_spec) as (number, model):
        for name, signature in model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = number
    response.metadata[_SIGNATURE_DEF].Pack(signatures)
    return response


def _need_model_spec(request: Message) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
