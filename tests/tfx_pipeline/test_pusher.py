import json
import shutil
import threading
import time
from concurrent import futures
from pathlib import Path

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from serving import model_card
from tfx_pipeline.components.pusher import versions
from tfx_pipeline.components.pusher.executor import Executor
from tfx_pipeline.evaluation import results


def push_model(model: Path, base: Path, archive: Path, kept: int = 5, blessed: bool | None = None,
               evaluation: str = "") -> standard_artifacts.PushedModel:
    """Pushes the artifact of a model; gives the pushed artifact, whose folder is to be `archive`."""
    artifact, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
    artifact.uri, pushed.uri = str(model), str(archive)
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(base)))
    inputs = {"model": [artifact]}
    if blessed is not None:
        inputs["infra_blessing"] = [standard_artifacts.InfraBlessing()]
        inputs["infra_blessing"][0].set_int_custom_property("blessed", int(blessed))
    if evaluation:
        inputs["evaluation"] = [standard_artifacts.ModelEvaluation()]
        inputs["evaluation"][0].uri = evaluation
    Executor().Do(inputs, {"pushed_model": [pushed]}, {
        "push_destination": proto_utils.proto_to_json(destination),
        "custom_config": json.dumps({"versions_kept": kept})})
    return pushed


@pytest.fixture
def push(tmp_path):
    """Pushes a model of two files; gives the pushed artifact."""
    serving = tmp_path / "model" / "Format-Serving"
    (serving / "variables").mkdir(parents=True)
    (serving / "saved_model.pb").write_text("graph")
    (serving / "variables" / "variables.index").write_text("index")

    def run(kept=5, blessed=None):
        return push_model(tmp_path / "model", tmp_path / "base", tmp_path / "pushed", kept, blessed)

    return run


def there(base: Path) -> list[Path]:
    """All that a model base path holds but the file that locks it."""
    return [path for path in base.iterdir() if path.name != ".lock"]


def test_a_version_is_whole_and_known_to_the_artifact(push, tmp_path):
    pushed = push()
    [version] = there(tmp_path / "base")
    assert version.name.isdecimal()
    assert (version / "saved_model.pb").read_text() == "graph"
    assert (version / "variables" / "variables.index").read_text() == "index"
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert pushed.get_int_custom_property("pushed") == 1
    assert list((tmp_path / "pushed").iterdir()) == []  # no second copy


def test_two_pushes_of_one_second_are_two_versions(push, tmp_path):
    versions = {push().get_string_custom_property("pushed_version") for _ in range(2)}
    assert {version.name for version in there(tmp_path / "base")} == versions and len(versions) == 2


def test_other_servables_are_pushed_beside_under_the_same_number(push, tmp_path):
    other = tmp_path / "model" / "servables" / "ulim_gpu"
    other.mkdir(parents=True)
    (other / "saved_model.pb").write_text("stock graph")
    assert push(blessed=False) and not (tmp_path / "ulim_gpu").exists()
    for _ in range(3):
        pushed = push(kept=2)
        assert (tmp_path / "ulim_gpu" / pushed.get_string_custom_property("pushed_version") /
                "saved_model.pb").read_text() == "stock graph"
    assert ({path.name for path in (tmp_path / "ulim_gpu").iterdir()}
            == {path.name for path in (tmp_path / "base").iterdir()})


def test_what_was_measured_is_in_the_cards_of_what_is_pushed(push, tmp_path, monkeypatch):
    measured = {"all": {"recall@20": 0.25, "recall_over_popular@20": 1.5, "users": 1234.0}, "head categories": {}}
    monkeypatch.setattr(results, "read_metrics", {"memory://evaluation": measured}.__getitem__)
    folders = [tmp_path / "model" / "Format-Serving", tmp_path / "model" / "servables" / "ulim_gpu"]
    for folder in folders:
        (folder / "assets.extra").mkdir(parents=True)
        (folder / "assets.extra" / "model_card.md").write_text(f"# Card\n\n{model_card.NOT_MEASURED}\n## Versions\n")
    version = push_model(tmp_path / "model", tmp_path / "base", tmp_path / "pushed",
                         evaluation="memory://evaluation").get_string_custom_property("pushed_version")
    for base in ("base", "ulim_gpu"):
        assert (tmp_path / base / version / "assets.extra" / "model_card.md").read_text() == (
            "# Card\n\nMeans over the held-out users, who asked this servable.\n\n| | |\n|---|---|\n"
            "| recall@20 | 0.2500 |\n| recall_over_popular@20 | 1.5000 |\n| users | 1,234 |\n\n## Versions\n")
    for folder in folders:  # the artifact is another's
        assert model_card.NOT_MEASURED in (folder / "assets.extra" / "model_card.md").read_text()


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
    assert [path.name for path in there(tmp_path / "base")] == [
        pushed.get_string_custom_property("pushed_version")]


