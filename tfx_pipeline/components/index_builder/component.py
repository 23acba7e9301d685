"""IndexBuilder: a trained model -> a servable with its item vectors in ScaNN indices."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from tfx_pipeline.components.index_builder.executor import EXAMPLES, MODEL, SERVABLE, TRANSFORM_GRAPH, Executor


class IndexBuilderSpec(component_spec.ComponentSpec):
    """Reads the model and its vocabularies, writes the servable."""

    PARAMETERS = {}
    INPUTS = {
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        TRANSFORM_GRAPH: component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {SERVABLE: component_spec.ChannelParameter(type=standard_artifacts.Model)}


class IndexBuilder(base_component.BaseComponent):
    """Embeds every item of the catalogue, indexes the vectors and exports the servable.

    Args:
        model: of the Trainer.
        transform_graph: whose vocabularies the model was trained with; it numbers the ids of requests too.
        examples: as they were before Transform, whose held-out users the warm-up requests ask about; None makes such
            requests up.
    """

    SPEC_CLASS = IndexBuilderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, transform_graph: types.BaseChannel,
                 examples: types.BaseChannel | None = None):
        super().__init__(IndexBuilderSpec(
            model=model, transform_graph=transform_graph, examples=examples,
            servable=types.Channel(type=standard_artifacts.Model)))
