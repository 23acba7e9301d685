"""A new catalogue into service without training: `python -m tfx_pipeline.refresh_index --workdir DIR --catalog FILE`.

Takes the newest model that `run_local` trained in DIR, embeds the items of the catalogue, builds their index, validates
the servable as the pipeline does and pushes it to DIR/serving/ulim/<version>/, and what else `serving.servables` names
beside it. New items come back at once, items that are gone never; the encoder's weights stay as they are, which is
checked. Malformed rows are listed in DIR/rejected/refresh.csv. What was read, found and pushed is recorded in the ML
Metadata of DIR.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_transform as tft
import tf_keras as keras
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from serving import warmup
from serving.histories import read_users
from serving.refresh import Catalog, Refreshed, Vocabularies, refresh_servables
from tfx_pipeline import flags, rare_items, reading
from tfx_pipeline.beam_transforms import REJECTED_HEADER
from tfx_pipeline.components.pusher.versions import base_of, push
from tfx_pipeline.components.servable_validator import validation
from tfx_pipeline.components.servable_validator.executor import mark
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.pipeline import NAME
from tfx_pipeline.refresh_record import recorded
from tfx_pipeline.run_local import metadata_connection, parse_columns
from tfx_pipeline.trained import MODEL_FILE
from tfx_pipeline.workdir import check_there, newest_run
from ulim_tf import command_line, features
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

_NAMED = 5
_REJECTED = "rejected/refresh.csv"


class Done(NamedTuple):
    """What came of a refresh."""

    version: Path | None  # the version folder; None if the gate refused the servable
    report: Refreshed  # what became of the catalogue
    validation: validation.Validation


def refresh(*, workdir: Path, catalog: str, columns: Mapping[str, str], config: PipelineConfig = PipelineConfig(),
            progress: Callable[[str], None] = lambda _: None) -> Done:
    """Pushes a servable of the newest trained model with another catalogue, if it passes the gate.

    Args:
        workdir: of a run of `run_local`.
        catalog: file or glob; everything that is on offer, with the columns of `features.item_content` if the model
            reads them.
        columns: standard column name -> name in the catalogue.
        config: its sections `ingest`, for malformed rows, and `serving` count.
        progress: is told what begins.

    Raises:
        ValueError: there is no trained model in `workdir`, the catalogue cannot be read, or as `refresh_servables`.
            Nothing was pushed.
        RuntimeError: as `refresh_servables`. Nothing was pushed.
    """
    workdir = workdir.absolute()
    outputs = _trained(workdir)
    model_file = path_utils.serving_model_dir(str(outputs["model"])) + f"/{MODEL_FILE}"
    progress(f"loading {model_file}")
    model = keras.models.load_model(model_file, compile=False)
    progress(f"reading {catalog}")
    rows = _read(catalog, columns, model, workdir / _REJECTED, config.ingest.max_rejected_share)
    vocabularies = tft.TFTransformOutput(str(outputs["transform_graph"]))
    held_out = sorted(map(str, outputs["examples"].glob(f"Split-{features.SPLIT_EVAL}/*")))
    read = {name: outputs[name] for name in ("model", "transform_graph", "examples")}
    with (recorded(metadata_connection(workdir), read, {"catalog": os.path.abspath(catalog)}) as made,
          tempfile.TemporaryDirectory(prefix=".refresh-", dir=workdir) as folder):
        folders = {name: f"{folder}/{name}" for name in config.serving.servables}
        item, category, content, profile = (vocabularies.vocabulary_file_by_name(name) for name in (
            features.ITEM_VOCABULARY, features.CATEGORY_VOCABULARY, features.CONTENT_VOCABULARY,
            features.PROFILE_VOCABULARY))
        report = refresh_servables(
            model, Vocabularies(item, category, content, profile, rare_items.rare_vocabulary(vocabularies)), rows,
            folders, progress,
            warmup.choose(user.history for user in read_users(held_out, model.settings.features)))
        found = validation.validate_all(folders, model.settings.features,
                                        dict(zip(rows.item_id, rows.category_id)).items, config.serving, progress)
        made["blessing"] = _blessing(found, workdir / "pipeline" / "IndexRefresh" / "blessing")
        if not found.blessed:
            return Done(None, report, found)
        base = str(workdir / "serving" / NAME)
        version = push(folders.pop(NAME), base, config.serving.versions_kept)
        made["pushed_model"] = _pushed(version)
        for name, servable in folders.items():
            push(servable, base_of(name, base), config.serving.versions_kept, int(os.path.basename(version)))
    return Done(Path(version), report, found)


def _trained(workdir: Path) -> dict[str, Path]:
    """Folders of the model, its vocabularies and its examples, by the names of the steps' outputs."""
    run = newest_run(workdir, "Trainer", "trained a model")
    outputs = {name: folder for step in run.steps for name, folder in step.outputs.items()}
    check_there(workdir, outputs["model"], outputs["transform_graph"])
    return outputs


