"""The component EventExampleGen as it runs in a pipeline, without ML Metadata."""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.types import standard_artifacts

from tfx_pipeline import beam_arguments
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.components.event_example_gen.executor import EventExampleGenExecutor

_WORKERS = "--direct_running_mode=multi_processing --direct_num_workers={}"


def run(log: Path, output: Path, workers: int) -> None:
    """Every row checked; the cut, the catalogue and the targets found; each user's events in categories and in time.

    Writes the splits train, eval and catalog as gzipped TFRecord of tf.Examples, one a user, and the summary. Several
    workers are processes of Beam's local runner, whose start is part of the time. One is this process.
    """
    arguments = beam_arguments.parse(_WORKERS.format(workers) if workers > 1 else "")
    examples = standard_artifacts.Examples()
    examples.uri = str(output)
    # Else TFX packs itself for the workers, some seconds that no local worker makes use of.
    context = EventExampleGenExecutor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(options=PipelineOptions(arguments)))
    EventExampleGenExecutor(context).Do(
        {}, {"examples": [examples]}, EventExampleGen(str(log)).exec_properties)
