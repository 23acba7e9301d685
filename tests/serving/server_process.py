"""The server as a process of its own, called with TensorFlow Serving's stock stubs and over HTTP."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server.process import CONNECT_OFTEN

REPOSITORY = pathlib.Path(__file__).parents[2]
START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def publish(base: pathlib.Path, version: int, make) -> None:
    """Makes a version beside its base path and renames it in, as a Pusher does."""
    aside = base.parent / f"making-{base.name}-{version}"
    make(str(aside))
    base.mkdir(parents=True, exist_ok=True)
    aside.rename(base / str(version))


class ServerProcess:
    """Serves what the flags say; `base` takes its logs. Folders are looked at every tenth of a second."""

    def __init__(self, base: pathlib.Path, *flags: str):
        self._flags, self._log = flags, base / "log"
        self.port, self.rest_port = free_port(), free_port()
        self._launch()

    def _launch(self):
        with open(f"{self._log}.out", "a") as out, open(f"{self._log}.err", "a") as err:
            # The flags' two spellings, both as tensorflow_model_server takes them.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving.server", *self._flags,
                 "--port", str(self.port), f"--rest_api_port={self.rest_port}",
                 "--file_system_poll_wait_seconds=0.1"],
                cwd=REPOSITORY, stdout=out, stderr=err, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", CONNECT_OFTEN)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def ready(self) -> "ServerProcess":
        """Waits for the ports; a server that was ended by a test is launched again."""
        if self.process.poll() is not None:
            self._launch()
        grpc.channel_ready_future(self.channel).result(START_SECONDS)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def out(self) -> str:
        return pathlib.Path(f"{self._log}.out").read_text()

    def err(self) -> str:
        return pathlib.Path(f"{self._log}.err").read_text()

    def states(self, name: str = "ulim") -> dict:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        answer = self.models.GetModelStatus(request, timeout=10)
        return {status.version: status for status in answer.model_version_status}

    def wait_for_state(self, version: int, state: str, name: str = "ulim"):
        wanted = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            status = self.states(name).get(version)
            if status and status.state == wanted:
                return status
            time.sleep(0.05)
        raise AssertionError(f"version {version} is not {state}: {self.states(name)}")

    def rest(self, path: str, body=None) -> tuple[int, dict]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}{path}", data, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


class OneModelsServer(ServerProcess):
    """Serves a model's newest version. Tests may change the versions; requests tell the one they meet."""

    def __init__(self, base: pathlib.Path):
        self.versions = base / "ulim"
        super().__init__(base, "--model_name=ulim", f"--model_base_path={self.versions}")

    def publish(self, version: int, make) -> None:
        publish(self.versions, version, make)

    def withdraw(self, version: int) -> None:
        """Removes a version's folder and waits until the server has forgotten it."""
        shutil.rmtree(self.versions / str(version))
        deadline = time.monotonic() + START_SECONDS
        while version in self.states() and time.monotonic() < deadline:
            time.sleep(0.05)

    @property
    def version(self) -> int:
        return max(self.states())
