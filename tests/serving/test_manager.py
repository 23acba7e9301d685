"""Which version of which model is served when, with models that load at will."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import concurrent.futures
import errno
import os
import threading
import time

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.server.errors import ServingError
from serving.server.manager import Manager
from serving.server.model_config import single_model
from serving.server.model_server import ModelServer
from serving.server.served_model import Patience

QUICK = Patience(poll_seconds=0.01)
NEWEST = ModelSpec(name="ulim")


class Model:
    def __init__(self, folder: str):
        self.folder = folder
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


class Models:
    """Loads version folders; a folder with a file "broken" does not load, nor does one before `gate` is set.

    Where a folder has a file "full", the disk is.
    """

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.loads = []

    def __call__(self, folder: str) -> Model:
        self.loads.append(int(folder.rpartition("/")[2]))
        self.gate.wait(10)
        if tf.io.gfile.exists(folder + "/broken"):
            raise tf.errors.DataLossError(None, None, "bad block")
        if tf.io.gfile.exists(folder + "/full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return Model(folder)


@pytest.fixture
def models():
    return Models()


@pytest.fixture
def manage(models):
    """Starts a manager of a configuration; it ends with the test."""
    started = []

    def start(config, patience=QUICK, **options):
        started.append(Manager(config, models, patience=patience, **options))
        started[-1].start()
        return started[-1]

    yield start
    models.gate.set()
    for manager in started:
        manager.stop()


@pytest.fixture
def manager(tmp_path, manage):
    return manage(single_model("ulim", str(tmp_path)))


def configured(base, **models: str) -> ModelServerConfig:
    """A configuration of models in `base`, each with some more text."""
    return text_format.Parse("model_config_list {" + "".join(
        f'config {{ name: "{name}" base_path: "{base}/{name}" model_platform: "tensorflow" {more} }}'
        for name, more in models.items()) + "}", ModelServerConfig())


def publish(base, version: str, *files: str):
    aside = base / f"making-{version}"
    aside.mkdir(parents=True)
    for file in ("saved_model.pb", *files):
        (aside / file).touch()
    aside.rename(base / version)


def withdraw(base, version: str):
    (base / version).rename(base / f"gone-{version}")


def states(manager, name: str = "ulim") -> dict[int, str]:
    try:
        return {status.version: ModelVersionStatus.State.Name(status.state)
                for status in manager.statuses(ModelSpec(name=name))}
    except ServingError as error:
        assert error.code == grpc.StatusCode.NOT_FOUND
        return {}


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def serving(manager, name: str = "ulim", **version) -> int:
    try:
        with manager.borrow(ModelSpec(name=name, **version)) as (number, _):
            return number
    except ServingError as error:
        assert error.code == grpc.StatusCode.NOT_FOUND
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
        publish(tmp_path, "3")  # a request that hangs does not hold up the versions after
        wait_until(lambda: states(manager) == {3: "AVAILABLE", 2: "END", 1: "UNLOADING"})
        assert not model.closed.is_set()
    assert model.closed.wait(10)
    wait_until(lambda: states(manager) == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_the_old_version_answers_while_the_new_one_loads(tmp_path, manager, models):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    models.gate.clear()
    publish(tmp_path, "2")
    wait_until(lambda: states(manager) == {2: "LOADING", 1: "AVAILABLE"})
    assert serving(manager) == 1


def test_a_broken_version_is_told_at_once_and_forgotten_with_its_folder(tmp_path, manager, models):
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


def test_stop_does_not_wait_for_a_request_that_hangs(tmp_path, manager):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    with manager.borrow(NEWEST) as (_, model):
        manager.stop()
        assert model.closed.is_set()


@pytest.mark.parametrize("broken", [(), ("broken",)])
def test_it_is_settled_once_and_when_a_version_has_loaded_or_failed(tmp_path, models, broken):
    settled = []
    manager = Manager(single_model("ulim", str(tmp_path)), models, lambda: settled.append(list(models.loads)), QUICK)
    manager.start()
    time.sleep(0.05)
    assert settled == []
    publish(tmp_path, "1", *broken)
    wait_until(lambda: settled)
    publish(tmp_path, "2")
    wait_until(lambda: serving(manager) == 2)
    manager.stop()
    assert settled == [[1]]


@pytest.mark.parametrize("broken", [(), ("broken",)])
def test_it_is_not_settled_while_a_wanted_version_has_not_been_tried(tmp_path, models, broken):
    """Or else requests for a label's version would fail where the other label's is served already."""
    settled = threading.Event()
    publish(tmp_path, "1")
    publish(tmp_path, "2", *broken)
    load, second = models.__call__, threading.Event()

    def load_the_second_later(folder: str) -> Model:
        if models.loads:
            second.wait(10)
        return load(folder)

    both = single_model("ulim", str(tmp_path))
    both.model_config_list.config[0].model_version_policy.specific.versions.extend([1, 2])
    manager = Manager(both, load_the_second_later, settled.set, QUICK)
    manager.start()
    wait_until(lambda: models.loads == [2])
    assert not settled.wait(0.1)
    second.set()
    assert settled.wait(10)
    assert states(manager) == {2: "END" if broken else "AVAILABLE", 1: "AVAILABLE"}
    manager.stop()


def test_a_server_without_a_version_says_so(tmp_path):
    server = ModelServer(single_model("ulim", str(tmp_path)), grpc_port=0)
    server.start()
    with pytest.raises(TimeoutError, match=r"no version was available after 0\.1 s"):
        server.wait_until_available(0.1)
    server.stop()


# Loads that fail ----------------------------------------------------------------------------------------------------


def test_a_failed_version_is_tried_again_as_often_as_told(tmp_path, manage, models):
    publish(tmp_path, "1")
    manager = manage(single_model("ulim", str(tmp_path)), Patience(0.01, load_retries=2, retry_seconds=0.05))
    assert manager.wait_until_available(10)
    publish(tmp_path, "2", "full")
    wait_until(lambda: models.loads == [1, 2, 2, 2])
    time.sleep(0.2)
    assert models.loads == [1, 2, 2, 2]
    assert states(manager) == {2: "END", 1: "AVAILABLE"}
    [status] = manager.statuses(ModelSpec(name="ulim", version={"value": 2}))
    assert status.status.error_message == "OSError: [Errno 28] No space left on device"
    withdraw(tmp_path, "2")
    wait_until(lambda: states(manager) == {1: "AVAILABLE"})
    publish(tmp_path, "2", "full")  # the folder has come back: its tries begin afresh
    wait_until(lambda: models.loads == [1] + 6 * [2])


def test_a_version_that_loads_at_a_later_try_is_served_without_its_error(tmp_path, manage):
    publish(tmp_path, "1", "full")
    manager = manage(single_model("ulim", str(tmp_path)), Patience(0.01, retry_seconds=0.2))
    wait_until(lambda: states(manager) == {1: "END"})
    (tmp_path / "1" / "full").unlink()
    wait_until(lambda: serving(manager) == 1)
    assert manager.statuses(NEWEST)[0].status.error_message == ""


def test_while_the_newest_fails_the_one_before_it_is_not_loaded(tmp_path, manager, models):
    publish(tmp_path / "aside", "1")
    publish(tmp_path, "2", "broken")
    wait_until(lambda: states(manager) == {2: "END"})
    (tmp_path / "aside" / "1").rename(tmp_path / "1")
    time.sleep(0.1)
    assert models.loads == [2]


@pytest.mark.parametrize("loads", [True, False])
def test_a_folder_that_goes_while_it_loads_leaves_what_was_served(tmp_path, manager, models, loads):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    models.gate.clear()
    publish(tmp_path, "2", *([] if loads else ["broken"]))
    wait_until(lambda: states(manager) == {2: "LOADING", 1: "AVAILABLE"})
    withdraw(tmp_path, "2")
    (tmp_path / "2").mkdir()  # without saved_model.pb it is no version
    if not loads:
        (tmp_path / "2" / "broken").touch()
    models.gate.set()
    wait_until(lambda: states(manager) == {1: "AVAILABLE"})
    assert serving(manager) == 1


def test_variables_that_come_before_the_graph_are_no_version_yet(tmp_path, manager, models):
    publish(tmp_path, "1")
    assert manager.wait_until_available(10)
    (tmp_path / "2" / "variables").mkdir(parents=True)
    time.sleep(0.1)
    assert models.loads == [1]
    (tmp_path / "2" / "saved_model.pb").touch()
    wait_until(lambda: serving(manager) == 2)


def test_a_base_path_that_goes_and_comes_back_changes_nothing(tmp_path, manage, models):
    base = tmp_path / "ulim"
    publish(base, "1")
    manager = manage(single_model("ulim", str(base)))
    assert manager.wait_until_available(10)
    base.rename(tmp_path / "away")
    time.sleep(0.1)
    assert serving(manager) == 1
    (tmp_path / "away").rename(base)
    publish(base, "2")
    wait_until(lambda: serving(manager) == 2)


def test_no_look_follows_where_polls_are_off(tmp_path, manage, models):
    publish(tmp_path, "1")
    manager = manage(single_model("ulim", str(tmp_path)), Patience(poll_seconds=0))
    assert manager.wait_until_available(10)
    time.sleep(0.1)
    publish(tmp_path, "2")
    time.sleep(0.1)
    assert models.loads == [1]


def test_versions_are_found_in_any_file_system_of_tensorflow(manage, caplog):
    manager = manage(single_model("ulim", "ram://models/ulim"))
    wait_until(lambda: "Waiting for model_base_path ram://models/ulim: " in caplog.text)
    tf.io.gfile.makedirs("ram://models/ulim/3")
    with tf.io.gfile.GFile("ram://models/ulim/3/saved_model.pb", "w") as graph:
        graph.write("a graph")
    wait_until(lambda: serving(manager) == 3)


# Policies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "served"), [
    ("", {4}),
    ("model_version_policy { latest { num_versions: 2 } }", {3, 4}),
    ("model_version_policy { latest { num_versions: 9 } }", {1, 2, 3, 4}),
    ("model_version_policy { all {} }", {1, 2, 3, 4}),
    ("model_version_policy { specific { versions: 1 versions: 3 versions: 7 } }", {1, 3}),
])
def test_the_policy_says_which_versions_are_served(tmp_path, manage, models, policy, served):
    for version in "1234":
        publish(tmp_path / "ulim", version)
    manager = manage(configured(tmp_path, ulim=policy))
    wait_until(lambda: states(manager) == dict.fromkeys(served, "AVAILABLE"))
    assert models.loads == sorted(served, reverse=True)
    assert serving(manager) == max(served)
    assert serving(manager, version={"value": min(served)}) == min(served)


def test_of_the_latest_two_the_oldest_goes_before_the_next_comes(tmp_path, manage, models):
    for version in "12":
        publish(tmp_path / "ulim", version)
    manager = manage(configured(tmp_path, ulim="model_version_policy { latest { num_versions: 2 } }"))
    wait_until(lambda: states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"})
    models.gate.clear()
    publish(tmp_path / "ulim", "3")
    wait_until(lambda: states(manager) == {3: "LOADING", 2: "AVAILABLE", 1: "END"})


def test_a_policy_moves_back_and_forth_without_a_gap(tmp_path, manage, models):
    for version in "12":
        publish(tmp_path / "ulim", version)
    manager = manage(configured(tmp_path, ulim=""))
    wait_until(lambda: serving(manager) == 2)
    models.gate.clear()
    manager.reload(configured(tmp_path, ulim="model_version_policy { specific { versions: 1 } }"))
    wait_until(lambda: states(manager) == {2: "AVAILABLE", 1: "LOADING"})
    assert serving(manager) == 2
    models.gate.set()
    wait_until(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    manager.reload(configured(tmp_path, ulim=""))
    wait_until(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


def test_a_specific_version_that_is_not_there_leaves_what_was_served(tmp_path, manage):
    publish(tmp_path / "ulim", "1")
    manager = manage(configured(tmp_path, ulim=""))
    wait_until(lambda: serving(manager) == 1)
    manager.reload(configured(tmp_path, ulim="model_version_policy { specific { versions: 2 } }"))
    time.sleep(0.1)
    assert serving(manager) == 1
    publish(tmp_path / "ulim", "2")
    wait_until(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


# Several models, and another configuration --------------------------------------------------------------------------


def test_models_are_served_side_by_side_and_settle_together(tmp_path, models):
    publish(tmp_path / "food", "1")
    settled = threading.Event()
    manager = Manager(configured(tmp_path, food="", toys=""), models, settled.set, QUICK)
    manager.start()
    wait_until(lambda: serving(manager, "food") == 1)
    assert not settled.wait(0.1)
    assert not manager.wait_until_available(0.01)
    publish(tmp_path / "toys", "5")
    assert settled.wait(10) and manager.wait_until_available(10)
    assert (serving(manager, "food"), serving(manager, "toys")) == (1, 5)
    manager.stop()


def test_one_version_is_loaded_at_a_time(tmp_path, manage, models):
    for name in ("food", "toys"):
        publish(tmp_path / name, "1")
    models.gate.clear()
    manager = manage(configured(tmp_path, food="", toys=""))
    wait_until(lambda: sorted([*states(manager, "food").values(), *states(manager, "toys").values()])
               == ["LOADING", "START"])
    time.sleep(0.05)
    assert models.loads == [1]
    models.gate.set()
    assert manager.wait_until_available(10)


def test_a_reload_adds_models_and_takes_others_out_of_service(tmp_path, manage):
    for name in ("food", "toys"):
        publish(tmp_path / name, "1")
    manager = manage(configured(tmp_path, food=""))
    assert manager.wait_until_available(10)
    manager.reload(configured(tmp_path, food="", toys=""))
    assert serving(manager, "toys") == 1  # the reload has waited for it
    with manager.borrow(ModelSpec(name="food")) as (_, model):
        manager.reload(configured(tmp_path, toys=""))
        wait_until(lambda: states(manager, "food") == {1: "UNLOADING"})
        assert serving(manager, "food") == 0
        time.sleep(0.05)
        assert not model.closed.is_set()
    wait_until(lambda: states(manager, "food") == {1: "END"})
    assert manager.wait_until_available(0)
    manager.reload(configured(tmp_path, food="", toys=""))
    assert (serving(manager, "food"), serving(manager, "toys")) == (1, 1)


def test_another_base_path_is_gone_over_to_even_where_the_numbers_are_the_same(tmp_path, manage, models):
    publish(tmp_path / "old" / "ulim", "1")
    manager = manage(configured(tmp_path / "old", ulim=""))
    assert manager.wait_until_available(10)
    models.gate.clear()
    publish(tmp_path / "new" / "ulim", "1")
    manager.reload(configured(tmp_path / "new", ulim=""))
    wait_until(lambda: models.loads == [1, 1])
    with manager.borrow(NEWEST) as (_, model):
        assert model.folder == f"{tmp_path}/old/ulim/1"
    models.gate.set()
    assert model.closed.wait(10)
    with manager.borrow(NEWEST) as (_, model):
        assert model.folder == f"{tmp_path}/new/ulim/1"
    assert states(manager) == {1: "AVAILABLE"}


def test_a_reload_tells_of_new_models_that_cannot_be_loaded(tmp_path, manage):
    publish(tmp_path / "ulim", "1")
    publish(tmp_path / "toys", "3", "broken")
    manager = manage(configured(tmp_path, ulim=""))
    assert manager.wait_until_available(10)
    with pytest.raises(ServingError) as refused:
        manager.reload(configured(tmp_path, ulim="", toys="", pets=""))
    assert refused.value.code == grpc.StatusCode.UNKNOWN
    assert str(refused.value).startswith("2 model(s) did not become available: {")
    assert "{toys due to error: version 3: DataLossError: bad block}" in str(refused.value)
    assert "{pets due to error: no version in its base path}" in str(refused.value)
    publish(tmp_path / "pets", "1")  # it is configured all the same
    wait_until(lambda: serving(manager, "pets") == 1)


def test_a_reload_that_is_not_valid_changes_nothing(tmp_path, manage, models):
    for version in "12":
        publish(tmp_path / "ulim", version)
    manager = manage(configured(tmp_path, ulim=""))
    assert manager.wait_until_available(10)
    with pytest.raises(ServingError, match="Illegal setting neither"):
        config = configured(tmp_path, ulim="model_version_policy { specific { versions: 1 } }", toys="")
        config.model_config_list.config[1].model_platform = ""
        manager.reload(config)
    with pytest.raises(ServingError, match="label to version 7"):
        manager.reload(configured(tmp_path, ulim='version_labels { key: "stable" value: 2 }',
                                  toys='version_labels { key: "stable" value: 7 }'))
    time.sleep(0.1)
    assert models.loads == [2] and states(manager) == {2: "AVAILABLE"} and not states(manager, "toys")
    with pytest.raises(ServingError, match="Unrecognized servable version label: stable"):
        manager.statuses(ModelSpec(name="ulim", version_label="stable"))


def test_a_reload_that_waits_for_a_load_gives_way_to_another(tmp_path, manage, models):
    publish(tmp_path / "ulim", "1")
    manager = manage(configured(tmp_path, ulim=""))
    assert manager.wait_until_available(10)
    models.gate.clear()
    publish(tmp_path / "toys", "1")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reload = pool.submit(manager.reload, configured(tmp_path, ulim="", toys=""))
        wait_until(lambda: states(manager, "toys") == {1: "LOADING"})
        manager.reload(configured(tmp_path, ulim=""))
        with pytest.raises(ServingError, match="another configuration is served by now"):
            reload.result(10)
    models.gate.set()
    wait_until(lambda: states(manager, "toys") == {1: "END"})


# Labels -------------------------------------------------------------------------------------------------------------

BOTH = "model_version_policy { all {} } "


def labels(**versions: int) -> str:
    return BOTH + " ".join(f'version_labels {{ key: "{label}" value: {version} }}'
                           for label, version in versions.items())


@pytest.fixture
def two_versions(tmp_path, manage):
    """A manager of versions 1 and 2."""
    for version in "12":
        publish(tmp_path / "ulim", version)
    manager = manage(configured(tmp_path, ulim=BOTH))
    wait_until(lambda: states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"})
    return manager


def test_a_label_names_a_version_and_moves(tmp_path, two_versions):
    two_versions.reload(configured(tmp_path, ulim=labels(stable=1, canary=2)))
    assert serving(two_versions, version_label="stable") == 1
    assert [status.version for status in two_versions.statuses(ModelSpec(name="ulim", version_label="canary"))] == [2]
    two_versions.reload(configured(tmp_path, ulim=labels(stable=2)))
    assert serving(two_versions, version_label="stable") == 2
    for label in ("canary", ""):
        with pytest.raises(ServingError, match=f"^Unrecognized servable version label: {label}$") as refused:
            two_versions.statuses(ModelSpec(name="ulim", version_label=label))
        assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("allowed", [False, True])
def test_a_label_that_is_in_use_moves_to_an_available_version_only(tmp_path, manage, models, allowed):
    publish(tmp_path / "ulim", "1")
    manager = manage(configured(tmp_path, ulim=BOTH), label_unavailable=allowed)
    assert manager.wait_until_available(10)
    manager.reload(configured(tmp_path, ulim=labels(stable=1)))
    with pytest.raises(ServingError) as refused:
        manager.reload(configured(tmp_path, ulim=labels(stable=3)))
    assert (refused.value.code, str(refused.value)) == (
        grpc.StatusCode.FAILED_PRECONDITION, "Request to assign label to version 3 of model ulim, which is not "
        "currently available for inference")
    assert serving(manager, version_label="stable") == 1


def test_a_new_label_may_come_before_its_version_where_that_is_allowed(tmp_path, manage):
    with pytest.raises(ServingError, match="Request to assign label to version 1"):
        manage(configured(tmp_path, ulim=labels(stable=1)))
    manager = manage(configured(tmp_path, ulim=labels(stable=1)), label_unavailable=True)
    assert serving(manager, version_label="stable") == 0
    publish(tmp_path / "ulim", "1")
    wait_until(lambda: serving(manager, version_label="stable") == 1)
