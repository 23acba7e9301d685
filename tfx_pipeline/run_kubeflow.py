"""Compiles the pipeline for Kubeflow Pipelines v2 or Vertex AI: `python -m tfx_pipeline.run_kubeflow --output FILE`.

Nothing is run and no cluster is asked: the file is what Kubeflow or Vertex AI takes. docs/scaling.md has the steps from
the image of the components to a submitted run.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx_pipeline import beam_arguments, flags
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.run_local import parse_columns
from ulim_tf import config as settings

_SUFFIXES = (".json", ".yaml")
_EXAMPLE = """example:
  python -m tfx_pipeline.run_kubeflow --output ulim_pipeline.json --image europe-docker.pkg.dev/shop/ulim/ulim:1 \\
      --events 'gs://shop/log/*.parquet' --catalog gs://shop/products.csv \\
      --pipeline_root gs://shop/pipeline --serving_dir gs://shop/serving/ulim
"""


def compile_pipeline(*, output: Path, image: str, events: str, catalog: str | None, users: str | None,
                     columns: Mapping[str, str], pipeline_root: str, serving_dir: str, config: PipelineConfig,
                     beam_pipeline_args: Sequence[str] = ()) -> None:
    """Writes the pipeline's specification.

    Args:
        output: a `.json` file holds a PipelineJob, for Vertex AI; a `.yaml` file its PipelineSpec, for Kubeflow.
        image: container image of every component, made by tfx_pipeline/Dockerfile.
        events: URI, or absolute path in the containers, of the event log; may be a glob.
        catalog: the same of the item catalogue, or None.
        users: the same of what describes the users, or None.
        columns: standard column name -> name in the log.
        pipeline_root: gs:// URI that the artifacts go below.
        serving_dir: URI, or absolute path in the containers, of the model base path.
        config: all settings.
        beam_pipeline_args: for every Beam step, as `beam_arguments.parse` gives them.

    Raises:
        ModuleNotFoundError: the extra `kubeflow` is not installed.
        ValueError: an argument is wrong; nothing was written.
    """
    try:
        from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("compiling needs the package kfp, which is not installed. Install the extra: "
                                  "pip install --constraint constraints.txt '.[kubeflow]'") from error
    if output.suffix not in _SUFFIXES:
        raise ValueError(f"--output must end in {' or '.join(_SUFFIXES)}, got {output}.")
    places = {"events": events, "catalog": catalog, "users": users, "serving_dir": serving_dir}
    for flag, place in places.items():
        if place and "://" not in place and not os.path.isabs(place):
            raise ValueError(f"--{flag} must be a URI or an absolute path that the containers have mounted, got "
                             f"{place!r}. Copy it to a bucket and write for example gs://BUCKET/{place}.")
    if not pipeline_root.startswith("gs://"):
        raise ValueError("--pipeline_root must be a gs:// URI, the only store that TensorFlow in the containers can "
                         f"write to, got {pipeline_root!r}. Write for example gs://BUCKET/pipeline.")
    pipeline = create_pipeline(
        events=events, catalog=catalog, users=users, columns=columns, root=pipeline_root, serving=serving_dir,
        rejected=f"{pipeline_root.rstrip('/')}/rejected", config=config, schema=None, pinned=False,
        beam_pipeline_args=beam_pipeline_args)
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True),
        output_dir=str(output.absolute().parent), output_filename=output.name)
    runner.run(pipeline)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code: 0 written, 2 an argument is wrong or kfp is missing."""
    parser = argparse.ArgumentParser("python -m tfx_pipeline.run_kubeflow", description=__doc__.split("\n")[0],
                                     epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, metavar="FILE",
                        help=".json for Vertex AI, .yaml for Kubeflow Pipelines")
    parser.add_argument("--image", required=True, help="container image of the components (tfx_pipeline/Dockerfile)")
    parser.add_argument("--events", required=True, metavar="URI_OR_GLOB", help="event log, as of run_local")
    parser.add_argument("--catalog", metavar="URI", help="item catalogue, as of run_local")
    parser.add_argument("--users", metavar="URI", help="users file, as of run_local")
    parser.add_argument("--pipeline_root", required=True, metavar="gs://URI", help="artifacts are written below it")
    parser.add_argument("--serving_dir", required=True, metavar="URI", help="model base path to push servables to")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="YAML of settings, read now; the rest keep their defaults")
    parser.add_argument("--columns", default="", metavar="STANDARD=NAME,...",
                        help="how the log calls the standard columns")
    flags.add_beam(parser)
    args = parser.parse_args(argv)
    try:
        compile_pipeline(
            output=args.output, image=args.image, events=args.events, catalog=args.catalog, users=args.users,
            columns=parse_columns(args.columns), pipeline_root=args.pipeline_root, serving_dir=args.serving_dir,
            config=settings.load(PipelineConfig, args.config) if args.config else PipelineConfig(),
            beam_pipeline_args=beam_arguments.parse(args.beam_pipeline_args))
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
