"""Which version is served when, with models that load at will."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving.server.errors import ServingError
from serving.server.manager import Manager
from serving.server.model_server import ModelServer

NEWEST = ModelSpec(name="ulim")


class Model:
    def __init__(self):
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


class Models:
    """Loads version folders; a folder with a file "broken" does not load, nor does one before `gate` is set."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.loads = []

    def __call__(self, folder: str) -> Model:
        self.loads.append(int(folder.rpartition("/")[2]))
        self.gate.wait(10)
        if tf.io.gfile.exists(folder + "/broken"):
            raise tf.errors.DataLossError(None, None, "bad block")
        return Model()


@pytest.fixture
def models():
    return Models()


@pytest.fixture
def manager(tmp_path, models):
    manager = Manager("ulim", str(tmp_path), models, poll_seconds=0.01)
    manager.start()
    yield manager
    models.gate.set()
    manager.stop()


def publish(base, version: str, *files: str):
    aside = base / f"making-{version}"
    aside.mkdir()
    for file in ("saved_model.pb", *files):
        (aside / file).touch()
    aside.rename(base / version)


def withdraw(base, version: str):
    (base / version).rename(base / f"gone-{version}")


def states(manager) -> dict[int, str]:
    return {status.version: ModelVersionStatus.State.Name(status.state) for status in manager.statuses(NEWEST)}


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def serving(manager) -> int:
    try:
        with manager.borrow(NEWEST) as (number, _):
            return number
    except ServingError:
        return 0


def test_the_newest_of_several_is_served_and_no_other_is_loaded(tmp_path, manager, models):
    tmp = tmp_path / "hidden"
    tmp.mkdir()
    for version in ("2", "10"):
        publish(tmp, version)
    (tmp / "10").rename(tmp_path / "10")
    (tmp / "2").rename(tmp_path / "2")
    wait_until(lambda: serving(manager) == 10)
    assert models.loads == [10]


def test_a_request_in_flight_keeps_its_version_until_it_ends(tmp_path, manager):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    with manager.borrow(NEWEST) as (number, model):
        assert number == 1
        publish(tmp_path, "2")
        wait_until(lambda: states(manager) == {2: "AVAILABLE", 1: "UNLOADING"})
        assert serving(manager) == 2
        assert not model.closed.is_set()
    assert model.closed.wait(10)
    wait_until(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


def test_the_old_version_answers_while_the_new_one_loads(tmp_path, manager, models):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    models.gate.clear()
    publish(tmp_path, "2")
    wait_until(lambda: states(manager) == {2: "LOADING", 1: "AVAILABLE"})
    assert serving(manager) == 1


def test_a_broken_version_is_tried_once_until_its_folder_comes_back(tmp_path, manager, models):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    publish(tmp_path, "2", "broken")
    wait_until(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    [status] = manager.statuses(ModelSpec(name="ulim", version={"value": 2}))
    assert (status.status.error_code, status.status.error_message) == (
        grpc.StatusCode.DATA_LOSS.value[0], "DataLossError: bad block")
    time.sleep(0.1)
    assert models.loads == [1, 2]
    withdraw(tmp_path, "2")
    wait_until(lambda: states(manager) == {1: "AVAILABLE"})
    publish(tmp_path, "2")
    wait_until(lambda: serving(manager) == 2)


def test_a_withdrawn_version_gives_way_to_the_one_before(tmp_path, manager):
    publish(tmp_path, "1")
    publish(tmp_path, "2")
    wait_until(lambda: serving(manager) == 2)
    withdraw(tmp_path, "2")
    wait_until(lambda: serving(manager) == 1)


def test_the_loaded_version_outlives_an_emptied_folder(tmp_path, manager):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    withdraw(tmp_path, "1")
    time.sleep(0.1)
    assert serving(manager) == 1


def test_stop_does_not_wait_for_a_request_that_hangs(tmp_path, models):
    manager = Manager("ulim", str(tmp_path), models, poll_seconds=0.01)
    manager.start()
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    with manager.borrow(NEWEST) as (_, model):
        manager.stop()
        assert model.closed.is_set()


@pytest.mark.parametrize("broken", [(), ("broken",)])
def test_it_is_settled_once_the_first_version_has_loaded_or_failed(tmp_path, models, broken):
    settled = []
    manager = Manager("ulim", str(tmp_path), models, lambda: settled.append(list(models.loads)), poll_seconds=0.01)
    manager.start()
    time.sleep(0.05)
    assert settled == []
    publish(tmp_path, "1", *broken)
    wait_until(lambda: settled)
    publish(tmp_path, "2")
    wait_until(lambda: serving(manager) == 2)
    manager.stop()
    assert settled == [[1]]


def test_a_server_without_a_version_says_so(tmp_path):
    server = ModelServer("ulim", str(tmp_path), grpc_port=0)
    server.start()
    with pytest.raises(TimeoutError, match=r"no version was available after 0\.1 s"):
        server.wait_until_available(0.1)
    server.stop()
