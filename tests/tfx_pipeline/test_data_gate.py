"""The gate in the pipeline, over small generated logs that come one after the other."""

import csv
import os

import numpy as np
import pytest
from tensorflow_transform.tf_metadata import schema_utils
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import RunOptions
from tfx.utils import io_utils

from tfx_pipeline import run_summary
from tfx_pipeline.components.data_gate import report
from tfx_pipeline.config import DataGateConfig, IngestConfig, PipelineConfig
from tfx_pipeline.pipeline import create_pipeline
from ulim_tf import features

import tensorflow as tf  # isort: skip  after tfx_pipeline, which selects Keras 2

pytestmark = pytest.mark.e2e

DAY = 86400
START = 18_000 * DAY  # 2019-04-14


def write_log(path, days, shares=(4, 3, 2, 1), unset_clocks=0.0):
    """Writes a log of 30 users who buy once a day; the categories a, b, c, d have parts of the events."""
    draw = np.random.default_rng(1)
    rows = [[f"u{user}", f"{category}{draw.integers(5)}", category,
             DAY if draw.random() < unset_clocks else START + day * DAY]
            for day in range(days)
            for user, category in enumerate(draw.choice(list("abcd"), 30, p=np.array(shares) / sum(shares)))]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["user_id", "item_id", "category_id", "timestamp"], *rows])
    return path


class Runs:
    """Runs of the pipeline over one log file that changes, in one folder."""

    def __init__(self, directory):
        self.directory, self.events = directory, directory / "log/events.csv"
        self.store = metadata.sqlite_metadata_connection_config(str(directory / "metadata.sqlite"))

    def run(self, to="DataGate", **gate):
        """Runs the steps that `to` needs, or the whole pipeline if that is None; returns the run."""
        config = PipelineConfig(ingest=IngestConfig(holdout_days=5), data_gate=DataGateConfig(**gate))
        pipeline = create_pipeline(
            events=str(self.events), catalog=None, users=None, columns={}, root=self.directory / "root",
            serving=self.directory / "serving", rejected=self.directory / "rejected", config=config,
            metadata=self.store)
        LocalDagRunner().run(pipeline, to and RunOptions(to_nodes=[to]))
        return run_summary.read(self.store)

    def stopped(self, message, **gate):
        """Runs the whole pipeline, whose gate must stop it with this message; returns the message."""
        with pytest.raises(RuntimeError, match=message) as error:
            self.run(to=None, **gate)
        steps = run_summary.read(self.store).steps
        assert [step.name for step in steps] == [
            "EventExampleGen", "ImportSchemaGen", "StatisticsGen", "ExampleValidator", "DataGate"]
        assert not steps[-1].finished and not (self.directory / "serving").exists()
        return str(error.value)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that pass: sixty days, and the same with three more."""
    runs = Runs(tmp_path_factory.mktemp("gate"))
    write_log(runs.events, 60)
    first = runs.run()
    write_log(runs.events, 63)
    runs.passed = [first, runs.run()]
    return runs


def gate(run):
    return report.read_report(str(run.steps[-1].outputs["gate"]))


def test_a_first_run_is_held_against_the_absolute_rules_and_the_next_against_it(runs):
    first, second = runs.passed
    assert gate(first).baseline is None and gate(second).baseline == str(first.steps[-1].outputs["gate"])
    assert {check.verdict for run in runs.passed for check in gate(run).checks} == {report.PASS}
    compared = {check.rule: check.value for check in gate(second).checks}
    # 30 users buy once a day on days 0 to 62; the cut is five days before the last, at day 57.
    assert compared["history length, the median"] == 57 and compared["categories kept"] == 1
    assert compared["event rate"] == pytest.approx(30, abs=0.1)
    assert "compared with an earlier run" in run_summary.table(second)


def test_the_passed_schema_has_the_features_of_the_run_alone(runs):
    schema = io_utils.SchemaReader().read(str(runs.passed[0].steps[-1].outputs["passed_schema"] / "schema.pbtxt"))
    assert {feature.name for feature in schema.feature} == {*features.BYTES, *features.INTEGERS}
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    assert all(isinstance(feature, tf.io.VarLenFeature) for feature in spec.values())


def test_what_is_wrong_stops_the_run_and_leaves_the_baseline_alone(runs):
    before = runs.events.read_bytes(), runs.events.stat()
    write_log(runs.events, 64, shares=(1, 2, 3, 4))
    told = runs.stopped("the data gate stopped the run before training: 1 of 16 checks failed")
    assert "category drift" in told and "'a' from 4" in told and "data_gate.max_category_divergence = 0.05" in told
    assert "raise the setting named, for one run" in told
    [kept] = report.read_report(str(runs.directory / "rejected")).of(report.STOP)
    assert kept.rule == "category drift" and kept.value > 0.1

    write_log(runs.events, 64, shares=(97, 1, 1, 1))
    told = runs.stopped(r"'a' has 9\d\.\d% of all events \(data_gate\.max_category_share = 0\.9\)")
    assert "category drift" in told

    write_log(runs.events, 64, unset_clocks=0.2)
    told = runs.stopped(r"[12]\d\.\d% of the events are from before 1990 .*, the oldest of 1970-01-02")
    assert "are the timestamps unix seconds?" in told

    runs.events.write_bytes(before[0])
    os.utime(runs.events, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    rerun = runs.run()
    assert all(step.cached for step in rerun.steps)
    assert rerun.steps[-1].outputs == runs.passed[1].steps[-1].outputs
