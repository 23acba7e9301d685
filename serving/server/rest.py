"""TF Serving's REST interface, answered by the code that answers gRPC.

    POST /v1/models/NAME[/versions/V|/labels/LABEL]:predict
    GET  /v1/models/NAME[/versions/V|/labels/LABEL]            states of the versions
    GET  /v1/models/NAME[/versions/V|/labels/LABEL]/metadata   signatures
    GET  /monitoring/prometheus/metrics                        what was counted, if wanted
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import asyncio
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import tornado.httpserver
import tornado.netutil
import tornado.web
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving.server import json_tensors, unoffered
from serving.server.errors import ServingError, invalid
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.prediction_service import model_metadata

_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_LARGEST_VERSION = 2**63 - 1
# As Python objects, a body takes ten times its size and more.
_LARGEST_BODY_BYTES = 64 << 20
_HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}


class RestServer:
    """An HTTP server in a thread of its own.

    Args:
        manager: what answers.
        address: to listen at.
        port: to listen at.
        workers: threads that answer requests.
        metrics: counts them.
        metrics_path: where the counts can be read; None for nowhere.
        timeout: seconds for a client to send a request, before it is cut off, and for the graph to run.

    Raises:
        OSError: the port is not free.
    """

    def __init__(self, manager: Manager, address: str, port: int, workers: int, metrics: Metrics,
                 metrics_path: str | None, timeout: float):
        self._stopping = asyncio.Event()
        self._sockets = tornado.netutil.bind_sockets(port, address)
        self._workers = ThreadPoolExecutor(workers, "rest")
        self._in_flight: set[_Handler] = set()
        self._timeout = timeout
        given = {"manager": manager, "metrics": metrics, "timeout": timeout, "workers": self._workers,
                 "in_flight": self._in_flight}
        self._application = tornado.web.Application([
            *([(re.escape(metrics_path), _MetricsPage, given)] if metrics_path else []),
            (_MODEL + r":(predict|classify|regress)", _Predict, given),
            (_MODEL + r"/metadata", _Metadata, given),
            (_MODEL, _Status, given),
            (r"/.*", _Malformed, given),
        ], log_function=lambda handler: None, stopping=self._stopping)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rest-loop", daemon=True)

    def start(self) -> None:
        """Begins to answer; until then clients wait in the socket's queue."""
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Takes no more requests, and ends when those in flight are answered or `grace` seconds have passed."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(grace)
        for socket in self._sockets:
            socket.close()
        self._workers.shutdown(wait=False)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = tornado.httpserver.HTTPServer(
            self._application, max_buffer_size=_LARGEST_BODY_BYTES, max_body_size=_LARGEST_BODY_BYTES,
            idle_connection_timeout=self._timeout, body_timeout=self._timeout)
        server.add_sockets(self._sockets)
        await self._stopping.wait()
        server.stop()
        while self._in_flight:
            await asyncio.sleep(0.01)
        await server.close_all_connections()


class _Handler(tornado.web.RequestHandler):
    """Runs the answer in a worker thread, and writes it or its error as JSON."""

    def initialize(self, manager: Manager, metrics: Metrics, timeout: float, workers: ThreadPoolExecutor,
                   in_flight: set["_Handler"]) -> None:
        self.manager, self.metrics, self.timeout = manager, metrics, timeout
        self._workers, self._in_flight = workers, in_flight

    async def answer(self, compute: Callable[..., dict[str, Any]], *args: Any) -> None:
        if self.settings["stopping"].is_set():
            # Of a connection that was there before: its answer would come after the connection is closed.
            self.set_status(503)
            self.set_header("Connection", "close")
            self.finish({"error": "The server is shutting down."})
            return
        self._in_flight.add(self)
        try:
            try:
                answer = await asyncio.get_running_loop().run_in_executor(self._workers, compute, *args)
            except ServingError as error:
                self.set_status(_HTTP_STATUS.get(error.code, 500))
                answer = {"error": str(error)}
            self.set_header("Content-Type", "application/json")
            await self.finish(json.dumps(answer))
        finally:
            self._in_flight.discard(self)

    def malformed(self) -> dict[str, Any]:
        raise invalid(f"Malformed request: {self.request.method} {self.request.path}")

    async def get(self, *_: Any, **__: Any) -> None:
        await self.answer(self.malformed)

    async def post(self, *_: Any, **__: Any) -> None:
        await self.answer(self.malformed)


class _Malformed(_Handler):
    """A path that is not of the interface."""


class _Predict(_Handler):
    async def post(self, name: str, version: str | None, label: str | None, method: str) -> None:
        await self.answer({"predict": self._predict, "classify": self._classify, "regress": self._regress}[method],
                          name, version, label)

    def _predict(self, name: str, version: str | None, label: str | None) -> dict[str, Any]:
        with self.metrics.request("Predict", "REST") as asked:
            request = json_tensors.parse(self.request.body)
            signature_name = request.get("signature_name", "")
            with self.manager.borrow(_spec(name, version, label)) as (_, model):
                asked.model_name = name
                inputs = json_tensors.read_inputs(request, model.signature(signature_name))
                outputs = model.predict(signature_name, inputs, timeout=self.timeout)
                return json_tensors.write_outputs(outputs, request)

    def _classify(self, name: str, version: str | None, label: str | None) -> dict[str, Any]:
        request = json_tensors.parse_object(self.request.body)
        unoffered.single_inference(self.manager, _spec(name, version, label, request.get("signature_name", "")),
                                   "Classify")

    def _regress(self, name: str, version: str | None, label: str | None) -> dict[str, Any]:
        request = json_tensors.parse_object(self.request.body)
        unoffered.single_inference(self.manager, _spec(name, version, label, request.get("signature_name", "")),
                                   "Regress")


class _MetricsPage(_Handler):
    async def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4")
        await self.finish(self.metrics.page())


class _Status(_Handler):
    async def get(self, name: str, version: str | None, label: str | None) -> None:
        await self.answer(self._status, name, version, label)

    def _status(self, name: str, version: str | None, label: str | None) -> dict[str, Any]:
        return _to_dict(GetModelStatusResponse(model_version_status=self.manager.statuses(_spec(name, version, label))))


class _Metadata(_Handler):
    async def get(self, name: str, version: str | None, label: str | None) -> None:
        await self.answer(self._metadata, name, version, label)

    def _metadata(self, name: str, version: str | None, label: str | None) -> dict[str, Any]:
        field = "signature_def"
        response = model_metadata(self.manager, GetModelMetadataRequest(
            model_spec=_spec(name, version, label), metadata_field=[field]))
        signatures = SignatureDefMap()
        response.metadata[field].Unpack(signatures)
        spec = response.model_spec
        return {"model_spec": {"name": spec.name, "signature_name": "", "version": str(spec.version.value)},
                "metadata": {field: _to_dict(signatures)}}


def _spec(name: str, version: str | None, label: str | None, signature_name: str = "") -> ModelSpec:
    spec = ModelSpec(name=name, signature_name=signature_name)
    if version is not None:
        if len(version) > len(str(_LARGEST_VERSION)) or int(version) > _LARGEST_VERSION:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = label
    return spec


def _to_dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, including_default_value_fields=True, preserving_proto_field_name=True)
