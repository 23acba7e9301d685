"""What a ModelServerConfig may say, and a file of one that is followed."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import threading
import time

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.server import model_config
from serving.server.__main__ import main
from serving.server.config_file import ConfigFile
from serving.server.errors import ServingError

GOOD = 'name: "ulim" base_path: "/models/ulim" model_platform: "tensorflow"'


def listed(*models: str) -> str:
    return "model_config_list {" + "".join(f"config {{ {model} }}" for model in models) + "}"


def parsed(text: str) -> ModelServerConfig:
    return text_format.Parse(text, ModelServerConfig())


@pytest.mark.parametrize("text", [
    listed(),
    listed(GOOD, GOOD.replace("ulim", "toys")),
    listed('name: "ulim" base_path: "gs://bucket/ulim" model_type: TENSORFLOW'),
    listed(GOOD + 'model_version_policy { specific { versions: 1 } } version_labels { key: "stable" value: 1 }'),
])
def test_what_tf_serving_takes_is_taken(text):
    model_config.check(parsed(text))


@pytest.mark.parametrize(("text", "message"), [
    ("", "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
         "supported"),
    ("custom_model_config {}", "Only ModelConfigList is currently supported"),
    (listed(GOOD, GOOD), "Illegal to list model ulim multiple times in config list"),
    (listed(GOOD.replace("/models", "models")),
     "Expected model ulim to have an absolute path or URI; got base_path()=models/ulim"),
    (listed('name: "ulim" model_platform: "tensorflow"'), "have an absolute path or URI; got base_path()="),
    (listed(GOOD.replace('name: "ulim"', "")), "a model has no name; its base_path is '/models/ulim'"),
    (listed('name: "ulim" base_path: "/models/ulim"'), "Illegal setting neither ModelServerConfig::model_type"),
    (listed(GOOD + "model_type: TENSORFLOW"), "Illegal setting both ModelServerConfig::model_type"),
    (listed('name: "ulim" base_path: "/models/ulim" model_type: OTHER'),
     "ModelServerConfig::model_type choice 2 not supported."),
    (listed(GOOD.replace("tensorflow", "torch")), "Model ulim requests unsupported platform torch"),
    (listed(GOOD + "model_version_policy { specific {} }"), "policy of model ulim names no version"),
    (listed(GOOD + "logging_config {}"), "Remove logging_config of model ulim."),
])
def test_what_cannot_be_served_is_refused(text, message):
    with pytest.raises(ServingError) as refused:
        model_config.check(parsed(text))
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert message in str(refused.value)


def test_a_single_models_relative_path_is_taken_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_config.single_model("ulim", "runs/ulim") == parsed(
        listed(f'name: "ulim" base_path: "{tmp_path}/runs/ulim" model_platform: "tensorflow"'))


@pytest.mark.parametrize(("content", "message"), [
    (None, "cannot read the model config file "),
    (b"model_config_list { config { nmae: 1 } }", '1:30 : Message type "tensorflow.serving.ModelConfig" has no field '),
    (b"\xff\xfe", "Invalid protobuf file: "),
])
def test_a_file_that_is_none_is_refused_by_name(tmp_path, content, message):
    file = tmp_path / "models.config"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServingError) as refused:
        model_config.read(str(file))
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert message in str(refused.value) and str(file) in str(refused.value)


def test_a_file_is_served_at_every_reading_and_its_error_told_once(tmp_path, caplog):
    file = tmp_path / "models.config"
    served, enough = [], threading.Event()

    def write(text):  # in one step: a reading may come at any time
        (tmp_path / "aside").write_text(text)
        (tmp_path / "aside").rename(file)

    def reload(config):
        served.append(config.model_config_list.config[0].name)
        if len(served) == 2:
            write("{")
        if len(served) == 4:
            enough.set()

    write(listed(GOOD))
    following = ConfigFile(str(file), reload, 0.01)
    following.start()
    deadline = time.monotonic() + 10
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # some more readings of the bad file
    assert served == ["ulim", "ulim"]
    write(listed(GOOD.replace("ulim", "toys")))
    assert enough.wait(10)
    following.stop()
    assert served[:4] == ["ulim", "ulim", "toys", "toys"]
    [record] = caplog.records
    assert record.getMessage().startswith(f"The model config file {file} is not served: Invalid protobuf file: ")


def test_a_start_without_a_configuration_that_can_be_served_ends_with_one_line(tmp_path, capsys):
    file = tmp_path / "models.config"
    for text, message in ((listed(GOOD, GOOD), "Illegal to list model ulim multiple times in config list"),
                          (listed(GOOD + 'version_labels { key: "stable" value: 1 }'),
                           "Request to assign label to version 1 of model ulim, which is not currently available")):
        file.write_text(text)
        assert main([f"--model_config_file={file}", "--port=0"]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {message}")


@pytest.mark.parametrize(("flags", "message"), [
    (["--model_base_path=.", "--file_system_poll_wait_seconds=-1"], "must be 0 or more seconds, got -1"),
    (["--model_base_path=.", "--allow_version_labels_for_unavailable_models=perhaps"], "must be true or false, got"),
])
def test_flags_that_make_no_sense_are_refused(capsys, flags, message):
    with pytest.raises(SystemExit):
        main(flags)
    assert message in capsys.readouterr().err


def test_a_start_that_is_not_told_what_to_serve_says_so(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err == "error: --model_base_path or --model_config_file must say what to serve\n"
