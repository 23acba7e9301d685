"""A new catalogue into service without training: `python -m tfx_pipeline.refresh_index --workdir DIR --catalog FILE`.

A TFX pipeline beside that of `run_local`, of the same parts and in the same ML Metadata:

    the newest trained model and its vocabularies ─┐
    catalogue ─► CatalogExampleGen ────────────────┴─► IndexRefresher ─► ServableValidator ─► Pusher

It embeds the items of the catalogue, builds their index, validates the servable and pushes it to
DIR/serving/ulim/<version>/, and what else `serving.servables` names beside it. New items come back at once, items that
are gone never; the encoder's weights stay as they are, which is checked. Malformed rows are listed in
DIR/rejected/refresh.csv, the full log is DIR/refresh.log.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from serving.refresh import Refreshed
from tfx_pipeline import flags, run_summary
from tfx_pipeline.components.catalog_example_gen.component import CatalogExampleGen
from tfx_pipeline.components.index_refresher import report
from tfx_pipeline.components.index_refresher.component import IndexRefresher
from tfx_pipeline.components.pusher.component import Pusher
from tfx_pipeline.components.servable_validator import validation
from tfx_pipeline.components.servable_validator.component import ServableValidator
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation import eval_config
from tfx_pipeline.pipeline import NAME
from tfx_pipeline.run_local import PipelineFailed, logged_to, metadata_connection, parse_columns
from tfx_pipeline.workdir import check_there, newest_run
from ulim_tf import command_line
from ulim_tf import config as settings

REFRESH = "index_refresh"  # the pipeline's name
LOG_FILE = "refresh.log"

_NAMED = 5


class Done(NamedTuple):
    """What came of a refresh."""

    version: Path | None  # the version folder; None if the gate refused the servable
    report: Refreshed  # what became of the catalogue
    validation: validation.Validation


def refresh(*, workdir: Path, catalog: str, columns: Mapping[str, str], config: PipelineConfig = PipelineConfig()
            ) -> Done:
    """Pushes a servable of the newest trained model with another catalogue, if it passes the gate.

    Prints each step as it starts.

    Args:
        workdir: of a run of `run_local`.
        catalog: file or glob; everything that is on offer, with the columns of `features.item_content` if the model
            reads them.
        columns: standard column name -> name in the catalogue.
        config: its sections `ingest`, for malformed rows, and `serving` count.

    Raises:
        ValueError: there is no trained model in `workdir`, the catalogue cannot be read, or as `refresh_servables`.
            Nothing was pushed.
        RuntimeError: as `refresh_servables`. Nothing was pushed.
        PipelineFailed: a step failed otherwise. Nothing was pushed.
    """
    workdir = workdir.absolute()
    trained = newest_run(workdir, "Trainer", "trained a model")
    connection = metadata_connection(workdir)
    pipeline = _pipeline(trained, workdir, catalog, columns, config, connection)
    with logged_to(workdir / LOG_FILE, steps=sum(not isinstance(one, Importer) for one in pipeline.components)) as log:
        try:
            LocalDagRunner().run(pipeline)
            steps = {step.name: step for step in run_summary.read(connection, REFRESH).steps}
            return Done(steps["Pusher"].pushed, report.read(str(steps["IndexRefresher"].outputs["report"])),
                        validation.read(str(steps["ServableValidator"].outputs["blessing"])))
        except (ValueError, OSError, RuntimeError):
            raise
        except Exception as error:
            raise PipelineFailed(f"{log.step} failed: {error}\nThe full log is {workdir / LOG_FILE}.") from error
        finally:
            _remove_servables(connection)


def _pipeline(trained: run_summary.Run, workdir: Path, catalog: str, columns: Mapping[str, str],
              config: PipelineConfig, connection: metadata_store_pb2.ConnectionConfig) -> Pipeline:
    folders = {name: folder for step in trained.steps for name, folder in step.outputs.items()}
    check_there(workdir, folders["model"], folders["transform_graph"])
    model, transform_graph, examples = (
        Importer(str(folders[name]), kind, properties=properties).with_id(f"Importer.{name}")
        for name, kind, properties in (
            ("model", standard_artifacts.Model, {}), ("transform_graph", standard_artifacts.TransformGraph, {}),
            ("examples", standard_artifacts.Examples, {"split_names": json.dumps(eval_config.SPLITS)})))
    catalog_gen = CatalogExampleGen(
        os.path.abspath(catalog), columns, trained.features_config, config.ingest.max_rejected_share,
        str(workdir / "rejected" / "refresh.csv"))
    catalog_examples = catalog_gen.outputs["examples"]
    refresher = IndexRefresher(model.outputs["result"], transform_graph.outputs["result"], catalog_examples,
                               examples.outputs["result"], config.serving.servables)
    servable = refresher.outputs["servable"]
    validator = ServableValidator(servable, catalog_examples, trained.features_config, config.serving)
    pusher = Pusher(servable, str(workdir / "serving" / NAME), config.serving.versions_kept,
                    infra_blessing=validator.outputs["blessing"])
    return Pipeline(REFRESH, str(workdir / "pipeline"), connection,
                    [model, transform_graph, examples, catalog_gen, refresher, validator, pusher], enable_cache=False)


def _remove_servables(connection: metadata_store_pb2.ConnectionConfig) -> None:
    """Removes the newest refresh's: what was pushed is a copy, and a catalogue may be refreshed every hour."""
    run = run_summary.newest(connection, "IndexRefresher", REFRESH)
    if run is None:
        return
    folder = next(step.outputs["servable"] for step in run.steps if step.name == "IndexRefresher")
    shutil.rmtree(folder, ignore_errors=True)
    with metadata.Metadata(connection) as handle:
        gone = handle.store.get_artifacts_by_uri(str(folder))
        for artifact in gone:
            artifact.state = metadata_store_pb2.Artifact.DELETED
        handle.store.put_artifacts(gone)


