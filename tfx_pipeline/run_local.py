"""Runs the pipeline on this machine: `python -m tfx_pipeline.run_local --events log.csv --workdir DIR`.

Writes the servable to DIR/serving/ulim/<version>/, a report for people to DIR/report/index.html, ML Metadata to
DIR/metadata.sqlite, artifacts to DIR/pipeline and the full log to DIR/pipeline.log. A second run reuses every step
whose inputs and settings have not changed.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import dataclasses
import json
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import logging as absl_logging
from google.protobuf import text_format
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from tfx_pipeline import beam_arguments, flags, run_summary
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.pipeline import NAME, SCHEMA, create_pipeline
from tfx_pipeline.report import report
from tfx_pipeline.report.subject import Failure, Subject
from ulim_tf import command_line
from ulim_tf import config as settings

METADATA_FILE = "metadata.sqlite"


class PipelineFailed(RuntimeError):
    """A step failed; the message names it and says where the full log is."""


def run(*, events: str, catalog: str | None, columns: Mapping[str, str], workdir: Path, config: PipelineConfig,
        users: str | None = None, schema: Path | None = SCHEMA,
        beam_pipeline_args: Sequence[str] = ()) -> run_summary.Run:
    """Runs the pipeline and prints each step as it starts and a summary at the end.

    Args:
        events: file or glob of the event log.
        catalog: file or glob of the item catalogue, or None.
        columns: standard column name -> name in the log.
        workdir: DIR of the module's description; made if missing.
        config: all settings.
        users: file or glob of what describes the users, or None.
        schema: of the examples; None infers it from them.
        beam_pipeline_args: for every Beam step, as `beam_arguments.parse` gives them.

    Returns:
        What each step did; a gate may have refused the servable, so that nothing was pushed.

    Raises:
        ValueError: an argument is wrong; nothing was run.
        PipelineFailed: a step failed; nothing was pushed.
    """
    workdir = workdir.absolute()
    connection = metadata_connection(workdir)
    pipeline = create_pipeline(
        events=events, catalog=catalog, users=users, columns=columns,
        root=workdir / "pipeline", serving=workdir / "serving" / NAME, rejected=workdir / "rejected", config=config,
        schema=schema and schema.absolute(), metadata=connection, beam_pipeline_args=beam_pipeline_args)
    workdir.mkdir(parents=True, exist_ok=True)
    log = workdir / "pipeline.log"
    with logged_to(log, steps=sum(not isinstance(one, Resolver) for one in pipeline.components)) as progress:
        try:
            LocalDagRunner().run(pipeline)
        except Exception as error:
            _write_report(connection, config, workdir, Failure(progress.step, str(error)))
            raise PipelineFailed(f"{progress.step} failed: {error}\nThe full log is {log}. Nothing was pushed."
                                 ) from error
        summary = run_summary.read(connection)
        print(run_summary.table(summary), flush=True)
        _write_report(connection, config, workdir, None)
    return summary


def metadata_connection(workdir: Path) -> metadata_store_pb2.ConnectionConfig:
    """To the ML Metadata store of a work directory, which is made if missing."""
    return metadata_store_pb2.ConnectionConfig(sqlite=metadata_store_pb2.SqliteMetadataSourceConfig(
        filename_uri=str(workdir / METADATA_FILE),
        connection_mode=metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE))


def _write_report(connection: metadata_store_pb2.ConnectionConfig, config: PipelineConfig, workdir: Path,
                  failure: Failure | None) -> None:
    """Whatever goes wrong with it is told and changes nothing of the run."""
    try:
        written = report.write(Subject(run_summary.read(connection), config, workdir / "report", workdir / "rejected",
                                       failure))
        print(f"report: {written}", flush=True)
    except Exception as error:
        logging.getLogger(__name__).exception("the report could not be written")
        print(f"    no report: {type(error).__name__}: {error}", flush=True)


class logged_to(logging.Handler):
    """While entered, TFX's log goes to a file, and the console gets a line as each step starts.

    Args:
        file: of the log.
        steps: how many there are; nodes with a dot in their name, which only find or import artifacts, are none.
    """

    _STEP = re.compile(r"Component (\w+) is running\.")

    def __init__(self, file: Path, steps: int):
        super().__init__(logging.INFO)
        self._file, self._steps, self._started = logging.FileHandler(file, mode="w"), steps, 0
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        self.step = "starting the pipeline"

    def emit(self, record: logging.LogRecord) -> None:
        self._file.emit(record)
        if found := self._STEP.match(record.getMessage()):
            self._started += 1
            self.step = found.group(1)
            print(f"[{self._started}/{self._steps}] {self.step}", flush=True)

    def __enter__(self) -> "logged_to":
        root, tensorflow = logging.getLogger(), logging.getLogger("tensorflow")
        self._before = root.handlers, root.level, tensorflow.handlers, tensorflow.propagate
        root.handlers, tensorflow.handlers, tensorflow.propagate = [self], [], True
        root.setLevel(logging.INFO)
        absl_logging.set_verbosity(absl_logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        root, tensorflow = logging.getLogger(), logging.getLogger("tensorflow")
        root.handlers, root.level, tensorflow.handlers, tensorflow.propagate = self._before
        self._file.close()


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.train().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 pushed or up to date, 1 a step failed, 2 an argument is wrong, 3 a gate
    refused the servable."""
    start = time.monotonic()
    try:
        with command_line.nothing_on_stdout(args.json):
            config = _config(args.config, args.train_steps, args.seed)
            done = run(events=args.events, catalog=args.catalog, columns=parse_columns(args.columns),
                       workdir=args.workdir, config=config, users=args.users, schema=_schema(args.schema),
                       beam_pipeline_args=beam_arguments.parse(args.beam_pipeline_args))
    except (ValueError, FileNotFoundError) as error:
        return command_line.fail(error, 2, args.json)
    except PipelineFailed as error:
        return command_line.fail(error, 1, args.json)
    minutes = (time.monotonic() - start) / 60
    if args.json:
        print(json.dumps({"servable": done.servable and str(done.servable), "blessed": not done.refusals,
                          "refusals": done.refusals, "minutes": round(minutes, 2), "counts": done.counts}))
    if not done.servable:
        print(f"not pushed: {'; '.join(done.refusals)}", file=sys.stderr)
        return 3
    if not args.json:
        print(f"done in {minutes:.1f} minutes")
    return 0


