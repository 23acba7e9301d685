"""Runs made by hand, as far as a report reads them: small artifacts whose figures can be worked out."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from tests.serving.toy_servable import ToyServable
from tfx_pipeline.components.data_gate import report as gate
from tfx_pipeline.components.index_builder import index_facts
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.report.subject import Failure, Subject
from tfx_pipeline.run_summary import Run, Step

SUMMARY = {
    "events_rows_read": 1000, "events": 990, "users": 40, "items": 300, "categories": 12, "category_conflicts": 3,
    "events_rows_rejected": {"missing item_id": 8, "unreadable timestamp": 2}, "catalog_rows_read": 300,
    "catalog_rows_rejected": {}, "users_rows_read": 0, "users_rows_rejected": {}, "eval_users": 7,
    "first_time": 0, "cut_time": 86400, "last_time": 172800,
}
STATISTICS = """
datasets { name: "train" num_examples: 4
  features { path { step: "category_id" } type: STRING string_stats {
    common_stats { num_non_missing: 3 num_missing: 1 min_num_values: 1 max_num_values: 5 avg_num_values: 3
      tot_num_values: 9
      num_values_histogram { type: QUANTILES buckets { low_value: 1 high_value: 3 sample_count: 2 }
        buckets { low_value: 3 high_value: 5 sample_count: 1 } } }
    unique: 2
    rank_histogram { buckets { label: "<b>dairy</b>" sample_count: 6 } buckets { label: "bakery" sample_count: 3 } } } }
  features { path { step: "event_timestamp" } type: INT num_stats {
    common_stats { num_non_missing: 4 min_num_values: 2 max_num_values: 2 avg_num_values: 2 tot_num_values: 8 }
    mean: 86400 std_dev: 172800 num_zeros: 1 min: 0 median: 86400 max: 259200 } }
}
"""
ANOMALIES = """
anomaly_info { key: "category_id" value { short_description: "High drift" description: "0.4 is above 0.05" } }
drift_skew_info { path { step: "category_id" }
  drift_measurements { type: L_INFTY value: 0.4 threshold: 0.05 } }
"""
CHECKS = [
    gate.Check("category share", gate.PASS, 0.4, 0.9, 0.35, "data_gate.max_category_share",
               "no category is everything"),
    gate.Check("event rate", gate.WARN, 12.0, None, 20.0, None, "12 events a day after 20"),
]
VALIDATION = {"blessed": True, "checks": [
    {"name": "load", "seconds": 1.25, "faults": [], "told": "in 1.2 s", "passed": True},
    {"name": "latency", "seconds": 0.5, "faults": [], "told": "7 ms of 100", "passed": True}]}


def finished_run(folder: Path) -> Subject:
    """Every step finished and a version was pushed; the Evaluator's metrics are left to a test's patches."""
    examples, statistics, anomalies, gated, model_run, servable, evaluation, blessing, infra = (
        folder / name for name in ("examples", "statistics", "anomalies", "gate", "model_run", "servable",
                                   "evaluation", "blessing", "infra"))
    for one in (examples, gated, evaluation, blessing, infra):
        one.mkdir(parents=True)
    (examples / "ingest_summary.json").write_text(json.dumps(SUMMARY))
    (examples / "rejected.csv").write_text("file,row,reason,raw\n")
    _write_examples(examples / "Split-catalog", [{"catalog_item_id": [b"milk", b"bun", b"rye"],
                                                  "catalog_category_id": [b"dairy", b"bakery", b"bakery"]}])
    _write_examples(examples / "Split-eval", [_held_out(b"ann", [b"milk", b"bun", b"rye", b"milk"]),
                                              _held_out(b"bob", [b"bun"]), _held_out(b"eve", [b"unknown"])])
    _write(statistics / "Split-train" / "FeatureStats.pb",
           text_format.Parse(STATISTICS, statistics_pb2.DatasetFeatureStatisticsList()))
    _write(anomalies / "Split-train" / "SchemaDiff.pb", text_format.Parse(ANOMALIES, anomalies_pb2.Anomalies()))
    gate.write_report(gate.Report("an earlier gate", CHECKS), str(gated))
    (gated / "profile-train.json").write_text(gate.profile_as_text(gate.Profile(
        {"dairy": 60, "bakery": 30, "<i>odd": 10}, {1: 5, 10: 4, 99: 1}, {0: 40, 2: 60})))
    with tf.summary.create_file_writer(str(model_run)).as_default():
        for at, loss, recall in ((10, 5.0, 0.1), (20, 3.0, 0.3), (30, 4.0, 0.2)):
            tf.summary.scalar("loss", loss, at)
            tf.summary.scalar("validation_recall", recall, at)
    (model_run / "training.json").write_text(json.dumps(
        {"steps": 300, "trained_steps": 30, "weights_of_step": 20, "warm_start": True}))
    ToyServable(version=1).save(str(servable / "Format-Serving"))
    index_facts.write(index_facts.IndexFacts("scann", 300, 12, 3 * 2**20, 0.9971, 1.0, {"dairy": 0.96}), str(servable))
    (blessing / "BLESSED").touch()
    (infra / "INFRA_BLESSED").touch()
    (infra / "validation.json").write_text(json.dumps(VALIDATION))
    steps = [
        step("EventExampleGen", 12.0, examples=examples), step("StatisticsGen", 20.0, statistics=statistics),
        step("ExampleValidator", 0.5, anomalies=anomalies), step("DataGate", 1.0, gate=gated),
        step("Trainer", 100.0, model_run=model_run), step("IndexBuilder", 8.0, servable=servable),
        step("Evaluator", 30.0, evaluation=evaluation, blessing=blessing),
        step("ServableValidator", 6.0, blessing=infra),
        step("Pusher", 0.1, pushed=folder / "serving" / "ulim" / "1700000000"),
    ]
    return Subject(Run(steps), PipelineConfig(), folder / "report", folder / "rejected", failure=None)


def step(name: str, seconds: float = 1.0, pushed: Path | None = None, cached: bool = False, finished: bool = True,
         **outputs: Path) -> Step:
    """A step of a run."""
    return Step(name=name, cached=cached, finished=finished, seconds=seconds, outputs=outputs, pushed=pushed,
                properties={})


def failed_run(folder: Path, at: str, message: str) -> Subject:
    """The first step failed."""
    return Subject(Run([step(at, finished=False)]), PipelineConfig(), folder / "report", folder / "rejected",
                   Failure(at, message))


def _held_out(user: bytes, target: list[bytes]) -> dict[str, list]:
    return {"user_id": [user], "event_item_id": [b"milk", b"bun"], "event_timestamp": [10, 20], "event_rank": [0, 1],
            "event_basket_start": [0, 1], "target_item_id": target, "target_timestamp": [30]}


def _write_examples(folder: Path, examples: list[dict[str, list]]) -> None:
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
        for example in examples:
            built = tf.train.Example()
            for name, values in example.items():
                one = built.features.feature[name]
                (one.bytes_list if isinstance(values[0], bytes) else one.int64_list).value.extend(values)
            writer.write(built.SerializeToString())


def _write(file: Path, message) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(message.SerializeToString())
