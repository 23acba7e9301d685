"""The TFX component that turns an event log into the examples of a run."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import json
import os
from collections.abc import Mapping

from google.protobuf import any_pb2, wrappers_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from tfx_pipeline import reading
from tfx_pipeline.components.event_example_gen.driver import EventExampleGenDriver
from tfx_pipeline.components.event_example_gen.executor import EventExampleGenExecutor
from tfx_pipeline.config import IngestConfig
from ulim_tf import features
from ulim_tf.config import FeaturesConfig


class EventExampleGen(FileBasedExampleGen):
    """Reads an event log and a catalogue; its `examples` have the splits train, eval and catalog of `features.py`.

    Beside the splits, the artifact holds `ingest_summary.json` with all counts, and `rejected.csv` if rows were left
    out. A run is taken from the cache as long as no file of either pattern and no argument changes.

    Patterns may hold `{SPAN}`, `{SPAN:width}`, or `{YYYY}`, `{MM}` and `{DD}`, and beside them `{VERSION}`, as TFX's
    do: the newest span is read, and named in the artifact. Patterns without one do not take part; those with one must
    agree in their newest.

    Args:
        events: path or glob pattern of the log's files; see `tfx_pipeline/reading.py` for formats and columns.
        catalog: the same of the catalogue's files; None derives the catalogue from the log.
        users: the same of the files that describe users, with a column user_id; None if nothing does.
        columns: standard column name -> name in the files, for those that differ.
        features_config: what the towers read of the log and the catalogue.
        config: how the log is checked, cut and split.
        rejected_dir: where a run that stops leaves its `rejected.csv`, since TFX deletes the artifact of a failed run;
            None: the folder `rejected` beside the component's examples.

    Raises:
        ValueError: an unknown file extension, an unknown standard name in `columns`, files in different file systems,
            or a setting needs a file that is not given.
    """

    DRIVER_CLASS = EventExampleGenDriver
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(EventExampleGenExecutor)

    def __init__(self, events: str, catalog: str | None = None, users: str | None = None,
                 columns: Mapping[str, str] | None = None, features_config: FeaturesConfig = FeaturesConfig(),
                 config: IngestConfig | None = None, rejected_dir: str | None = None):
        columns = columns or {}
        reading.check_mapping(columns)
        if features_config.item_content and not catalog:
            raise ValueError("features.item_content needs a catalogue with the columns "
                             f"{', '.join(features_config.item_content)}, got none. Give one with --catalog, or leave "
                             "the setting out.")
        if features_config.user_profile and not users:
            raise ValueError("features.user_profile needs a users file with the columns user_id, "
                             f"{', '.join(features_config.user_profile)}, got none. Give one with --users, or leave "
                             "the setting out.")
        given = {reading.EVENTS: events, reading.CATALOG: catalog, reading.USERS: users}
        patterns = {kind: pattern for kind, pattern in given.items() if pattern}
        for pattern in patterns.values():
            reading.check_extension(pattern)
        settings = {
            "columns": dict(columns),
            "features": dataclasses.asdict(features_config),
            "config": dataclasses.asdict(config or IngestConfig()),
            "rejected_dir": rejected_dir,
        }
        packed = any_pb2.Any()
        packed.Pack(wrappers_pb2.StringValue(value=json.dumps(settings, sort_keys=True)))
        base, relative = _below_common_folder(patterns)
        splits = (features.SPLIT_TRAIN, features.SPLIT_EVAL, features.SPLIT_CATALOG)
        super().__init__(
            input_base=base,
            input_config=example_gen_pb2.Input(splits=[
                example_gen_pb2.Input.Split(name=name, pattern=pattern) for name, pattern in relative.items()]),
            output_config=example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=[
                example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1) for name in splits])),
            custom_config=example_gen_pb2.CustomConfig(custom_config=packed),
        )


def _below_common_folder(patterns: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The deepest folder that holds all files, of every span, and the patterns relative to it.

    Raises:
        ValueError: the files are in different file systems.
    """
    parts = {name: (pattern if "://" in pattern else os.path.abspath(pattern)).split("/")
             for name, pattern in patterns.items()}
    if len({first for first, *_ in parts.values()}) > 1:
        raise ValueError("events, catalog and users must be in one file system, got "
                         f"{', '.join(patterns.values())}. Copy them to one.")
    folders = []
    for level in zip(*(pattern[:-1] for pattern in parts.values())):
        if len(set(level)) > 1 or set("*?[{") & set(level[0]):
            break
        folders.append(level[0])
    relative = {name: "/".join(pattern[len(folders):]) for name, pattern in parts.items()}
    if len(folders) == 2 and not folders[1]:  # buckets that differ: nothing but the scheme is common
        return f"{folders[0]}//", relative
    return "/".join(folders) or "/", relative