def _config(file: Path | None, train_steps: int | None, seed: int | None) -> PipelineConfig:
    config = settings.load(PipelineConfig, file) if file else PipelineConfig()
    training, ingest = config.training, config.ingest
    if train_steps is not None:
        training = dataclasses.replace(training, steps=train_steps)
    if seed is not None:
        training, ingest = dataclasses.replace(training, seed=seed), dataclasses.replace(ingest, seed=seed)
    return dataclasses.replace(config, training=training, ingest=ingest)


def _schema(text: str | None) -> Path | None:
    if text is None:
        return SCHEMA
    if text == "inferred":
        return None
    if not Path(text).is_file():
        raise FileNotFoundError(f"--schema must name a file, or be inferred; there is no file {text}. "
                                f"Start from {SCHEMA}.")
    try:
        text_format.Parse(Path(text).read_text(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"--schema takes the text of a tensorflow_metadata Schema, or inferred; {text} is not such a "
                         f"file: {error}. Start from {SCHEMA}.") from error
    return Path(text)


def parse_columns(text: str) -> dict[str, str]:
    """'user_id=household_id,...' -> standard name to name in the log.

    Raises:
        ValueError: a part without '='.
    """
    columns = {}
    for part in filter(None, text.split(",")):
        standard, equals, name = part.partition("=")
        if not (standard and equals and name):
            raise ValueError(f"--columns takes STANDARD=NAME pairs joined by commas, got {part!r}. "
                             "Write for example --columns user_id=household_id,item_id=product_id")
        columns[standard.strip()] = name.strip()
    return columns


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
