"""ModelService over gRPC: GetModelStatus and HandleReloadConfigRequest."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import logging

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, model_service_pb2_grpc

from serving.server.errors import ServingError, invalid
from serving.server.grpc_errors import refusing
from serving.server.manager import Manager

_LOG = logging.getLogger(__name__)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Tells the states of the versions that a manager has seen, and changes what it serves."""

    def __init__(self, manager: Manager):
        self._manager = manager

    def GetModelStatus(self, request: get_model_status_pb2.GetModelStatusRequest,
                       context: grpc.ServicerContext) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of one version, or of all."""
        with refusing(context):
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return get_model_status_pb2.GetModelStatusResponse(
                model_version_status=self._manager.statuses(request.model_spec))

    def HandleReloadConfigRequest(self, request: model_management_pb2.ReloadConfigRequest,
                                  context: grpc.ServicerContext) -> model_management_pb2.ReloadConfigResponse:
        """Serves another configuration; answers when of each new model a version is available."""
        with refusing(context):
            try:
                self._manager.reload(request.config)
            except ServingError as error:
                _LOG.error("ReloadConfig failed: %s", error)
                raise
            return model_management_pb2.ReloadConfigResponse()