def _read(catalog: str, columns: Mapping[str, str], model: UlimModel, rejected_file: Path, most: float) -> Catalog:
    """The good rows; the malformed ones go into a file, of which there is none without them."""
    source = reading.find(reading.CATALOG, os.path.abspath(catalog), columns, model.settings.features.item_content)
    parts, rejected = [], []
    for file in source.files:
        for found, malformed in reading.read_catalog(file, source.columns, source.describing):
            parts.append(Catalog(found.item_id.decode(), found.category_id.decode(), found.content.decode()))
            rejected += malformed
    rows = Catalog(*map(np.concatenate, zip(*parts))) if parts else Catalog(*(np.zeros(0, object) for _ in range(3)))
    read = len(rows.item_id) + len(rejected)
    rejected_file.unlink(missing_ok=True)
    if rejected:
        _write_rejected(rejected, rejected_file)
        told = (f"{len(rejected):,} of {read:,} rows of --catalog {catalog} are malformed: {_counted(rejected)}. The "
                f"first is row {rejected[0].row} of {rejected[0].file}: {rejected[0].raw}. All are listed in "
                f"{rejected_file}")
        if len(rejected) > most * read:
            raise ValueError(f"{told}. At most {most:.0%} may be. Correct them, map the right columns with "
                             "--columns, or raise ingest.max_rejected_share.")
        print(told, flush=True)
    return rows if model.content else rows._replace(content=None)


def _write_rejected(rejected: Sequence[reading.Rejected], to: Path) -> None:
    to.parent.mkdir(exist_ok=True)
    with open(to, "w", newline="", encoding="utf-8") as file:
        file.write(REJECTED_HEADER + "\n")
        csv.writer(file, lineterminator="\n").writerows(rejected)


def _counted(rejected: Sequence[reading.Rejected]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(row.reason for row in rejected).items())


def _blessing(found: validation.Validation, among: Path) -> standard_artifacts.InfraBlessing:
    """As ServableValidator's, in a new folder."""
    among.mkdir(parents=True, exist_ok=True)
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=among)
    validation.write(found, blessing.uri)
    mark(blessing, found.blessed)
    return blessing


def _pushed(version: str) -> standard_artifacts.PushedModel:
    """As the Pusher's."""
    pushed = standard_artifacts.PushedModel()
    pushed.uri = version
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_destination", version)
    pushed.set_string_custom_property("pushed_version", os.path.basename(version))
    return pushed


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
    """The command; returns its exit code: 0 pushed, 1 the check of the weights failed, 2 an argument is wrong, 3 the
    gate refused the servable."""
    start, progress = time.monotonic(), command_line.timed_progress()
    try:
        with command_line.nothing_on_stdout(args.json):
            config = settings.load(PipelineConfig, args.config) if args.config else PipelineConfig()
            version, report, found = refresh(workdir=args.workdir, catalog=args.catalog,
                                             columns=parse_columns(args.columns), config=config, progress=progress)
    except (ValueError, OSError, RuntimeError) as error:
        code = 1 if isinstance(error, RuntimeError) else 2
        return command_line.fail(f"{error}\nNothing was pushed.", code, args.json)
    if args.json:
        print(json.dumps({"servable": version and str(version), "blessed": found.blessed, "refusals": found.faults(),
                          "minutes": round((time.monotonic() - start) / 60, 2), "counts": report._asdict()}))
    else:
        print(told(report))
    if not version:
        print("\n".join(f"not blessed: {fault}" for fault in found.faults()) + "\nNothing was pushed.", file=sys.stderr)
        return 3
    if not args.json:
        progress(f"pushed {version}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
