"""The embedded server inside the test's process: the start of a process takes ten times as long as all else."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import socket
from collections.abc import Iterator

from serving.server.model_config import single_model
from serving.server.model_server import ModelServer
from serving.server.process import wait_until_served


@contextlib.contextmanager
def run(base_path, **options) -> Iterator[tuple[str, str]]:
    """A server with these options of ModelServer, its gRPC and its REST "host:port"; it may not serve yet."""
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    server = ModelServer(single_model("ulim", str(base_path)), *ports, **options)
    server.start()
    try:
        yield tuple(f"127.0.0.1:{port}" for port in ports)
    finally:
        server.stop()


@contextlib.contextmanager
def serve(base_path, timeout: float, output=None) -> Iterator[str]:
    """As `serving.server.process.serve`."""
    with run(base_path) as (target, _):
        wait_until_served(target, timeout)
        yield target
