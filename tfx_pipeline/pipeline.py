"""The pipeline as a graph, top to bottom: from an event log to a pushed servable."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.components import Evaluator, ExampleValidator, SchemaGen, StatisticsGen, Trainer, Transform
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.trainer_pb2 import EvalArgs, TrainArgs
from tfx.proto.transform_pb2 import SplitsConfig
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from serving.contract import MODEL_NAME
from tfx_pipeline.blessed_before import BlessedBefore
from tfx_pipeline.components.data_gate.component import DataGate, DataGateReport
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.components.index_builder.component import IndexBuilder
from tfx_pipeline.components.pusher.component import Pusher
from tfx_pipeline.components.servable_validator.component import ServableValidator
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation import eval_config
from tfx_pipeline.newest_before import NewestBefore
from ulim_tf import config as settings
from ulim_tf import features

NAME = MODEL_NAME  # as a server names what is pushed
SCHEMA = Path(__file__).with_name("schema.pbtxt")


def create_pipeline(*, events: str, catalog: str | None, users: str | None, columns: Mapping[str, str],
                    root: str | Path, serving: str | Path, rejected: str | Path, config: PipelineConfig,
                    schema: Path | None = SCHEMA, pinned: bool = True,
                    metadata: metadata_store_pb2.ConnectionConfig | None = None,
                    beam_pipeline_args: Sequence[str] = ()) -> Pipeline:
    """Declares the pipeline; nothing is run, and nothing read but the schema.

    Args:
        events: file or glob of the event log.
        catalog: file or glob of the item catalogue, or None to derive it from the log.
        users: file or glob of what describes the users, or None.
        columns: standard column name -> name in the log, for those that differ.
        root: where the artifacts go; this and the next two are local paths, or URIs as strings.
        serving: the model base path that finished servables of `ulim` are pushed to; those of others are beside it.
        rejected: where malformed rows and the data gate's report of a stopped run are kept.
        config: all settings.
        schema: of the examples; None infers it from them.
        pinned: whether an unchanged rerun is compared with the same earlier run again, and so taken from the cache;
            else with the newest there is, for orchestrators that know no resolver strategy but TFX's own.
        metadata: connection to ML Metadata; an orchestrator may bring its own.
        beam_pipeline_args: for every Beam step.
    """
    example_gen = EventExampleGen(events, catalog, users, columns, config.features, config.ingest,
                                  rejected_dir=str(rejected))
    examples = example_gen.outputs["examples"]

    statistics_gen = StatisticsGen(examples)
    if schema:
        schema_gen = ImportSchemaGen(str(schema))
        # Else the path alone would be the key of the cache.
        schema_gen.exec_properties["sha256"] = hashlib.sha256(schema.read_bytes()).hexdigest()
    else:
        schema_gen = SchemaGen(statistics_gen.outputs["statistics"], infer_feature_shape=False)
    example_validator = ExampleValidator(
        statistics_gen.outputs["statistics"], schema_gen.outputs["schema"])
    earlier_gate = Resolver(
        strategy_class=NewestBefore if pinned else LatestArtifactStrategy,
        gate=Channel(type=DataGateReport), **({"before": examples} if pinned else {})
    ).with_id("Resolver.earlier_gate")
    data_gate = DataGate(
        examples, statistics_gen.outputs["statistics"], schema_gen.outputs["schema"],
        example_validator.outputs["anomalies"], earlier_gate.outputs["gate"], config.data_gate, str(rejected))

    transform = Transform(
        examples, data_gate.outputs["passed_schema"],
        preprocessing_fn="tfx_pipeline.preprocessing.preprocessing_fn",
        custom_config=dataclasses.asdict(config.vocabulary),
        splits_config=SplitsConfig(
            analyze=[features.SPLIT_TRAIN, features.SPLIT_CATALOG],
            transform=[features.SPLIT_TRAIN, features.SPLIT_EVAL, features.SPLIT_CATALOG]))

    base_model = _blessed("Resolver.base_model", before=transform.outputs["transform_graph"] if pinned else None)
    trainer = Trainer(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        base_model=base_model.outputs["model"],
        run_fn="tfx_pipeline.trainer.run_fn",
        train_args=TrainArgs(
            splits=[features.SPLIT_TRAIN, features.SPLIT_CATALOG], num_steps=config.training.steps),
        eval_args=EvalArgs(splits=[features.SPLIT_EVAL]),
        custom_config={section.name: dataclasses.asdict(getattr(config, section.name))
                       for section in dataclasses.fields(settings.UlimConfig)})

    index_builder = IndexBuilder(trainer.outputs["model"], transform.outputs["transform_graph"], examples,
                                 config.serving.servables)
    servable = index_builder.outputs["servable"]

    last_blessed = _blessed("Resolver.last_blessed", before=servable if pinned else None)
    evaluator = Evaluator(
        examples=examples, model=servable, baseline_model=last_blessed.outputs["model"],
        eval_config=eval_config.make_eval_config(config), example_splits=eval_config.SPLITS,
        module_path=eval_config.MODULE)

    servable_validator = ServableValidator(servable, examples, config.features, config.serving)

    pusher = Pusher(servable, str(serving), config.serving.versions_kept, evaluator.outputs["evaluation"],
                    model_blessing=evaluator.outputs["blessing"], infra_blessing=servable_validator.outputs["blessing"])

    return Pipeline(
        pipeline_name=NAME,
        pipeline_root=str(root),
        metadata_connection_config=metadata,
        components=[example_gen, statistics_gen, schema_gen, example_validator, earlier_gate, data_gate, transform,
                    base_model, trainer, index_builder, last_blessed, evaluator, servable_validator, pusher],
        enable_cache=True,
        beam_pipeline_args=list(beam_pipeline_args))


def _blessed(name: str, before: BaseChannel | None) -> Resolver:
    """Finds the newest blessed servable, of those older than an artifact of this run if one is given."""
    return Resolver(
        strategy_class=BlessedBefore if before else LatestBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        **({"before": before} if before else {})).with_id(name)
