"""The pipeline as a graph, top to bottom: from an event log to a pushed servable."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.components.index_builder.component import IndexBuilder
from tfx_pipeline.components.pusher.component import Pusher
from tfx_pipeline.config import PipelineConfig
from ulim_tf import config as settings
from ulim_tf import features

NAME = "ulim"


def create_pipeline(*, events: str, catalog: str | None, users: str | None, columns: Mapping[str, str],
                    root: str | Path, serving: str | Path, rejected: str | Path, config: PipelineConfig,
                    metadata: metadata_store_pb2.ConnectionConfig | None = None,
                    beam_pipeline_args: Sequence[str] = ()) -> tfx.dsl.Pipeline:
    """Declares the pipeline; nothing is read or run.

    Args:
        events: file or glob of the event log.
        catalog: file or glob of the item catalogue, or None to derive it from the log.
        users: file or glob of what describes the users, or None.
        columns: standard column name -> name in the log, for those that differ.
        root: where the artifacts go; this and the next two are local paths, or URIs as strings.
        serving: the model base path that finished servables are pushed to.
        rejected: where malformed rows of a stopped run are kept.
        config: all settings.
        metadata: connection to ML Metadata; an orchestrator may bring its own.
        beam_pipeline_args: for every Beam step.
    """
    example_gen = EventExampleGen(events, catalog, users, columns, config.features, config.ingest,
                                  rejected_dir=str(rejected))
    examples = example_gen.outputs["examples"]

    statistics_gen = tfx.components.StatisticsGen(examples)
    schema_gen = tfx.components.SchemaGen(statistics_gen.outputs["statistics"], infer_feature_shape=False)
    example_validator = tfx.components.ExampleValidator(
        statistics_gen.outputs["statistics"], schema_gen.outputs["schema"])

    transform = tfx.components.Transform(
        examples, schema_gen.outputs["schema"],
        preprocessing_fn="tfx_pipeline.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(
            analyze=[features.SPLIT_TRAIN, features.SPLIT_CATALOG],
            transform=[features.SPLIT_TRAIN, features.SPLIT_EVAL, features.SPLIT_CATALOG]))

    trainer = tfx.components.Trainer(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        run_fn="tfx_pipeline.trainer.run_fn",
        train_args=tfx.proto.TrainArgs(
            splits=[features.SPLIT_TRAIN, features.SPLIT_CATALOG], num_steps=config.training.steps),
        eval_args=tfx.proto.EvalArgs(splits=[features.SPLIT_EVAL]),
        custom_config={name: section for name, section in settings.to_dict(config).items() if name != "ingest"})

    index_builder = IndexBuilder(trainer.outputs["model"], transform.outputs["transform_graph"])

    pusher = Pusher(
        model=index_builder.outputs["servable"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(serving))))

    return tfx.dsl.Pipeline(
        pipeline_name=NAME,
        pipeline_root=str(root),
        metadata_connection_config=metadata,
        components=[example_gen, statistics_gen, schema_gen, example_validator, transform, trainer, index_builder,
                    pusher],
        enable_cache=True,
        beam_pipeline_args=list(beam_pipeline_args))
