"""Recommendations for all users into Parquet: `python -m tfx_pipeline.batch_inference --workdir DIR --output DIR`.

Asks the servable that is served from DIR/serving/ulim about every user of the newest run of `run_local`, up to the
run's cut, and writes a row each: user_id, now, and the lists item_id, score, category_id and channel, best first. They
equal the answers of a server, bit for bit.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from tfx_pipeline import beam_arguments, flags
from tfx_pipeline.batch_recommendations import SCHEMA, USERS, Recommend
from tfx_pipeline.workdir import find_servable, newest_run
from ulim_tf import command_line, features


def infer(*, workdir: Path, output: Path, servable: Path | None = None, now: int = 0,
          beam_pipeline_args: Sequence[str] = (), progress: Callable[[str], None] = lambda _: None) -> int:
    """Writes a folder of Parquet files, whole or not at all.

    Args:
        workdir: of a run of `run_local`.
        output: the folder; must not exist.
        servable: version folder to ask; None is the newest in the workdir.
        now: the moment that is asked about, unix seconds; 0 means the time of each user's newest event.
        beam_pipeline_args: flags of Beam.
        progress: is told what begins.

    Returns:
        how many users were answered.

    Raises:
        ValueError: an argument is wrong, or there is no run or no servable. Nothing was written.
    """
    workdir, output = workdir.absolute(), output.absolute()
    if output.exists():
        raise ValueError(f"--output must not exist yet, got {output}. Name a new folder, or remove this one.")
    servable = find_servable(workdir, servable)
    run = newest_run(workdir, "EventExampleGen", "read a log")
    config = run.features_config
    files = run.example_files(features.SPLIT_TRAIN)
    progress(f"asking {servable} about the users of {Path(files[0]).parent}")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        pipeline = beam.Pipeline(options=PipelineOptions(list(beam_pipeline_args)))
        (pipeline
         | "Files" >> beam.Create(files)
         | "Reshuffle" >> beam.Reshuffle()
         | "Read" >> beam.io.ReadAllFromTFRecord()
         | "Spread" >> beam.Reshuffle()
         | "Recommend" >> Recommend(str(servable), config, now)
         | "Write" >> beam.io.WriteToParquet(os.path.join(unfinished, "part"), SCHEMA, file_name_suffix=".parquet",
                                             codec="zstd"))
        result = pipeline.run()
        result.wait_until_finish()
        counters = result.metrics().query(MetricsFilter().with_name(USERS))["counters"]
        unfinished.chmod(0o755)  # mkdtemp's are for its user alone
        unfinished.rename(output)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    return sum(counter.result for counter in counters)


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.batch().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 written, 1 a step failed, 2 an argument is wrong."""
    progress = command_line.timed_progress()
    try:
        users = infer(workdir=args.workdir, output=args.output, servable=args.servable, now=args.now,
                      beam_pipeline_args=beam_arguments.parse(args.beam_pipeline_args), progress=progress)
    except ValueError as error:
        print(f"error: {error}\nNothing was written.", file=sys.stderr)
        return 2
    except Exception as error:  # whatever a worker raises, Beam raises as it likes
        print(f"error: {error}\nNothing was written.", file=sys.stderr)
        return 1
    progress(f"wrote the recommendations of {users:,} users to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
