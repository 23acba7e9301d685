"""The embedded server in a process of its own, for as long as a block lasts."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

from serving import contract

# A channel to a port that is not open yet; by default it waits up to twenty seconds between two attempts to connect.
CONNECT_OFTEN = tuple((f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "min", "max"))

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 1.0  # until it is asked again, after a look at the process
_DRAIN_SECONDS = 30  # the server's own grace and some


class NotServed(RuntimeError):
    """The server did not come to serve a version; the message says why."""


@contextlib.contextmanager
def serve(base_path: str | Path, timeout: float, output: IO[str] | int | None = None,
          told: Callable[[list[str]], None] = lambda _: None, flags: Sequence[str] = ()) -> Iterator[str]:
    """Starts `python -m serving.server` on free loopback ports and waits until it serves.

    Args:
        base_path: model base path, with at least one version.
        timeout: seconds until a version must be served.
        output: file, or `subprocess.DEVNULL`, that takes what the server prints; None prints it.
        told: is called with the command line.
        flags: further ones, as `--name=value`.

    Yields:
        "host:port" of the gRPC interface. The server ends with the block.

    Raises:
        NotServed: the newest version failed to load, the server ended, or the time is up.
    """
    port, rest_port = _free_ports(2)
    command = [sys.executable, "-m", "serving.server", f"--model_name={contract.MODEL_NAME}",
               f"--model_base_path={base_path}", f"--port={port}", f"--rest_api_port={rest_port}",
               *flags]
    told(command)
    process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        target = f"127.0.0.1:{port}"
        wait_until_served(target, timeout, process)
        yield target
    finally:
        process.terminate()
        try:
            process.wait(_DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until_served(target: str, timeout: float, process: subprocess.Popen | None = None) -> None:
    """Returns when a server serves a version.

    Args:
        target: "host:port" of the gRPC interface.
        timeout: seconds until then.
        process: of the server, if it is this program's.

    Raises:
        NotServed: as `serve`.
    """
    request = GetModelStatusRequest()
    request.model_spec.name = contract.MODEL_NAME
    deadline = time.monotonic() + timeout
    with grpc.insecure_channel(target, CONNECT_OFTEN) as channel:
        stub = ModelServiceStub(channel)
        while time.monotonic() < deadline:
            if process and process.poll() is not None:
                raise NotServed(f"the server ended with code {process.returncode} before it served a version")
            # The port opens when what is on disk has loaded or failed to. A request that does not wait for it leaves
            # nobody to see the connection come about, but gRPC's own look every five seconds.
            with contextlib.suppress(grpc.RpcError):
                for version in stub.GetModelStatus(request, timeout=_ANSWER_SECONDS,
                                                   wait_for_ready=True).model_version_status:
                    if version.state == ModelVersionStatus.AVAILABLE:
                        return
                    if version.status.error_message:
                        raise NotServed(f"version {version.version} failed to load: {version.status.error_message}")
            time.sleep(_POLL_SECONDS)
    raise NotServed(f"no version was served after {timeout:g} seconds")
