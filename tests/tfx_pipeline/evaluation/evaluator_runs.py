"""Runs TFX's Evaluator as the pipeline declares it, on examples and servables in folders."""

from pathlib import Path
from typing import NamedTuple

from tfx.components.evaluator import executor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation import eval_config


class EvaluatorRun(NamedTuple):
    """Where the Evaluator wrote, and whether it blessed the servable."""

    evaluation: Path
    blessed: bool


def run_evaluator(directory: Path, examples: Path, servable: Path, last_blessed: Path | None = None, *,
                  config: PipelineConfig, beam_pipeline_args: tuple[str, ...] = ()) -> EvaluatorRun:
    """Evaluates a servable.

    Args:
        directory: where to write.
        examples: holds Split-train, Split-eval and Split-catalog.
        servable: holds Format-Serving.
        last_blessed: as `servable`.
        config: of the run.
        beam_pipeline_args: of the Evaluator's Beam pipeline.
    """
    inputs = {"examples": standard_artifacts.Examples(), "model": standard_artifacts.Model()}
    inputs["examples"].split_names = '["train", "eval", "catalog"]'
    inputs["examples"].uri, inputs["model"].uri = str(examples), str(servable)
    inputs["examples"].set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    inputs["examples"].set_string_custom_property("file_format", "tfrecords_gzip")
    if last_blessed:
        inputs["baseline_model"] = standard_artifacts.Model()
        inputs["baseline_model"].uri = str(last_blessed)
    outputs = {"evaluation": standard_artifacts.ModelEvaluation(), "blessing": standard_artifacts.ModelBlessing()}
    for name, artifact in outputs.items():
        artifact.uri = str(directory / name)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_pipeline_args), tmp_dir=str(directory / "tmp"), unique_id="1")
    executor.Executor(context).Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {name: [artifact] for name, artifact in outputs.items()},
        {"eval_config": proto_utils.proto_to_json(eval_config.make_eval_config(config)),
         "example_splits": json_utils.dumps(eval_config.SPLITS), "module_path": eval_config.MODULE})
    return EvaluatorRun(directory / "evaluation", bool(outputs["blessing"].get_int_custom_property("blessed")))
