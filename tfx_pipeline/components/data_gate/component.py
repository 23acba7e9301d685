"""DataGate: statistics and examples of a run -> the schema that lets it go on, or an error that stops it."""

import dataclasses
import json

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from tfx_pipeline.components.data_gate.executor import (
    ANOMALIES,
    BASELINE,
    CONFIG,
    EXAMPLES,
    GATE,
    KEPT_DIR,
    PASSED_SCHEMA,
    SCHEMA,
    STATISTICS,
    Executor,
)
from tfx_pipeline.config import DataGateConfig


class DataGateReport(types.Artifact):
    """The folder that `report.py` describes."""

    TYPE_NAME = "ulim.DataGateReport"  # Kubeflow wants a namespace


class DataGateSpec(component_spec.ComponentSpec):
    """Reads what was ingested and an earlier gate, writes the schema of the run and this gate."""

    PARAMETERS = {
        CONFIG: component_spec.ExecutionParameter(type=str),
        KEPT_DIR: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        STATISTICS: component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        SCHEMA: component_spec.ChannelParameter(type=standard_artifacts.Schema),
        ANOMALIES: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        BASELINE: component_spec.ChannelParameter(type=DataGateReport, optional=True),
    }
    OUTPUTS = {
        PASSED_SCHEMA: component_spec.ChannelParameter(type=standard_artifacts.Schema),
        GATE: component_spec.ChannelParameter(type=DataGateReport),
    }


class DataGate(base_beam_component.BaseBeamComponent):
    """Stops a run whose data are wrong or far from the last that passed.

    Its outputs are `gate`, described in `report.py`, and `passed_schema`: the schema without the features that the
    examples do not have. Who reads the schema from here runs only if the gate was passed.

    Args:
        examples: of EventExampleGen.
        statistics: of StatisticsGen over them.
        schema: curated or inferred; may hold features that depend on settings.
        anomalies: of ExampleValidator.
        baseline: `gate` of the earlier run to compare with; may be empty.
        config: the bounds.
        kept_dir: where the report of a run that stops is kept, since TFX deletes the artifacts of a failed step.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: types.BaseChannel, statistics: types.BaseChannel, schema: types.BaseChannel,
                 anomalies: types.BaseChannel, baseline: types.BaseChannel, config: DataGateConfig, kept_dir: str):
        super().__init__(DataGateSpec(
            examples=examples, statistics=statistics, schema=schema, anomalies=anomalies, baseline=baseline,
            config=json.dumps(dataclasses.asdict(config), sort_keys=True), kept_dir=kept_dir,
            passed_schema=types.Channel(type=standard_artifacts.Schema), gate=types.Channel(type=DataGateReport)))
