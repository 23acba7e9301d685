"""A new catalogue into service without training: `python -m tfx_pipeline.refresh_index --workdir DIR --catalog FILE`.

Takes the newest model that `run_local` trained in DIR, embeds the items of the catalogue, builds their index and pushes
the servable to DIR/serving/ulim/<version>/. New items come back at once, items that are gone never; the encoder's
weights stay as they are, which is checked.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
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
from ml_metadata.proto import metadata_store_pb2
from tfx.utils import path_utils

from serving.refresh import Catalog, Refreshed, Vocabularies, refresh_servable
from tfx_pipeline import reading, run_summary
from tfx_pipeline.components.pusher.executor import push
from tfx_pipeline.config import IngestConfig
from tfx_pipeline.pipeline import NAME
from tfx_pipeline.run_local import METADATA_FILE, parse_columns
from tfx_pipeline.trained import MODEL_FILE
from ulim_tf import features
from ulim_tf.model import UlimModel

_NAMED = 5
_EXAMPLE = """example:
  python -m tfx_pipeline.refresh_index --workdir runs/shop --catalog new_products.csv --columns item_id=product_id
"""


class Pushed(NamedTuple):
    """The version folder, and what became of the catalogue."""

    version: Path
    report: Refreshed


def refresh(*, workdir: Path, catalog: str, columns: Mapping[str, str],
            progress: Callable[[str], None] = lambda _: None) -> Pushed:
    """Pushes a servable of the newest trained model with another catalogue.

    Args:
        workdir: of a run of `run_local`.
        catalog: file or glob; everything that is on offer, with the columns of `features.item_content` if the model
            reads them.
        columns: standard column name -> name in the catalogue.
        progress: is told what begins.

    Raises:
        ValueError: there is no trained model in `workdir`, the catalogue cannot be read, or as `refresh_servable`.
            Nothing was pushed.
        RuntimeError: as `refresh_servable`. Nothing was pushed.
    """
    workdir = workdir.absolute()
    outputs = _trained(workdir)
    model_file = path_utils.serving_model_dir(str(outputs["model"])) + f"/{MODEL_FILE}"
    progress(f"loading {model_file}")
    model = keras.models.load_model(model_file, compile=False)
    progress(f"reading {catalog}")
    rows = _read(catalog, columns, model)
    vocabularies = tft.TFTransformOutput(str(outputs["transform_graph"]))
    with tempfile.TemporaryDirectory(prefix=".refresh-", dir=workdir) as folder:
        report = refresh_servable(model, Vocabularies(*(
            vocabularies.vocabulary_file_by_name(name) for name in (
                features.ITEM_VOCABULARY, features.CATEGORY_VOCABULARY, features.CONTENT_VOCABULARY,
                features.PROFILE_VOCABULARY))), rows, f"{folder}/servable", progress)
        version = push(f"{folder}/servable", str(workdir / "serving" / NAME))
    return Pushed(Path(version), report)


def _trained(workdir: Path) -> dict[str, Path]:
    """Folders of the model and of its vocabularies, by the names of the steps' outputs."""
    remedy = "Give the --workdir of a finished `python -m tfx_pipeline.run_local`."
    metadata = workdir / METADATA_FILE
    if not metadata.is_file():
        raise ValueError(f"--workdir must be one that run_local trained a model in, but {workdir} has no "
                         f"{METADATA_FILE}. {remedy}")
    outputs = run_summary.newest_trained(metadata_store_pb2.ConnectionConfig(
        sqlite=metadata_store_pb2.SqliteMetadataSourceConfig(
            filename_uri=str(metadata), connection_mode=metadata_store_pb2.SqliteMetadataSourceConfig.READONLY)))
    if outputs is None:
        raise ValueError(f"--workdir must be one that run_local trained a model in, but no Trainer of {workdir} ever "
                         f"finished. {remedy}")
    gone = [folder for folder in (outputs["model"], outputs["transform_graph"]) if not folder.is_dir()]
    if gone:
        raise ValueError(f"--workdir must hold what its {METADATA_FILE} names, but {gone[0]} is gone. Was it moved "
                         "or cleaned? Move it back, or run the pipeline again.")
    return outputs


def _read(catalog: str, columns: Mapping[str, str], model: UlimModel) -> Catalog:
    source = reading.find(reading.CATALOG, os.path.abspath(catalog), columns, model.settings.features.item_content)
    parts, rejected = [], []
    for file in source.files:
        for rows, malformed in reading.read_catalog(file, source.columns, source.describing):
            parts.append(Catalog(rows.item_id.decode(), rows.category_id.decode(), rows.content.decode()))
            rejected += malformed
    rows = Catalog(*map(np.concatenate, zip(*parts))) if parts else Catalog(*(np.zeros(0, object) for _ in range(3)))
    read, most = len(rows.item_id) + len(rejected), IngestConfig().max_rejected_share
    if rejected:
        found = (f"{len(rejected):,} of {read:,} rows of --catalog {catalog} are malformed: {_counted(rejected)}. The "
                 f"first is row {rejected[0].row} of {rejected[0].file}: {rejected[0].raw}")
        if len(rejected) > most * read:
            raise ValueError(f"{found}. At most {most:.0%} may be. Correct them, or map the right columns with "
                             "--columns.")
        print(found, flush=True)
    return rows if model.content else rows._replace(content=None)


def _counted(rejected: Sequence[reading.Rejected]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(row.reason for row in rejected).items())


def told(report: Refreshed) -> str:
    """The report for people, a line each."""
    lines = [f"{report.candidates:,} items can be answered: {report.new:,} are new, {report.moved:,} have another "
             "category than in training",
             f"{report.removed:,} trained items are not answered any more"]
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
    """The command; returns its exit code: 0 pushed, 1 the check of the weights failed, 2 an argument is wrong."""
    parser = argparse.ArgumentParser("python -m tfx_pipeline.refresh_index", description=__doc__.split("\n")[0],
                                     epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="of a finished run of run_local")
    parser.add_argument("--catalog", required=True, metavar="FILE_OR_GLOB",
                        help="everything on offer: item_id, category_id and the columns of features.item_content; "
                             "CSV(.gz), Parquet or TFRecord")
    parser.add_argument("--columns", default="", metavar="STANDARD=NAME,...",
                        help="how the catalogue calls the standard columns")
    args = parser.parse_args(argv)
    start = time.monotonic()

    def progress(what: str) -> None:
        print(f"[{time.monotonic() - start:5.0f} s] {what}", flush=True)

    try:
        version, report = refresh(workdir=args.workdir, catalog=args.catalog, columns=parse_columns(args.columns),
                                  progress=progress)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}\nNothing was pushed.", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2
    print(told(report))
    progress(f"pushed {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
