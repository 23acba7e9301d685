"""IndexBuilder: a trained model -> servables with its item vectors in indices."""

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from serving.contract import MODEL_NAME
from tfx_pipeline.components.index_builder.executor import (
    EXAMPLES,
    MODEL,
    SERVABLE,
    SERVABLES,
    TRANSFORM_GRAPH,
    Executor,
)


class IndexBuilderSpec(component_spec.ComponentSpec):
    """Reads the model and its vocabularies, writes the servables."""

    PARAMETERS = {SERVABLES: component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        TRANSFORM_GRAPH: component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {SERVABLE: component_spec.ChannelParameter(type=standard_artifacts.Model)}


class IndexBuilder(base_component.BaseComponent):
    """Embeds every item of the catalogue, indexes the vectors and exports the servables.

    Args:
        model: of the Trainer.
        transform_graph: whose vocabularies the model was trained with; it numbers the ids of requests too.
        examples: as they were before Transform, whose held-out users the warm-up requests ask about; None makes such
            requests up.
        servables: of `contract.SERVABLES`; see `tfx_pipeline/servables.py` for where they go.
    """

    SPEC_CLASS = IndexBuilderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, transform_graph: types.BaseChannel,
                 examples: types.BaseChannel | None = None, servables: Sequence[str] = (MODEL_NAME,)):
        super().__init__(IndexBuilderSpec(
            model=model, transform_graph=transform_graph, examples=examples, servables=json.dumps(servables),
            servable=types.Channel(type=standard_artifacts.Model)))