def told(report: Refreshed) -> str:
    """The report for people, a line each."""
    lines = [f"{report.candidates:,} items can be answered: {report.new:,} are new, {report.moved:,} have another "
             "category than in training",
             f"{report.removed:,} trained items are not answered any more"]
    if report.rare:
        lines.append(f"{report.rare:,} items had fewer events in training than vocabulary.least_events and are not "
                     "answered")
    if report.repeated:
        lines.append(f"{report.repeated:,} rows were overruled by a later row of the same item")
    if report.unknown_tokens:
        lines.append(f"{report.unknown_tokens:,} values of item content are unknown to the model and left out")
    if report.skipped:
        named = "; ".join(f"{item}: {why}" for item, why in list(report.skipped.items())[:_NAMED])
        more = f"; and {len(report.skipped) - _NAMED:,} more" if len(report.skipped) > _NAMED else ""
        lines.append(f"{len(report.skipped):,} items were skipped ({named}{more}); to have them, train anew")
    return "\n".join([*lines, f"weights unchanged, sha256 {report.sha256}"])


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.refresh_index().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 pushed, 1 the check of the weights or a step failed, 2 an argument is
    wrong, 3 the gate refused the servable."""
    start = time.monotonic()
    try:
        with command_line.nothing_on_stdout(args.json):
            config = settings.load(PipelineConfig, args.config) if args.config else PipelineConfig()
            version, found, validated = refresh(workdir=args.workdir, catalog=args.catalog,
                                                columns=parse_columns(args.columns), config=config)
    except (ValueError, OSError, RuntimeError) as error:
        code = 1 if isinstance(error, RuntimeError) else 2
        return command_line.fail(f"{error}\nNothing was pushed.", code, args.json)
    minutes, refusals = (time.monotonic() - start) / 60, validated.faults()
    if args.json:
        print(json.dumps({"servable": version and str(version), "blessed": validated.blessed, "refusals": refusals,
                          "minutes": round(minutes, 2), "counts": found._asdict()}))
    else:
        print(told(found))
    if not version:
        print("\n".join(f"not blessed: {fault}" for fault in refusals) + "\nNothing was pushed.", file=sys.stderr)
        return 3
    if not args.json:
        print(f"pushed {version}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
