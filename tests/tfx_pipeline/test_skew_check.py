"""Logged requests against a run that is written by hand: its examples' catalogue and its gate's profile."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import pytest
import tensorflow as tf

from serving.client import History, encode_items_request, predict_request
from serving.client.messages import PredictResponse
from serving.client.request_log import RequestLog
from tests.serving.test_histories import example
from tests.tfx_pipeline.recorded_runs import Step, record
from tfx_pipeline import skew_check
from tfx_pipeline.components.data_gate import report, rules
from tfx_pipeline.components.data_gate.report import PASS, STOP, Profile
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.config import DataGateConfig
from ulim_tf.config import FeaturesConfig

DAY = 86_400
END = 18_000  # days since 1970
# Each of 10 users bought tea and milk on each of the last ten days.
TRAIN = Profile({"drinks": 100, "dairy": 100}, {20: 10}, {END - age: 20 for age in range(10)})


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    examples, gate = folder / "examples", folder / "gate"
    (examples / "Split-catalog").mkdir(parents=True)
    gate.mkdir()
    with tf.io.TFRecordWriter(str(examples / "Split-catalog" / "data_tfrecord-0.gz"), "GZIP") as writer:
        writer.write(example(catalog_item_id=[b"tea", b"milk", "käse".encode()],
                             catalog_category_id=[b"drinks", b"dairy", b"dairy"]))
    (gate / report.profile_file("train")).write_text(report.profile_as_text(TRAIN))
    configured = {"custom_config": EventExampleGen("events.csv", features_config=FeaturesConfig()).exec_properties[
        "custom_config"]}
    record(folder, {"EventExampleGen": Step({"examples": examples}, configured), "DataGate": Step({"gate": gate})})
    return folder


def history(items=("tea", "milk"), days=10, unit=1, now=0) -> History:
    """Some items on each of the last days."""
    return History([item for _ in range(days) for item in items],
                   [(END - age) * DAY // unit for age in range(days) for _ in items], now)


def logged(tmp_path, *histories: History) -> str:
    with RequestLog(f"{tmp_path}/logs/asked", rate=1) as log:
        for place, one in enumerate(histories):
            signature = ("serving_default", "retrieve", "predict_category")[place % 3]
            log.offer(predict_request([one], signature), PredictResponse())
        log.offer(encode_items_request(["tea"]), PredictResponse())
    return f"{tmp_path}/logs/*.tfrecord"


def run(workdir, requests: str, *flags: str) -> int:
    return skew_check.main(["--requests", requests, "--workdir", str(workdir), *flags])


def test_the_same_users_are_no_skew(workdir, tmp_path, capsys):
    assert run(workdir, logged(tmp_path, *[history()] * 120, *[History()] * 50)) == 0
    told = capsys.readouterr()
    assert told.err == "" and {line.split()[0] for line in told.out.splitlines()} == {"pass"}
    assert "age of events, the median: the median of the events that are sent is from 5 days before" in told.out


@pytest.mark.parametrize(("served", "broken"), [
    (history(items=("tea", "tea", "tea", "milk")), {"category skew"}),  # 3/4 to 1/4 against halves: .0488, and below
    (history(items=("tea", "tea")), {"category skew", "number of categories", "largest category"}),
    (history(days=4), {"history length, the median", "history length, the 90th percentile", "age of events, the median",
                       "age of events, the 90th percentile"}),
    (history(now=(END + 60) * DAY), {"age of events, the median", "age of events, the 90th percentile"}),
    (history(items=("tea", "milk", "gone")), {"unknown items"}),
    (history(items=("gone",)), {"unknown items"}),
    # Days since 1970 instead of seconds: all on one day, in January 1970.
    (history(unit=DAY), {"early events", "age of events, the median", "age of events, the 90th percentile"}),
])
def test_each_difference_is_found_by_its_rule(workdir, tmp_path, capsys, served, broken):
    code = run(workdir, logged(tmp_path, *[served] * 100), "--config", lower_bound(tmp_path))
    told = capsys.readouterr()
    assert {line[6:].partition(":")[0] for line in told.out.splitlines() if line.startswith("stop")} == broken
    assert code == 3
    assert told.err.startswith("beyond the bound: ") and all(rule in told.err for rule in broken)


def lower_bound(tmp_path) -> str:
    (tmp_path / "config.yaml").write_text("data_gate: {max_skew_divergence: 0.04}\n")
    return str(tmp_path / "config.yaml")


def test_bounds_are_the_data_gates_settings(workdir, tmp_path):
    requests = logged(tmp_path, *[history(items=("tea", "tea", "tea", "milk"))] * 100)
    assert run(workdir, requests) == 0
    assert run(workdir, requests, "--config", lower_bound(tmp_path)) == 3


def test_what_is_counted():
    # 36 hours before the request is two midnights before it; a time after the request has age 0.
    served = skew_check.count(
        [History(["tea", "milk", "?"], [0, DAY, 3 * DAY], now=int(1.5 * DAY)), History(["tea"], [5 * DAY]), History()],
        {b"tea": b"drinks", b"milk": b"dairy"})
    assert served == (Profile({"drinks": 2, "dairy": 1}, {3: 1, 1: 1}, {0: 1, 1: 1, 3: 1, 5: 1}), {1: 1, 0: 3}, 1)


def test_served_rules_measure_against_training():
    served = Profile({"drinks": 3, "dairy": 1}, {4: 1}, {END: 4})
    checks = {one.rule: one for one in rules.served_checks(served, {0: 4}, 0, TRAIN, DataGateConfig())}
    # Shares (3/4, 1/4) and (1/2, 1/2), middle (5/8, 3/8):
    # (.75 log2(1.2) + .25 log2(2/3) + .5 log2(.8) + .5 log2(4/3)) / 2
    assert checks["category skew"].value == pytest.approx(0.048794, abs=1e-6)
    assert checks["category skew"].verdict == PASS
    assert checks["history length, the median"][1:5] == (STOP, 4, 2.0, 20)
    # One day, the request's own, against the fifth of ten and the ninth.
    assert checks["age of events, the median"][1:5] == (STOP, 1, 2.0, 5)
    assert checks["age of events, the 90th percentile"][1:5] == (STOP, 1, 2.0, 9)


@pytest.mark.parametrize(("files", "where", "message"), [
    (None, None, "--requests must name at least one file, got '"),
    (0, None, "--requests must hold at least 100 histories with events, for fewer differ by chance; '"),
    (0, "nowhere", "--workdir must be one that run_local worked in, but "),
])
def test_a_wrong_argument_is_told_in_one_line(workdir, tmp_path, capsys, files, where, message):
    requests = logged(tmp_path, *[history()] * 99) if files == 0 else f"{tmp_path}/none-*"
    assert run(tmp_path / where if where else workdir, requests) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
