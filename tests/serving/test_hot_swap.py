"""Versions that come, go, and are broken, while clients ask: no request fails, and no answer mixes two versions."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import itertools
import json
import os
import pathlib
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server import model_server
from serving.server.loader import LoadedModel
from serving.server.model_config import single_model
from serving.server.model_server import ModelServer
from serving.server.process import CONNECT_OFTEN
from tests.serving.server_process import START_SECONDS, ServerProcess, free_port, publish
from tests.serving.toy_servable import ToyServable
from tfx_pipeline import rollback

GRPC_CLIENTS, REST_CLIENTS = 4, 2
ROWS = [{"item_id": ["milk", "bread"], "timestamp": [5, 9], "length": 2, "now": 0}]


def listed(base: pathlib.Path, more: str = "") -> str:
    return (f'model_config_list {{ config {{ name: "ulim" base_path: "{base}/ulim" model_platform: "tensorflow" '
            f"{more} }} }}")


class Clients:
    """Ask over gRPC and REST until the block ends.

    Attributes:
        answers: the versions that answered over gRPC, in the order of the answers.
        rest_answers: the items that came over REST.
        failures: what else came.
    """

    def __init__(self, port: int, rest_port: int, label: str = ""):
        self._port, self._rest_port, self._label = port, rest_port, label
        self._ending = threading.Event()
        self.answers: list[int] = []
        self.rest_answers: list[list[str]] = []
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._ask, args=[ask]) for ask in
                         [self._over_grpc] * GRPC_CLIENTS + [self._over_rest] * REST_CLIENTS]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int):
        """Returns when that many more answers have come."""
        enough = len(self.answers) + answers
        deadline = time.monotonic() + START_SECONDS
        while len(self.answers) < enough and not self.failures:
            assert time.monotonic() < deadline, "the clients get no answers"
            time.sleep(0.01)

    def _ask(self, ask):
        try:
            ask()
        except (grpc.RpcError, OSError, AssertionError) as error:
            self.failures.append(error)

    def _over_grpc(self):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "ulim", ""
        if self._label:
            request.model_spec.version_label = self._label
        for name, dtype in (("item_id", tf.string), ("timestamp", tf.int64), ("length", tf.int32), ("now", tf.int64)):
            request.inputs[name].CopyFrom(tf.make_tensor_proto([row[name] for row in ROWS], dtype))
        with grpc.insecure_channel(f"127.0.0.1:{self._port}",
                                   [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self._ending.is_set():
                answer = stub.Predict(request, timeout=30)
                version = answer.model_spec.version.value
                made_as = 1 if version > 2 else version  # version 1, published again under another number
                assert answer.outputs["item_id"].string_val[1] == f"v{made_as}-b".encode()
                self.answers.append(version)

    def _over_rest(self):
        label = f"/labels/{self._label}" if self._label else ""
        url = f"http://127.0.0.1:{self._rest_port}/v1/models/ulim{label}:predict"
        while not self._ending.is_set():
            with urllib.request.urlopen(url, json.dumps({"instances": ROWS}).encode(), timeout=30) as answer:
                items = json.load(answer)["predictions"][0]["item_id"]
                assert items[1] in ("v1-b", "v2-b")
                self.rest_answers.append(items)


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    base = tmp_path_factory.mktemp("swap")
    made = tmp_path_factory.mktemp("made")
    for version in (1, 2):
        ToyServable(version).save(str(made / str(version)))
    publish(base / "ulim", 1, lambda folder: shutil.copytree(made / "1", folder))
    config = base / "models.config"
    config.write_text(listed(base))
    server = ServerProcess(base, f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=0.1",
                           "--max_num_load_retries=1000", "--load_retry_interval_micros=300000")
    server.base, server.made, server.config = base, made, config
    try:
        server.ready()
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(launched):
    """With version 1 alone."""
    yield launched
    write(launched, listed(launched.base))
    for folder in (launched.base / "ulim").iterdir():
        if folder.is_dir() and folder.name != "1":
            shutil.rmtree(folder)
    launched.wait_for_state(1, "AVAILABLE")
    while len(launched.states()) > 1:
        time.sleep(0.05)


def write(server, config: str):
    """In one step, as an editor does."""
    aside = server.base / "models.config.new"
    aside.write_text(config)
    aside.rename(server.config)


def publish_second(server, spoil=lambda folder: None):
    def make(folder):
        shutil.copytree(server.made / "2", folder)
        spoil(pathlib.Path(folder))

    publish(server.base / "ulim", 2, make)


def test_forth_and_back_by_removing_the_newer_folder(server):
    with Clients(server.port, server.rest_port) as clients:
        publish_second(server)
        server.wait_for_state(1, "END")
        clients.wait_for(20)
        shutil.rmtree(server.base / "ulim" / "2")
        server.wait_for_state(1, "AVAILABLE")
        while 2 in server.states():
            time.sleep(0.05)
        clients.wait_for(20)
    assert not clients.failures
    assert set(clients.answers) == {1, 2} and clients.answers[0] == clients.answers[-1] == 1


def test_forth_and_back_by_the_policy(server):
    with Clients(server.port, server.rest_port) as clients:
        publish_second(server)
        server.wait_for_state(1, "END")
        clients.wait_for(20)
        write(server, listed(server.base, "model_version_policy { specific { versions: 1 } }"))
        server.wait_for_state(2, "END")
        clients.wait_for(20)
    assert not clients.failures
    assert set(clients.answers) == {1, 2} and clients.answers[0] == clients.answers[-1] == 1


def test_forth_and_back_by_a_label(server):
    policy = "model_version_policy { all {} } "
    publish_second(server)
    write(server, listed(server.base, policy))
    server.wait_for_state(2, "AVAILABLE")
    server.wait_for_state(1, "AVAILABLE")
    write(server, listed(server.base, policy + 'version_labels { key: "stable" value: 1 }'))
    while server.rest("/v1/models/ulim/labels/stable")[0] != 200:
        time.sleep(0.05)
    with Clients(server.port, server.rest_port, "stable") as clients:
        for version in (2, 1):
            write(server, listed(server.base, policy + f'version_labels {{ key: "stable" value: {version} }}'))
            while clients.answers[-1] != version and not clients.failures:
                time.sleep(0.01)
            clients.wait_for(20)
    assert not clients.failures
    assert set(clients.answers) == {1, 2}


def test_back_by_publishing_again(server):
    with Clients(server.port, server.rest_port) as clients:
        publish_second(server)
        server.wait_for_state(1, "END")
        clients.wait_for(20)
        again = int(rollback.rollback(server.base / "ulim").name)
        server.wait_for_state(again, "AVAILABLE")
        server.wait_for_state(2, "END")
        clients.wait_for(20)
    assert not clients.failures
    assert set(clients.answers) == {1, 2, again} and clients.answers[-1] == again


def _no_variables(folder):
    shutil.rmtree(folder / "variables")


def _half_a_shard(folder):
    [shard] = (folder / "variables").glob("variables.data-*")
    os.truncate(shard, shard.stat().st_size // 2)


def _no_graph(folder):
    (folder / "saved_model.pb").write_bytes(b"not a SavedModel")


def _half_a_graph(folder):
    os.truncate(folder / "saved_model.pb", (folder / "saved_model.pb").stat().st_size // 2)


@pytest.mark.parametrize("spoil", [_no_variables, _half_a_shard, _no_graph, _half_a_graph])
def test_a_spoilt_version_is_told_and_served_once_it_is_whole(server, spoil):
    with Clients(server.port, server.rest_port) as clients:
        publish_second(server, spoil)
        status = server.wait_for_state(2, "END")
        assert status.status.error_code != 0 and status.status.error_message
        clients.wait_for(20)
        assert set(clients.answers) == {1}
        # The rest of the copy arrives, and the next try takes it.
        shutil.copytree(server.made / "2", server.base / "ulim" / "2", dirs_exist_ok=True)
        server.wait_for_state(2, "AVAILABLE")
        server.wait_for_state(1, "END")
        clients.wait_for(20)
    assert not clients.failures
    assert clients.answers[-1] == 2


def test_the_folder_of_what_is_served_goes(server):
    aside = server.base / "away"
    with Clients(server.port, server.rest_port) as clients:
        (server.base / "ulim").rename(aside)
        time.sleep(0.5)
        clients.wait_for(50)
        aside.rename(server.base / "ulim")
    assert not clients.failures
    assert set(clients.answers) == {1}


def test_a_configuration_that_is_not_valid_is_told_and_what_was_served_goes_on(server):
    with Clients(server.port, server.rest_port) as clients:
        write(server, listed(server.base, "no_such_field: 1"))
        deadline = time.monotonic() + START_SECONDS
        while "no_such_field" not in server.err() and time.monotonic() < deadline:
            time.sleep(0.05)
        clients.wait_for(20)
    assert f"The model config file {server.config} is not served: Invalid protobuf file: " in server.err()
    assert not clients.failures


def found_the_door_closed(failure: BaseException) -> bool:
    """Whether a request was not begun. gRPC cancels what it had received but had not handed over to the server."""
    if isinstance(failure, grpc.RpcError):
        return failure.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    return isinstance(failure, urllib.error.URLError | ConnectionError)


def test_sigterm_under_load_ends_the_server_with_0(server, tmp_path):
    server = ServerProcess(tmp_path, "--model_name=ulim", f"--model_base_path={server.base}/ulim")
    try:
        server.ready()
        with Clients(server.port, server.rest_port) as clients:
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
        assert len(clients.failures) == GRPC_CLIENTS + REST_CLIENTS
        assert all(map(found_the_door_closed, clients.failures)), clients.failures
    finally:
        server.kill()


def test_a_drain_under_load_answers_every_request_that_was_begun(tmp_path, monkeypatch):
    begun = itertools.count()
    predict = LoadedModel.predict

    def counted(*args, **kwargs):
        next(begun)
        return predict(*args, **kwargs)

    monkeypatch.setattr(LoadedModel, "predict", counted)
    publish(tmp_path / "ulim", 1, ToyServable(1).save)
    port, rest_port = free_port(), free_port()
    server = ModelServer(single_model("ulim", str(tmp_path / "ulim")), port, rest_port)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}", CONNECT_OFTEN) as channel:
        grpc.channel_ready_future(channel).result(START_SECONDS)
    with Clients(port, rest_port) as clients:
        server.stop()
    assert all(map(found_the_door_closed, clients.failures)), clients.failures
    assert clients.rest_answers
    assert next(begun) == len(clients.answers) + len(clients.rest_answers)


def test_a_call_that_never_ends_does_not_keep_the_server(tmp_path, monkeypatch):
    begun, released = threading.Event(), threading.Event()

    def stuck(*_, **__):
        begun.set()
        released.wait(START_SECONDS)
        return {}

    monkeypatch.setattr(LoadedModel, "predict", stuck)
    monkeypatch.setattr(model_server, "_CANCELLED_SECONDS", 0.1)
    publish(tmp_path / "ulim", 1, ToyServable(1).save)
    port = free_port()
    server = ModelServer(single_model("ulim", str(tmp_path / "ulim")), port)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}", CONNECT_OFTEN) as channel:
        grpc.channel_ready_future(channel).result(START_SECONDS)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "ulim"
        call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(request)
        assert begun.wait(START_SECONDS)
        stopping = threading.Thread(target=server.stop, args=[0.1])
        stopping.start()
        stopping.join(30)
        assert not stopping.is_alive() and not released.is_set()
        released.set()
        assert call.exception()
