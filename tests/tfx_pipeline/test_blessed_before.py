"""The resolver in a pipeline of two steps: one makes a model, one judges it beside the last blessed one."""

import os
import shutil
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import Model, ModelBlessing

from tfx_pipeline import run_summary
from tfx_pipeline.blessed_before import BlessedBefore


@component
def MakeModel(model: OutputArtifact[Model], number: Parameter[int]) -> None:
    os.makedirs(model.uri, exist_ok=True)
    Path(model.uri, "number").write_text(str(number))


@component
def Judge(model: InputArtifact[Model], blessing: OutputArtifact[ModelBlessing],
          last_blessed: InputArtifact[Model] = None) -> None:
    """Blesses what is not below zero, and notes what it was compared with."""
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_int_custom_property("blessed", int(int(Path(model.uri, "number").read_text()) >= 0))
    os.makedirs(blessing.uri, exist_ok=True)
    Path(blessing.uri, "compared").write_text(
        Path(last_blessed.uri, "number").read_text() if last_blessed else "nothing")


@pytest.fixture
def run(tmp_path):
    """Runs the pipeline with a model of that number; gives the run."""
    connection = metadata_store_pb2.ConnectionConfig(sqlite=metadata_store_pb2.SqliteMetadataSourceConfig(
        filename_uri=str(tmp_path / "metadata.sqlite"),
        connection_mode=metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE))

    def run_with(number: int) -> run_summary.Run:
        made = MakeModel(number=number)
        found = Resolver(
            strategy_class=BlessedBefore, model=Channel(type=Model),
            model_blessing=Channel(type=ModelBlessing), before=made.outputs["model"]).with_id("LastBlessed")
        judge = Judge(model=made.outputs["model"], last_blessed=found.outputs["model"])
        LocalDagRunner().run(Pipeline(
            "test", str(tmp_path / "root"), components=[made, found, judge], enable_cache=True,
            metadata_connection_config=connection))
        return run_summary.read(connection, "test")

    return run_with


def compared(run: run_summary.Run) -> str:
    return (run.steps[-1].outputs["blessing"] / "compared").read_text()


def test_a_changed_model_is_compared_with_the_newest_blessed_one_and_a_rerun_is_cached(run):
    assert compared(run(1)) == "nothing"
    assert compared(run(2)) == "1"
    assert compared(run(-3)) == "2"
    assert compared(run(4)) == "2"  # -3 was refused
    for number, expected in ((4, "2"), (1, "nothing"), (2, "1")):
        again = run(number)
        assert [step.name for step in again.steps] == ["MakeModel", "Judge"]
        assert all(step.cached for step in again.steps) and compared(again) == expected


def test_a_blessed_model_whose_folder_is_gone_is_passed_over_with_a_warning(run, caplog):
    run(1)
    gone = run(2).steps[0].outputs["model"]
    shutil.rmtree(gone)
    assert compared(run(3)) == "1"
    assert f"the blessed model {gone} is gone" in caplog.text
