"""What a servable is worth, without training and pushing: `python -m tfx_pipeline.evaluate_only --workdir DIR`.

Asks the newest servable of DIR/serving/ulim, or another one, about the held-out users of the newest run of `run_local`
in DIR, or about those of another log, by the pipeline's Evaluator: with its metrics, slices and thresholds, but for the
one that compares with an earlier servable. Results go to a new folder of DIR/evaluations: `metrics.json`, what TFMA
writes, the full log, and an ML Metadata store of its own, so that no later run goes by them.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow_model_analysis as tfma
from tfx.components import Evaluator
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_pipeline import beam_arguments, flags, run_summary
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.components.event_example_gen.executor import settings_of
from tfx_pipeline.config import IngestConfig, PipelineConfig
from tfx_pipeline.evaluation import eval_config, results
from tfx_pipeline.run_local import PipelineFailed, logged_to, metadata_connection, parse_columns
from tfx_pipeline.workdir import check_there, find_servable, newest_run
from ulim_tf import command_line
from ulim_tf import config as settings

METRICS_FILE, LOG_FILE = "metrics.json", "evaluation.log"

_NAME = "evaluate_only"


class Log(NamedTuple):
    """What `run_local` takes: files or globs, and standard column name -> name in the log."""

    events: str
    catalog: str | None = None
    users: str | None = None
    columns: Mapping[str, str] = {}


class Evaluated(NamedTuple):
    """What came of an evaluation."""

    folder: Path  # of the results
    metrics: results.Metrics
    verdict: results.Verdict
    summary: run_summary.Run


def evaluate(*, workdir: Path, servable: Path, log: Log | None = None, config: PipelineConfig | None = None,
             beam_pipeline_args: Sequence[str] = ()) -> Evaluated:
    """Evaluates a servable, and prints each step as it starts.

    Args:
        workdir: of a run of `run_local`.
        servable: version folder.
        log: whose newest days are held out, which the servable should not have been trained on; None takes the held-out
            users of the newest run.
        config: settings; None takes those of that run.
        beam_pipeline_args: for every Beam step.

    Raises:
        ValueError: an argument is wrong, or no run was evaluated; nothing was written.
        PipelineFailed: a step failed.
    """
    workdir = workdir.absolute()
    run = newest_run(workdir, "Evaluator", "evaluated a servable")
    properties = {step.name: step.properties for step in run.steps}
    if config is None:
        features, ingest = run.features_config, IngestConfig(**settings_of(properties["EventExampleGen"])["config"])
        demanded = tfma.EvalConfig()
        proto_utils.json_to_proto(properties["Evaluator"]["eval_config"], demanded)
    else:
        features, ingest = config.features if log else run.features_config, config.ingest
        demanded = eval_config.make_eval_config(dataclasses.replace(config, features=features))
    folder = workdir / "evaluations" / f"{time.strftime('%Y%m%d-%H%M%S')}-of-{servable.name}"
    if log:
        source = EventExampleGen(log.events, log.catalog, log.users, log.columns, features, ingest,
                                 rejected_dir=str(folder / "rejected"))
        examples = source.outputs["examples"]
    else:
        check_there(workdir, run.examples)
        source = Importer(
            str(run.examples), standard_artifacts.Examples, properties={"split_names": json.dumps(eval_config.SPLITS)},
            custom_properties={"file_format": "tfrecords_gzip", "payload_format": "FORMAT_TF_EXAMPLE"}
        ).with_id("Importer.examples")
        examples = source.outputs["result"]
    model = Importer(str(folder / "servable"), standard_artifacts.Model).with_id("Importer.servable")
    evaluator = Evaluator(
        examples=examples, model=model.outputs["result"], eval_config=demanded, example_splits=eval_config.SPLITS,
        module_path=eval_config.MODULE)
    (folder / "servable").mkdir(parents=True)
    (folder / "servable" / "Format-Serving").symlink_to(servable.absolute(), target_is_directory=True)
    connection = metadata_connection(folder)
    components = [source, model, evaluator]
    pipeline = Pipeline(_NAME, str(folder / "pipeline"), connection, components,
                        beam_pipeline_args=list(beam_pipeline_args))
    with logged_to(folder / LOG_FILE, steps=sum(not isinstance(one, Importer) for one in components)) as told:
        try:
            LocalDagRunner().run(pipeline)
        except Exception as error:
            raise PipelineFailed(f"{told.step} failed: {error}\nThe full log is {folder / LOG_FILE}.") from error
    summary = run_summary.read(connection, _NAME)
    evaluation = next(step.outputs["evaluation"] for step in summary.steps if step.name == "Evaluator")
    done = Evaluated(folder, results.read_metrics(evaluation), results.read_verdict(evaluation), summary)
    (folder / METRICS_FILE).write_text(json.dumps({
        "servable": str(servable), "events": log.events if log else str(run.examples), "passed": done.verdict.blessed,
        "reasons": done.verdict.reasons, "metrics": done.metrics}, indent=1) + "\n")
    return done


def table(found: results.Metrics) -> str:
    """All metrics for people: a line each, a column a slice; "-" where no user of a slice has such a target."""
    names = dict.fromkeys(name for of_slice in found.values() for name in of_slice)
    rows = [["", *found], *([name, *(results.figure(name, of_slice[name]) if name in of_slice else "-"
                                     for of_slice in found.values())] for name in names)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join([name.ljust(widths[0]), *map(str.rjust, figures, widths[1:])])
                     for name, *figures in rows)


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.evaluate().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 the thresholds are reached, 1 a step failed, 2 an argument is wrong, 3 a
    threshold is not reached."""
    try:
        log = Log(args.events, args.catalog, args.users, parse_columns(args.columns)) if args.events else None
        if not log and (args.catalog or args.users or args.columns):
            raise ValueError("--catalog, --users and --columns say how --events is to be read, got no --events. Give "
                             "it, or leave them out.")
        with command_line.nothing_on_stdout(args.json):
            done = evaluate(
                workdir=args.workdir, servable=find_servable(args.workdir.absolute(), args.servable, args.version),
                log=log, config=settings.load(PipelineConfig, args.config) if args.config else None,
                beam_pipeline_args=beam_arguments.parse(args.beam_pipeline_args))
    except (ValueError, FileNotFoundError) as error:
        return command_line.fail(error, 2, args.json)
    except PipelineFailed as error:
        return command_line.fail(error, 1, args.json)
    if args.json:
        print(json.dumps({"folder": str(done.folder), **json.loads((done.folder / METRICS_FILE).read_text())}))
    else:
        print(f"{table(done.metrics)}\n\n{run_summary.table(done.summary)}\nresults: {done.folder}", flush=True)
    if not done.verdict.blessed:
        print(f"not passed: {'; '.join(done.verdict.reasons)}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
