"""Counts the examples, applies the rules and stops the run or writes what lets it go on."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import types
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils
from tfx_bsl.tfxio import tf_example_record

from tfx_pipeline.components.data_gate import report, rules
from tfx_pipeline.components.data_gate.report import Check, Profile, Report
from tfx_pipeline.components.event_example_gen.executor import SUMMARY_FILE
from tfx_pipeline.config import DataGateConfig
from ulim_tf import features
from ulim_tf.sequences import DAY_SECONDS

EXAMPLES, STATISTICS, SCHEMA, ANOMALIES, BASELINE = "examples", "statistics", "schema", "anomalies", "baseline"
PASSED_SCHEMA, GATE, CONFIG, KEPT_DIR = "passed_schema", "gate", "config", "kept_dir"

_SCHEMA_FILE = "schema.pbtxt"
_COMPARATORS = (anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
                anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH)
_COUNTED = schema_pb2.Schema(feature=[
    schema_pb2.Feature(name=features.CATEGORY, type=schema_pb2.BYTES),
    schema_pb2.Feature(name=features.CATEGORY_LENGTH, type=schema_pb2.INT),
    schema_pb2.Feature(name=features.EVENT_TIMESTAMP, type=schema_pb2.INT),
])


class Executor(base_beam_executor.BaseBeamExecutor):
    """See `DataGate`."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """Checks the run's data.

        Raises:
            RuntimeError: a rule is broken; its report is kept in `kept_dir`.
        """
        config = DataGateConfig(**json.loads(exec_properties[CONFIG]))
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES])
        statistics = artifact_utils.get_single_instance(input_dict[STATISTICS])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict[SCHEMA])))
        baseline = input_dict[BASELINE][0].uri if input_dict.get(BASELINE) else None
        gate = artifact_utils.get_single_uri(output_dict[GATE])

        self._write_profiles(examples, gate)
        profiles = {split: report.read_profile(gate, split) for split in (features.SPLIT_TRAIN, features.SPLIT_EVAL)}
        train, held_out = (stats_artifact_utils.load_statistics(statistics, split).proto()
                           for split in (features.SPLIT_TRAIN, features.SPLIT_EVAL))
        with fileio.open(os.path.join(examples.uri, SUMMARY_FILE)) as file:
            summary = json.load(file)
        checks = [
            *_validated(artifact_utils.get_single_instance(input_dict[ANOMALIES])),
            *rules.absolute_checks(profiles[features.SPLIT_TRAIN], config),
            *rules.skew_checks(profiles[features.SPLIT_TRAIN], profiles[features.SPLIT_EVAL], config),
            *rules.anomaly_checks(
                _compared(train, schema, serving_statistics=held_out), "train against eval", report.WARN),
            *rules.ingest_checks(summary, config),
        ]
        if baseline:
            previous = report.read_profile(baseline, features.SPLIT_TRAIN)
            previous_statistics = tfdv.load_stats_binary(os.path.join(baseline, report.STATISTICS_FILE))
            checks += rules.drift_checks(profiles[features.SPLIT_TRAIN], previous, config)
            checks += rules.anomaly_checks(
                _compared(train, schema, previous_statistics=previous_statistics), "against the earlier run")
        found = Report(baseline, checks)
        _stop_if_broken(found, exec_properties[KEPT_DIR])

        report.write_report(found, gate)
        io_utils.write_bytes_file(os.path.join(gate, report.STATISTICS_FILE), train.SerializeToString())
        io_utils.write_pbtxt_file(
            os.path.join(artifact_utils.get_single_uri(output_dict[PASSED_SCHEMA]), _SCHEMA_FILE),
            _without_absent(schema, train))

    def _write_profiles(self, examples: types.Artifact, gate: str) -> None:
        """Writes the profiles of the splits train and eval."""
        with self._make_beam_pipeline() as pipeline:
            for split in (features.SPLIT_TRAIN, features.SPLIT_EVAL):
                pattern = os.path.join(artifact_utils.get_split_uri([examples], split), "*")
                (pipeline
                 | f"Read[{split}]" >> tf_example_record.TFExampleRecord(pattern, schema=_COUNTED).BeamSource()
                 | f"Count[{split}]" >> beam.Map(profile_of)
                 | f"Sum[{split}]" >> beam.CombineGlobally(merge_profiles)
                 | f"Text[{split}]" >> beam.Map(report.profile_as_text)
                 | f"Write[{split}]" >> beam.io.WriteToText(
                     os.path.join(gate, report.profile_file(split)), num_shards=1, shard_name_template=""))


def profile_of(batch: pa.RecordBatch) -> Profile:
    """The profile of some users.

    Args:
        batch: has category_id bytes [B, N], category_length int64 [B, N] and event_timestamp int64 [B, L], as lists.
    """
    columns = {name: batch.column(batch.schema.get_field_index(name)) for name in batch.schema.names}
    encoded = columns[features.CATEGORY].flatten().dictionary_encode()
    events = np.bincount(encoded.indices.to_numpy(zero_copy_only=False),
                         columns[features.CATEGORY_LENGTH].flatten().to_numpy(zero_copy_only=False),
                         len(encoded.dictionary))
    names = encoded.dictionary.cast(pa.string()).to_pylist()
    length = pc.list_value_length(columns[features.EVENT_TIMESTAMP]).to_numpy(zero_copy_only=False)
    day = columns[features.EVENT_TIMESTAMP].flatten().to_numpy(zero_copy_only=False) // DAY_SECONDS
    return Profile(dict(zip(names, events.astype(np.int64).tolist())), _count(length), _count(day))


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """The profile of all users of some profiles."""
    categories: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    days: Counter[int] = Counter()
    for profile in profiles:
        categories.update(profile.category_events)
        lengths.update(profile.history_users)
        days.update(profile.day_events)
    return Profile(categories, lengths, days)


def _count(values: np.ndarray) -> dict[int, int]:
    value, count = np.unique(values, return_counts=True)
    return dict(zip(value.tolist(), count.tolist()))


def _validated(anomalies: types.Artifact) -> list[Check]:
    """What ExampleValidator found."""
    return [
        check
        for split in artifact_utils.decode_split_names(anomalies.split_names)
        for check in rules.anomaly_checks(_read_anomalies(anomalies, split), f"split {split}")
    ]


def _read_anomalies(anomalies: types.Artifact, split: str) -> anomalies_pb2.Anomalies:
    found = anomalies_pb2.Anomalies()
    found.ParseFromString(io_utils.read_bytes_file(
        os.path.join(artifact_utils.get_split_uri([anomalies], split), DEFAULT_FILE_NAME)))
    return found


def _compared(statistics: statistics_pb2.DatasetFeatureStatisticsList, schema: schema_pb2.Schema,
              **other: statistics_pb2.DatasetFeatureStatisticsList) -> anomalies_pb2.Anomalies:
    """What the schema's comparators say; ExampleValidator has no other statistics to compare with."""
    found, compared = tfdv.validate_statistics(statistics, schema, **other), anomalies_pb2.Anomalies()
    for name, info in found.anomaly_info.items():
        reasons = [reason.description for reason in info.reason if reason.type in _COMPARATORS]
        if reasons:
            compared.anomaly_info[name].CopyFrom(info)
            compared.anomaly_info[name].description = " ".join(reasons)
    return compared


