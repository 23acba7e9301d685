"""Runs the ingest and stops the run if too much of what it read is malformed."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import itertools
import json
import os
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from google.protobuf import wrappers_pb2
from tfx import types
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.components.example_gen.write_split import to_file_format_str
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from tfx_pipeline import examples as splits
from tfx_pipeline import reading
from tfx_pipeline.beam_transforms import REJECTED, REJECTED_HEADER, SUMMARY, Ingest
from tfx_pipeline.config import IngestConfig
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

REJECTED_FILE = "rejected.csv"
SUMMARY_FILE = "ingest_summary.json"

_SPLITS = (features.SPLIT_TRAIN, features.SPLIT_EVAL, features.SPLIT_CATALOG)
_EXAMPLES_SHOWN = 3


class EventExampleGenExecutor(BaseExampleGenExecutor):
    """Writes the splits, `ingest_summary.json` and, if rows were left out, `rejected.csv`."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """Not used: the splits are made of all inputs together, in `GenerateExamplesByBeam`."""
        raise NotImplementedError("EventExampleGenExecutor makes its examples in GenerateExamplesByBeam")

    def GenerateExamplesByBeam(self, pipeline: beam.Pipeline,
                               exec_properties: dict[str, Any]) -> dict[str, beam.PCollection]:
        """The outputs of `Ingest`.

        Raises:
            ValueError: files or columns are missing; see `reading.find`.
        """
        inputs = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], inputs)
        settings = settings_of(exec_properties)
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        features_config = FeaturesConfig(**settings["features"])
        describing = {reading.CATALOG: features_config.item_content, reading.USERS: features_config.user_profile}
        sources = {split.name: reading.find(split.name, os.path.join(base, split.pattern), settings["columns"],
                                            describing.get(split.name, ()))
                   for split in inputs.splits}
        return pipeline | "Ingest" >> Ingest(
            sources[reading.EVENTS], sources.get(reading.CATALOG), IngestConfig(**settings["config"]), features_config,
            sources.get(reading.USERS))

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """Runs the ingest into the artifact `examples`.

        Raises:
            ValueError: files or columns are missing; see `reading.find`.
            RuntimeError: no row is valid, more than `max_rejected_share` of the rows are malformed, or no event lies
                before the cut.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        examples.split_names = artifact_utils.encode_split_names(list(_SPLITS))
        file_format = exec_properties[standard_component_specs.OUTPUT_FILE_FORMAT_KEY]
        examples_utils.set_payload_format(examples, exec_properties[standard_component_specs.OUTPUT_DATA_FORMAT_KEY])
        examples_utils.set_file_format(examples, to_file_format_str(file_format))

        with self._make_beam_pipeline() as pipeline:
            outputs = self.GenerateExamplesByBeam(pipeline, exec_properties)
            for split in _SPLITS:
                path = artifact_utils.get_split_uri([examples], split)
                outputs[split] | f"Write[{split}]" >> splits.write_split(path)
            outputs[SUMMARY] | "WriteSummary" >> _write_lines(os.path.join(examples.uri, SUMMARY_FILE))
            outputs[REJECTED] | "WriteRejected" >> _write_lines(
                os.path.join(examples.uri, REJECTED_FILE), header=REJECTED_HEADER, skip_if_empty=True)

        settings = settings_of(exec_properties)
        component_dir = os.path.dirname(os.path.dirname(examples.uri))
        rejected_dir = settings["rejected_dir"] or os.path.join(component_dir, REJECTED)
        with fileio.open(os.path.join(examples.uri, SUMMARY_FILE)) as file:
            summary = json.load(file)
        check(summary, examples.uri, rejected_dir, IngestConfig(**settings["config"]))


def check(summary: dict[str, Any], directory: str, rejected_dir: str, config: IngestConfig) -> None:
    """Stops a run that read too little of worth.

    Args:
        summary: of the run, as `Ingest` gives it.
        directory: where the run's `rejected.csv` is, if it has one.
        rejected_dir: where to keep it if the run stops.
        config: gives the share of malformed rows that is allowed.

    Raises:
        RuntimeError: no row is valid, more than the allowed share of them are malformed, or no event lies before the
            cut.
    """
    for kind in (reading.EVENTS, reading.CATALOG, reading.USERS):
        read, reasons = summary[f"{kind}_rows_read"], summary[f"{kind}_rows_rejected"]
        rejected = sum(reasons.values())
        if rejected > config.max_rejected_share * read or rejected == read > 0:
            kept, first = _keep_rejected(directory, rejected_dir)
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            raise RuntimeError(
                f"{rejected} of {read} rows of the {kind} files are malformed ({rejected / read:.1%}), more than "
                f"ingest.max_rejected_share = {config.max_rejected_share:.1%} allows: {counts}. For example {first}. "
                f"All are listed in {kept}. Fix these rows, map the right columns with --columns, or raise "
                "ingest.max_rejected_share; some row must be valid.")
    if not summary["events_rows_read"]:
        raise RuntimeError("the events files have no rows. Check the pattern, or write the log again.")
    if not summary["train_users"]:
        raise RuntimeError(
            f"no event lies before the cut at {summary['cut_time']} (unix seconds), {config.holdout_days} days before "
            f"the last of a log that spans {summary['first_time']} to {summary['last_time']}. "
            "Lower ingest.holdout_days, use a longer log, or convert its times if they are days, hours or minutes.")


def settings_of(exec_properties: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the component, from the properties of its execution."""
    config, packed = example_gen_pb2.CustomConfig(), wrappers_pb2.StringValue()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
    config.custom_config.Unpack(packed)
    return json.loads(packed.value)


def _write_lines(path: str, **options: Any) -> beam.PTransform:
    return beam.io.WriteToText(path, num_shards=1, shard_name_template="", **options)


def _keep_rejected(directory: str, rejected_dir: str) -> tuple[str, str]:
    """Saves the list of rejected rows from the removal of a failed run's artifact.

    Returns:
        Where it is, and its first few rows.
    """
    kept = os.path.join(rejected_dir, REJECTED_FILE)
    fileio.makedirs(rejected_dir)
    fileio.copy(os.path.join(directory, REJECTED_FILE), kept, overwrite=True)
    with fileio.open(kept) as file:
        first = "; ".join(line.rstrip("\n") for line in itertools.islice(file, 1, 1 + _EXAMPLES_SHOWN))
    return kept, first
