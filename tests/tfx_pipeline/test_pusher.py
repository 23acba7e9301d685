import shutil

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from tfx_pipeline.components.pusher.executor import Executor


@pytest.fixture
def push(tmp_path):
    """Pushes a model of two files; gives the pushed artifact."""
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    serving = tmp_path / "model" / "Format-Serving"
    (serving / "variables").mkdir(parents=True)
    (serving / "saved_model.pb").write_text("graph")
    (serving / "variables" / "variables.index").write_text("index")

    def run():
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        shutil.rmtree(pushed.uri, ignore_errors=True)
        destination = pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "base")))
        Executor().Do({"model": [model]}, {"pushed_model": [pushed]},
                      {"push_destination": proto_utils.proto_to_json(destination)})
        return pushed

    return run


def test_a_version_is_whole_and_known_to_the_artifact(push, tmp_path):
    pushed = push()
    [version] = (tmp_path / "base").iterdir()
    assert version.name.isdecimal()
    assert (version / "saved_model.pb").read_text() == "graph"
    assert (version / "variables" / "variables.index").read_text() == "index"
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert pushed.get_int_custom_property("pushed") == 1


def test_two_pushes_of_one_second_are_two_versions(push, tmp_path):
    versions = {push().get_string_custom_property("pushed_version") for _ in range(2)}
    assert {version.name for version in (tmp_path / "base").iterdir()} == versions and len(versions) == 2


def test_an_interrupted_push_leaves_no_version_and_the_next_one_tidies_up(push, tmp_path, monkeypatch):
    def copy_half(source, target, **_):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("variables"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(io_utils, "copy_dir", copy_half)
        with pytest.raises(KeyboardInterrupt):
            push()
    assert [path.name for path in (tmp_path / "base").iterdir() if path.name.isdecimal()] == []
    pushed = push()
    assert [path.name for path in (tmp_path / "base").iterdir()] == [
        pushed.get_string_custom_property("pushed_version")]
