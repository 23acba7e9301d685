"""The server put together: a manager behind a gRPC port and, if wanted, a REST port."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import functools
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.server import health, warm_up
from serving.server.batching import Batcher, BatchingParameters
from serving.server.health import Health
from serving.server.loader import LoadedModel
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.model_service import ModelService
from serving.server.prediction_service import PredictionService
from serving.server.rest import RestServer
from serving.server.served_model import Patience

_LOG = logging.getLogger(__name__)
_GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # no limit, as TF Serving
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # else a second server would share a busy port in silence
)
_CANCELLED_SECONDS = 5.0  # that calls may take to end, once they are cancelled
_MOST_WAITING = 256  # requests that may hold a thread while they wait to be merged


class PortError(Exception):
    """A port cannot be listened at."""


class ModelServer:
    """The models of a configuration, over gRPC and REST.

    Ports are taken at once, and answer when of each model the wanted versions have loaded or failed to: a client that
    waits for the channel to be ready finds them there, by label too.

    Args:
        config: what to serve.
        grpc_port: 0 for no gRPC.
        rest_port: 0 for no REST.
        bind_address: to listen at.
        patience: how often to look for new versions and to try a load again.
        label_unavailable: whether a new label may be assigned to a version that is not available.
        intra_op_threads: threads that one op may use; 0 lets TensorFlow choose.
        inter_op_threads: ops that may run at once; 0 lets TensorFlow choose.
        warm_up: whether a version answers its warm-up requests before any other.
        batching: how requests are merged; None to run each by itself.
        credentials: what gRPC clients are shown and asked for; None for no TLS.
        channel_arguments: of the gRPC server; they win over its own.
        rest_threads: that answer REST requests; 0 for as many as gRPC has.
        rest_timeout: seconds for a REST request to be sent, and to run.
        metrics_path: on the REST port, where Prometheus finds what was counted; None for nowhere.

    Raises:
        PortError: a port is not free, or the address is not of this machine.
        ServingError: the configuration cannot be served; see `Manager`.
    """

    def __init__(self, config: ModelServerConfig, grpc_port: int = 8500, rest_port: int = 0, *,
                 bind_address: str = "127.0.0.1", patience: Patience | None = None, label_unavailable: bool = False,
                 intra_op_threads: int = 0, inter_op_threads: int = 0, warm_up: bool = True,
                 batching: BatchingParameters | None = None, credentials: grpc.ServerCredentials | None = None,
                 channel_arguments: Sequence[tuple[str, int | str]] = (), rest_threads: int = 0,
                 rest_timeout: float = 30.0, metrics_path: str | None = None):
        self._metrics = Metrics()
        self._batcher = Batcher(batching, self._metrics) if batching else None
        load = functools.partial(_load, intra_op_threads, inter_op_threads, self._batcher, self._metrics, warm_up)
        self._manager = Manager(config, load, self._open, patience, label_unavailable=label_unavailable)
        self._grpc_target, self._rest_target = f"{bind_address}:{grpc_port}", f"{bind_address}:{rest_port}"
        # A request holds a thread while the graph runs in TensorFlow's own; a few more than cores keep those busy.
        workers = max(8, 2 * (os.cpu_count() or 1))
        if batching:  # a request that waits to be merged holds one too
            workers = max(workers, min(2 * batching.max_batch_size, _MOST_WAITING))
        self._health = Health(self._manager.any_available)
        self._grpc = self._listen_grpc(workers, credentials, channel_arguments) if grpc_port else None
        self._rest = (self._listen_rest(bind_address, rest_port, rest_threads or workers, metrics_path, rest_timeout)
                      if rest_port else None)
        self._opening = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Begins to load and serve, in threads."""
        self._manager.start()

    def wait_until_available(self, timeout: float) -> None:
        """Returns when of each model a version is served.

        Raises:
            TimeoutError: of one none is after `timeout` seconds.
        """
        if not self._manager.wait_until_available(timeout):
            raise TimeoutError(f"no version was available after {timeout} s")

    def reload(self, config: ModelServerConfig) -> None:
        """Serves another configuration; see `Manager.reload`."""
        self._manager.reload(config)

    def stop(self, grace: float = 20.0) -> None:
        """Takes no more requests, answers those in flight, for `grace` seconds at most, and unloads the models."""
        with self._opening:
            self._stopped = True
        self._health.drain()
        grpc_drained = self._grpc.stop(grace) if self._grpc else None
        if self._rest:
            self._rest.stop(grace)
        # Without a bound, a call that neither ends nor is cancelled would keep the process for ever.
        if grpc_drained and not grpc_drained.wait(grace + _CANCELLED_SECONDS):
            _LOG.warning("gRPC calls did not end in %.0f s, and are left", grace + _CANCELLED_SECONDS)
        if self._batcher:
            self._batcher.stop()
        self._manager.stop()

    def _open(self) -> None:
        with self._opening:
            if self._stopped:
                return
            if self._grpc:
                self._grpc.start()
                _LOG.info("Running gRPC ModelServer at %s ...", self._grpc_target)
            if self._rest:
                self._rest.start()
                _LOG.info("Exporting HTTP/REST API at:%s ...", self._rest_target)

    def _listen_grpc(self, workers: int, credentials: grpc.ServerCredentials | None,
                     channel_arguments: Sequence[tuple[str, int | str]]) -> grpc.Server:
        options = {**dict(_GRPC_OPTIONS), **dict(channel_arguments)}  # of two of a name, gRPC would take the first
        server = grpc.server(ThreadPoolExecutor(workers, "grpc"), options=list(options.items()))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self._manager, self._metrics), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self._manager), server)
        health.add_to_server(self._health, server)
        try:
            if credentials:
                server.add_secure_port(self._grpc_target, credentials)
            else:
                server.add_insecure_port(self._grpc_target)
        except RuntimeError as error:
            raise PortError(f"cannot listen for gRPC at {self._grpc_target}: the port is in use or the address is not "
                            "of this machine. Stop the other server, or choose another with --port.") from error
        return server

    def _listen_rest(self, address: str, port: int, workers: int, metrics_path: str | None,
                     timeout: float) -> RestServer:
        try:
            return RestServer(self._manager, address, port, workers, self._metrics, metrics_path, timeout)
        except OSError as error:
            raise PortError(f"cannot listen for REST at {address}:{port}: {error.strerror}. "
                            "Stop the other server, or choose another with --rest_api_port.") from error


def _load(intra_op_threads: int, inter_op_threads: int, batcher: Batcher | None, metrics: Metrics, warmed_up: bool,
          directory: str) -> LoadedModel:
    model = LoadedModel(directory, intra_op_threads, inter_op_threads, batcher, metrics)
    if warmed_up:
        try:
            warm_up.replay(model, directory, metrics)
        except BaseException:
            model.close()
            raise
    return model
