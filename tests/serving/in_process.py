"""The embedded server inside the test's process: the start of a process takes ten times as long as all else."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import socket
from collections.abc import Iterator

from serving.server.model_config import single_model
from serving.server.model_server import ModelServer
from serving.server.process import wait_until_served


@contextlib.contextmanager
def serve(base_path, timeout: float, output=None) -> Iterator[str]:
    """As `serving.server.process.serve`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{probe.getsockname()[1]}"
    server = ModelServer(single_model("ulim", str(base_path)), int(target.rpartition(":")[2]))
    server.start()
    try:
        wait_until_served(target, timeout)
        yield target
    finally:
        server.stop()
