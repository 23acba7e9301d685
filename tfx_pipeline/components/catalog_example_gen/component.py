"""CatalogExampleGen: the files of a catalogue -> Examples with the split `catalog` alone."""

import dataclasses
import json
from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from tfx_pipeline.components.catalog_example_gen.executor import (
    CATALOG,
    COLUMNS,
    EXAMPLES,
    FEATURES,
    MAX_REJECTED_SHARE,
    REJECTED_FILE,
    Executor,
)
from ulim_tf.config import FeaturesConfig


class CatalogExampleGenSpec(component_spec.ComponentSpec):
    """Reads files, writes examples."""

    PARAMETERS = {
        CATALOG: component_spec.ExecutionParameter(type=str),
        COLUMNS: component_spec.ExecutionParameter(type=str),
        FEATURES: component_spec.ExecutionParameter(type=str),
        MAX_REJECTED_SHARE: component_spec.ExecutionParameter(type=float),
        REJECTED_FILE: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class CatalogExampleGen(base_component.BaseComponent):
    """Stores the well-formed rows of a catalogue, all of them in their order, and lists the others.

    What an item of several rows is, is left to the reader.

    Args:
        catalog: absolute path or glob of the files.
        columns: standard column name -> name in the catalogue, for those that differ.
        features: names the columns of an item's content.
        max_rejected_share: of the rows; with more of them malformed the step fails.
        rejected_file: where malformed rows are listed; none of them, no file.
    """

    SPEC_CLASS = CatalogExampleGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, catalog: str, columns: Mapping[str, str], features: FeaturesConfig, max_rejected_share: float,
                 rejected_file: str):
        super().__init__(CatalogExampleGenSpec(
            catalog=catalog, columns=json.dumps(dict(columns)), features=json.dumps(dataclasses.asdict(features)),
            max_rejected_share=max_rejected_share, rejected_file=rejected_file,
            examples=types.Channel(type=standard_artifacts.Examples)))
