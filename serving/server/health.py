"""gRPC's health and reflection services, for probes, load balancers and grpcurl."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

_PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
_MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
_SERVICES = ("", _PREDICTION_SERVICE)
_STATUS: TypeAlias = health_pb2.HealthCheckResponse
_NO_SERVICE = "?"
_POLL_SECONDS = 0.1


class Health(health.HealthServicer):
    """Answers SERVING for the server ("") and its PredictionService while a version of any model is available.

    Probes are answered by threads of their own, so that a busy server is not taken for a dead one.

    Args:
        available: whether a version is.
    """

    def __init__(self, available: Callable[[], bool]):
        pool = ThreadPoolExecutor(2, "health")
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=pool)
        # gRPC finds a method's own threads by this attribute of its function.
        check: Any = type(self).Check
        check.experimental_thread_pool = pool
        self._available = available
        self._watched: set[Callable[[Any], None]] = set()
        self._draining = threading.Event()
        for service in _SERVICES:
            self.set(service, _STATUS.NOT_SERVING)
        threading.Thread(target=self._follow, name="health", daemon=True).start()

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> _STATUS:
        """The status of a service; NOT_FOUND for one that is not here."""
        return super().Check(request, context)

    def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext,
              send_response_callback: Callable[[Any], None]) -> None:
        """The status now and at every change, until the client leaves or the server drains."""
        # The library keeps every name that was ever watched.
        known = request if request.service in _SERVICES else health_pb2.HealthCheckRequest(service=_NO_SERVICE)
        self._watched.add(send_response_callback)
        context.add_callback(lambda: self._watched.discard(send_response_callback))
        super().Watch(known, context, send_response_callback)

    def drain(self) -> None:
        """NOT_SERVING from now on; those who watch are told, and their calls end, which would hold up the drain."""
        self._draining.set()
        self.enter_graceful_shutdown()
        for send in list(self._watched):
            send(None)

    def _follow(self) -> None:
        told = False
        while not self._draining.wait(_POLL_SECONDS):
            available = self._available()
            if available != told:
                for service in _SERVICES:
                    self.set(service, _STATUS.SERVING if available else _STATUS.NOT_SERVING)
                told = available


class _Reflection(reflection.ReflectionServicer):
    def ServerReflectionInfo(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        return super().ServerReflectionInfo(request_iterator, context)


def add_to_server(servicer: Health, server: grpc.Server) -> None:
    """Adds the health service, and reflection of all that the server has."""
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = [_PREDICTION_SERVICE, _MODEL_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
    # A reflection stream holds a thread for as long as its client likes.
    info: Any = _Reflection.ServerReflectionInfo
    info.experimental_thread_pool = ThreadPoolExecutor(2, "reflection")
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_Reflection(names), server)
