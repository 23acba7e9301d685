"""A Pusher with an executor that is atomic, keeps some versions and completes model cards."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto.pusher_pb2 import PushDestination
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from tfx_pipeline.components.pusher.executor import EVALUATION, VERSIONS_KEPT, Executor


class PusherSpec(standard_component_specs.PusherSpec):
    """TFX's, and what was measured."""

    INPUTS = {**standard_component_specs.PusherSpec.INPUTS,
              EVALUATION: component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True)}


class Pusher(base_component.BaseComponent):
    """Pushes servables into their model base paths, if all blessings say so, and removes the oldest versions.

    Args:
        model: the servables, as `tfx_pipeline/servables.py` says.
        base_path: model base path of `ulim`; those of the others are beside it.
        versions_kept: versions that stay, with the new one.
        evaluation: of the Evaluator, for the model cards of what is pushed; None leaves them as they are.
        blessings: by the names of TFX's Pusher, `model_blessing` and `infra_blessing`.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, base_path: str, versions_kept: int,
                 evaluation: types.BaseChannel | None = None, **blessings: types.BaseChannel):
        super().__init__(PusherSpec(
            model=model, evaluation=evaluation, **blessings,
            custom_config=json_utils.dumps({VERSIONS_KEPT: versions_kept}),
            push_destination=PushDestination(filesystem=PushDestination.Filesystem(base_directory=base_path)),
            pushed_model=types.Channel(type=standard_artifacts.PushedModel)))
