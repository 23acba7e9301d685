"""The command on a work directory of four users and two servables whose answers are known, figures by hand."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
import re
import shutil
from pathlib import Path

import pytest
from google.protobuf import json_format

from tests.serving.toy_servable import ToyServable
from tests.tfx_pipeline.evaluation import toy_log
from tests.tfx_pipeline.recorded_runs import COMPLETE, FAILED, Step, record
from tfx_pipeline import evaluate_only
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation.eval_config import make_eval_config
from ulim_tf import config as settings

CONFIG = "{retrieval: {results: 3, categories: 5}, evaluation: {at: 2}}"
DAY = 86_400
# The newest event is of day 101, so day 73 is the cut. Ann's next basket is found, bob's is not.
LOG = [("ann", "milk", "dairy", 1), ("ann", "milk", "dairy", 100), ("bob", "bread", "bakery", 2),
       ("bob", "soap", "care", 101), ("cid", "soap", "care", 3)]


def steps(workdir: Path, state: int = COMPLETE) -> dict[str, Step]:
    """What a run of run_local leaves of its ingest and of its Evaluator."""
    config = settings.from_dict(PipelineConfig, {"retrieval": {"results": 3, "categories": 5}, "evaluation": {"at": 2}})
    return {
        "EventExampleGen": Step({"examples": workdir / "pipeline" / "examples"}, {
            "custom_config": EventExampleGen("events.csv").exec_properties["custom_config"]}, state),
        "Evaluator": Step({"evaluation": workdir / "pipeline" / "evaluation"}, {
            "eval_config": json_format.MessageToJson(make_eval_config(config), preserving_proto_field_name=True)},
            state)}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The older version, 3, finds less than the newest, 20: see `toy_log.py`."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "pipeline" / "examples").mkdir(parents=True)
    toy_log.write_examples(folder / "pipeline" / "examples")
    for version, number in ((1, 20), (2, 3)):
        ToyServable(version).save(str(folder / "serving" / "ulim" / str(number)))
    record(folder, steps(folder))
    return folder


@pytest.fixture
def run(workdir, capsys):
    """Runs the command; gives the exit code, what it printed, and the new folder of results if there is one."""
    before = set(workdir.glob("evaluations/*")), {
        path: path.stat().st_mtime_ns for path in (*workdir.glob("serving/ulim/*"), workdir / "metadata.sqlite")}

    def command(*flags: str) -> tuple[int, str, str, list[Path]]:
        code = evaluate_only.main(["--workdir", str(workdir), *flags])
        told = capsys.readouterr()
        return code, told.out, told.err, sorted(set(workdir.glob("evaluations/*")) - before[0])

    yield command
    assert {path: path.stat().st_mtime_ns
            for path in (*workdir.glob("serving/ulim/*"), workdir / "metadata.sqlite")} == before[1]


def test_the_newest_servable_on_the_held_out_users_of_the_newest_run(run, workdir):
    code, told, _, [folder] = run()
    assert code == 0 and folder.name.endswith("-of-20")
    lines = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.strip()}
    assert lines["users"] == ["3", "2", "1", "-", "-"]  # all, two lengths of histories, head and tail categories
    assert lines["recall@2"] == ["0.5556", "0.8333", "0.0000", "0.5000", "0.7500"]
    assert lines["popular_recall@2"][0] == "0.4444"
    assert "Recall@2 0.5556, at least 0.4444 demanded, no servable blessed before: blessed" in told
    assert "[1/1] Evaluator\n" in told and told.endswith(f"results: {folder}\n")
    written = json.loads((folder / "metrics.json").read_text())
    assert written["metrics"]["all"]["recall@2"] == pytest.approx(5 / 9) and written["passed"]
    assert written["servable"] == str(workdir / "serving" / "ulim" / "20") and written["reasons"] == []


def test_another_version_under_other_demands(run, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG.replace("at: 2", "at: 2, least_recall: 0.5"))
    code, told, error, [folder] = run("--version", "3", "--config", str(tmp_path / "config.yaml"), "--json")
    assert code == 3 and folder.name.endswith("-of-3")
    reason = "Recall@2 0.4444 is less than evaluation.least_recall, 0.5"
    assert error == f"[1/1] Evaluator\nnot passed: {reason}\n"
    written = json.loads((folder / "metrics.json").read_text())
    assert json.loads(told) == {"folder": str(folder), **written}
    assert written["reasons"] == [reason]
    assert not written["passed"] and written["metrics"]["all"]["recall@2"] == pytest.approx(4 / 9)


def test_another_log(run, workdir, tmp_path):
    (tmp_path / "log.csv").write_text("buyer,item_id,category_id,timestamp\n" + "".join(
        f"{user},{item},{category},{day * DAY}\n" for user, item, category, day in LOG))
    code, told, _, [folder] = run("--servable", str(workdir / "serving" / "ulim" / "20"), "--events",
                                  str(tmp_path / "log.csv"), "--columns", "user_id=buyer")
    assert code == 0 and "[1/2] EventExampleGen\n[2/2] Evaluator\n" in told
    assert "5 of 5 rows kept, 3 users, 3 items, 3 categories; 2 users held out" in told
    found = json.loads((folder / "metrics.json").read_text())["metrics"]["all"]
    assert (found["users"], found["recall@2"]) == (2, 0.5)
    assert found["popular_recall@2"] == 0.5  # bread and milk, of three with one event each


def test_a_log_that_cannot_be_read_is_told(run, tmp_path):
    code, _, error, [folder] = run("--events", str(tmp_path / "no.csv"))
    assert code == 1 and error.startswith("error: EventExampleGen failed: ") and "no.csv" in error
    assert error.endswith(f"The full log is {folder / 'evaluation.log'}.\n") and (folder / "evaluation.log").is_file()


@pytest.mark.parametrize(("flags", "message"), [
    (["--version", "4"], "--version must be one of .*/serving/ulim, got 4; it has 20, 3. More are kept with"),
    (["--servable", "/nowhere"], "--servable must be a folder with a saved_model.pb, got /nowhere. Name one of"),
    (["--catalog", "items.csv"], "--catalog, --users and --columns say how --events is to be read, got no --events"),
    (["--events", "log.xlsx"], "log.xlsx"),
    (["--events", "log.csv", "--columns", "user_id"], "--columns takes STANDARD=NAME pairs"),
    (["--config", "nowhere.yaml"], "nowhere.yaml"),
    (["--beam_pipeline_args=--direct_num_workers=2"], "Add --direct_running_mode=multi_processing")])
def test_wrong_arguments_are_told_and_nothing_is_written(run, flags, message):
    code, _, error, folders = run(*flags)
    assert code == 2 and error.startswith("error: ") and folders == [] and re.search(message, error)


def test_work_directories_without_a_run_are_told(workdir, tmp_path, capsys):
    def told() -> str:
        assert evaluate_only.main(["--workdir", str(tmp_path)]) == 2
        assert not (tmp_path / "evaluations").exists()
        return capsys.readouterr().err

    assert "has no version. Give the --workdir of a finished" in told()
    shutil.copytree(workdir / "serving", tmp_path / "serving")
    assert f"{tmp_path} has no metadata.sqlite. Give the --workdir" in told()
    record(tmp_path, steps(tmp_path, FAILED))
    assert f"no Evaluator of {tmp_path} ever finished" in told()
    record(tmp_path, steps(tmp_path))
    assert f"{tmp_path}/pipeline/examples is gone. Was {tmp_path} moved or cleaned?" in told()