def test_a_servable_that_is_not_blessed_is_not_pushed(push, tmp_path):
    pushed = push(blessed=False)
    assert there(tmp_path / "base") == [] and pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_destination")
    assert push(blessed=True).get_int_custom_property("pushed") == 1


def test_the_newest_versions_stay_and_the_new_one_is_the_newest_of_them(push, tmp_path):
    """Numbers that a clock has not reached yet are followed, or the new version would not be served."""
    for number in (2, 3, 9_999_999_998, 10):
        shutil.copytree(tmp_path / "model" / "Format-Serving", tmp_path / "base" / str(number))
    (tmp_path / "base" / "notes").mkdir()
    pushed = push(kept=3)
    assert pushed.get_string_custom_property("pushed_version") == "9999999999"
    assert {path.name for path in there(tmp_path / "base")} == {"10", "9999999998", "9999999999", "notes"}
    assert {path.name for path in there(push(kept=1) and tmp_path / "base")} == {"10000000000", "notes"}


def test_a_reader_never_sees_half_a_version(tmp_path):
    """A reader reads the newest and the oldest version over and over, while versions come, come back and go."""
    parts = {f"variables/part-{part}": bytes([part]) * 1000 for part in range(20)} | {"saved_model.pb": b"graph"}
    base, done, seen, halves = tmp_path / "base", threading.Event(), set(), []

    def read_over_and_over() -> None:
        while not done.is_set():
            there = versions.numbers(str(base))
            for number in {*there[:1], *there[-1:]}:
                folder = Path(versions.folder_of(str(base), number))
                found = {}
                for name in parts:
                    try:
                        found[name] = (folder / name).read_bytes()
                    except FileNotFoundError:
                        if folder.exists():
                            halves.append(f"{folder.name} has no {name}")
                        break
                else:
                    seen.add(number)
                    halves.extend(f"{folder.name}/{name} is {len(found[name])} bytes" for name in parts
                                  if found[name] != parts[name])

    reader = threading.Thread(target=read_over_and_over)
    reader.start()
    try:
        for number in range(150):
            for name, content in parts.items():
                file = tmp_path / f"model-{number}" / "Format-Serving" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            push_model(tmp_path / f"model-{number}", base, tmp_path / "pushed", kept=3)
            if number % 5 == 4:
                versions.publish_again(str(base), versions.numbers(str(base))[-1])
    finally:
        done.set()
        reader.join()
    assert not halves
    assert len(seen) > 20 and all(path.name.isdecimal() for path in there(base))


def write_model(folder: Path, name: str) -> Path:
    (folder / name / "Format-Serving").mkdir(parents=True)
    for file in ("saved_model.pb", "variables"):
        (folder / name / "Format-Serving" / file).write_text(name)
    return folder / name


def test_pushes_at_the_same_time_come_one_after_the_other(tmp_path):
    """Each of four pushes and publishes again, and none removes what another has not finished."""
    base = str(tmp_path / "base")
    with futures.ThreadPoolExecutor(4) as pool:
        pushed = list(pool.map(_push_often, [tmp_path / f"pusher {one}" for one in range(4)], [base] * 4))
    numbers = [number for of_one in pushed for number in of_one]
    assert sorted(numbers, reverse=True) == versions.numbers(base) and len(set(numbers)) == 4 * 10 * 2
    for number in numbers:
        folder = Path(versions.folder_of(base, number))
        assert (folder / "saved_model.pb").read_text() == (folder / "variables").read_text()
    assert sorted(path.name for path in there(Path(base))) == sorted(map(str, numbers))


def _push_often(folder: Path, base: str) -> list[int]:
    made = []
    for one in range(10):
        pushed = push_model(write_model(folder, f"model {one}"), Path(base), folder / "pushed", kept=1000)
        made.append(pushed.get_string_custom_property("pushed_destination"))
        made.append(versions.publish_again(base, int(Path(made[-1]).name)))
    return [int(Path(version).name) for version in made]


def test_a_push_that_finds_another_says_so_and_waits(push, tmp_path, capsys):
    base = tmp_path / "base"
    with versions.changed_alone(str(base)):
        unfinished = versions.make_room(str(base))
        second = threading.Thread(target=push)
        second.start()
        told, until = "", time.monotonic() + 60
        while not told and time.monotonic() < until:
            told = capsys.readouterr().out
            time.sleep(0.01)
        assert told == f"    waits until another push to {base} is done\n"
        assert versions.numbers(str(base)) == [] and Path(unfinished).is_dir()
    second.join(60)
    assert len(versions.numbers(str(base))) == 1 and not Path(unfinished).exists()
