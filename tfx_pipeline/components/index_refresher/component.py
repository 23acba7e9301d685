"""IndexRefresher: a trained model and another catalogue -> servables with the model's weights and new indices."""

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from serving.contract import MODEL_NAME
from tfx_pipeline.components.index_refresher.executor import (
    CATALOG,
    EXAMPLES,
    MODEL,
    REPORT,
    SERVABLE,
    SERVABLES,
    TRANSFORM_GRAPH,
    Executor,
)


class RefreshReport(types.Artifact):
    """The folder that `report.py` describes."""

    TYPE_NAME = "ulim.RefreshReport"  # Kubeflow wants a namespace


class IndexRefresherSpec(component_spec.ComponentSpec):
    """Reads the model, its vocabularies and a catalogue, writes the servables and what became of the items."""

    PARAMETERS = {SERVABLES: component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        TRANSFORM_GRAPH: component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        CATALOG: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {
        SERVABLE: component_spec.ChannelParameter(type=standard_artifacts.Model),
        REPORT: component_spec.ChannelParameter(type=RefreshReport),
    }


class IndexRefresher(base_component.BaseComponent):
    """Places the items of a catalogue, indexes their vectors and exports the servables; nothing is trained.

    Args:
        model: of the Trainer.
        transform_graph: whose vocabularies the model was trained with.
        catalog: of CatalogExampleGen; all that may be answered.
        examples: that the model was trained on, as they were before Transform; their held-out users the warm-up
            requests ask about.
        servables: of `contract.SERVABLES`; see `tfx_pipeline/servables.py` for where they go.
    """

    SPEC_CLASS = IndexRefresherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, transform_graph: types.BaseChannel, catalog: types.BaseChannel,
                 examples: types.BaseChannel, servables: Sequence[str] = (MODEL_NAME,)):
        super().__init__(IndexRefresherSpec(
            model=model, transform_graph=transform_graph, catalog=catalog, examples=examples,
            servables=json.dumps(servables), servable=types.Channel(type=standard_artifacts.Model),
            report=types.Channel(type=RefreshReport)))