def _stop_if_broken(found: Report, kept_dir: str) -> None:
    broken = found.of(report.STOP)
    if not broken:
        return
    fileio.makedirs(kept_dir)
    report.write_report(found, kept_dir)
    told = "\n".join(f"  {check.rule}: {check.told}{_bound(check)}" for check in broken)
    earlier = f"; the earlier run is that of {found.baseline}" if found.baseline else ""
    raise RuntimeError(
        f"the data gate stopped the run before training: {len(broken)} of {len(found.checks)} checks failed{earlier}.\n"
        f"{told}\n"
        "If the log is wrong, mend it and run again. If it is right and has changed, raise the setting named, for one "
        "run: the next run is compared with this one then. A log of something else wants a --workdir of its own. "
        f"All checks are listed in {os.path.join(kept_dir, report.REPORT_FILE)}.")


def _bound(check: Check) -> str:
    return f" (data_gate.{check.setting} = {check.bound:g})" if check.setting else ""


def _without_absent(schema: schema_pb2.Schema,
                    statistics: statistics_pb2.DatasetFeatureStatisticsList) -> schema_pb2.Schema:
    """The schema of the features that the examples have."""
    there = {feature.path.step[0] for feature in statistics.datasets[0].features}
    kept = schema_pb2.Schema()
    kept.CopyFrom(schema)
    del kept.feature[:]
    kept.feature.extend(feature for feature in schema.feature if feature.name in there)
    return kept
