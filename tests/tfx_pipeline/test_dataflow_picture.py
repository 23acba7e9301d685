"""The picture of the README shows the components that the pipeline has."""

import re
from pathlib import Path

from tfx.dsl.components.common.resolver import Resolver

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.pipeline import create_pipeline

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "dataflow.svg"


def test_every_component_has_its_box_and_no_box_is_of_another():
    pipeline = create_pipeline(events="log.csv", catalog=None, users=None, columns={}, root="root", serving="serving",
                               rejected="rejected", config=PipelineConfig())
    components = [one.id for one in pipeline.components if not isinstance(one, Resolver)]
    drawn = re.findall(r'<rect class="tfx"[^>]*/><text[^>]*>(\w+)</text>', PICTURE.read_text())
    assert sorted(drawn) == sorted(components)
