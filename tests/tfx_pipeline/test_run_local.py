import json

import pytest
from tfx.orchestration import metadata

from tfx_pipeline import run_local


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "events.csv"
    file.write_text("user_id,item_id,category_id,timestamp\n" + "ann,milk,,86400\n" * 3)
    return file


@pytest.mark.parametrize(("flags", "message"), [
    (["--columns", "user_id"], "--columns takes STANDARD=NAME pairs joined by commas, got 'user_id'"),
    (["--columns", "buyer=household_id"], "the unknown standard name 'buyer'"),
    (["--catalog", "products.xlsx"], "products.xlsx"),
    (["--config", "nowhere.yaml"], "nowhere.yaml"),
    (["--train_steps", "0"], "TrainingConfig.steps must be at least 1, got 0"),
    (["--beam_pipeline_args=--direct_num_workers=2"], "Add --direct_running_mode=multi_processing"),
    (["--schema", "events.csv"], "--schema takes the text of a tensorflow_metadata Schema, or inferred"),
    (["--schema", "nowhere.pbtxt"], "--schema must name a file, or be inferred; there is no file nowhere.pbtxt"),
    (["--seed", "-1"], "TrainingConfig.seed must be at least 0, got -1"),
])
def test_wrong_arguments_are_told_before_anything_runs(log, tmp_path, capsys, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert run_local.main(["--events", str(log), "--workdir", str(tmp_path / "run"), *flags]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told
    assert not (tmp_path / "run").exists()


def test_a_log_that_is_not_there_is_told(tmp_path, capsys):
    assert run_local.main(["--events", str(tmp_path / "no*.csv"), "--workdir", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert "EventExampleGen failed" in told and "no*.csv" in told and "The full log is" in told


def test_a_machine_is_told_in_one_object(log, tmp_path, capsys):
    assert run_local.main(["--events", str(log), "--workdir", str(tmp_path / "run"), "--json"]) == 1
    told = capsys.readouterr()
    assert "missing category_id" in json.loads(told.out)["error"]
    assert told.err.startswith("[1/") and "error: EventExampleGen failed" in told.err


def test_a_log_without_a_valid_row_stops_the_run(log, tmp_path, capsys):
    assert run_local.main(["--events", str(log), "--workdir", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert "EventExampleGen failed" in told and "missing category_id" in told and "Nothing was pushed" in told
    assert not (tmp_path / "run" / "serving").exists()
    report = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "Failed at EventExampleGen" in report and "missing category_id" in report


def test_a_report_that_cannot_be_written_is_told_and_changes_nothing_else(log, tmp_path, capsys, monkeypatch):
    def broken(_):
        raise OSError("no space left")

    monkeypatch.setattr(run_local.report, "write", broken)
    assert run_local.main(["--events", str(log), "--workdir", str(tmp_path / "run")]) == 1
    told = capsys.readouterr()
    assert "no report: OSError: no space left" in told.out
    assert "EventExampleGen failed" in told.err and "missing category_id" in told.err


@pytest.mark.parametrize(("factors", "told"), [
    ([1000], "90 of 90 rows of the events files are malformed (100.0%)"),
    ([1, 1000, 10**6], "60 of 90 rows of the events files are malformed (66.7%)"),
])
def test_times_in_other_units_stop_the_run_before_training(tmp_path, capsys, factors, told):
    rows = [f"u{day % 3},i{day % 7},c{day % 2},{(18_000 + day) * 86400 * factors[day % len(factors)]}"
            for day in range(90)]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,category_id,timestamp", *rows]))
    assert run_local.main(["--events", str(tmp_path / "events.csv"), "--workdir", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "EventExampleGen failed" in error and told in error
    assert "in milliseconds? divide by 1000 for unix seconds" in error
    assert ("in microseconds? divide by 1000000 for unix seconds" in error) == (len(factors) == 3)
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(tmp_path / "run/metadata.sqlite"))) as store:
        assert [kind.name.rpartition(".")[2] for kind in store.store.get_execution_types()] == ["EventExampleGen"]


def test_columns_are_pairs():
    assert run_local.parse_columns("user_id=household_id, item_id=product_id") == {
        "user_id": "household_id", "item_id": "product_id"}
    assert run_local.parse_columns("") == {}
