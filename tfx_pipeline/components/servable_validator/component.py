"""ServableValidator: servables are loaded and asked before they may be pushed."""

import dataclasses
import json

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from tfx_pipeline.components.servable_validator.executor import (
    BLESSING,
    EXAMPLES,
    FEATURES,
    LATENCY_BUDGET_MS,
    LOAD_SECONDS,
    MODEL,
    Executor,
)
from tfx_pipeline.config import PushConfig
from ulim_tf.config import FeaturesConfig


class ServableValidatorSpec(component_spec.ComponentSpec):
    """Reads the servables and the catalogue, writes the blessing."""

    PARAMETERS = {
        FEATURES: component_spec.ExecutionParameter(type=str),
        LOAD_SECONDS: component_spec.ExecutionParameter(type=float),
        LATENCY_BUDGET_MS: component_spec.ExecutionParameter(type=float),
    }
    INPUTS = {
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {BLESSING: component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServableValidator(base_component.BaseComponent):
    """Loads each servable in a fresh embedded server, replays its warm-up requests and checks every answer.

    Its `blessing` is what TFX's Pusher takes as `infra_blessing`; beside the mark it holds `validation.json` with each
    check, its faults and its time, which `validation.read` reads.

    Args:
        model: the servables, as `tfx_pipeline/servables.py` says.
        examples: as they were before Transform; their split `catalog` says which items may be answered.
        features: what the model reads.
        config: the time to load and the latency budget.
    """

    SPEC_CLASS = ServableValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, examples: types.BaseChannel, features: FeaturesConfig,
                 config: PushConfig):
        super().__init__(ServableValidatorSpec(
            model=model, examples=examples, features=json.dumps(dataclasses.asdict(features)),
            load_seconds=config.load_seconds, latency_budget_ms=config.latency_budget_ms,
            blessing=types.Channel(type=standard_artifacts.InfraBlessing)))
