"""Does the work of CatalogExampleGen."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import csv
import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from tfx_pipeline import reading
from tfx_pipeline.beam_transforms import REJECTED_HEADER, Catalog, catalog_examples
from ulim_tf import features
from ulim_tf.config import FeaturesConfig

CATALOG, COLUMNS, FEATURES, EXAMPLES = "catalog", "columns", "features", "examples"
MAX_REJECTED_SHARE, REJECTED_FILE = "max_rejected_share", "rejected_file"


class Executor(base_executor.BaseExecutor):
    """Reads the files one after the other, a chunk of rows at a time."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        """See the base class.

        Raises:
            ValueError: files or columns are missing, as `reading.find` says; or more of the rows are malformed than
                may be.
        """
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES])
        examples.split_names = artifact_utils.encode_split_names([features.SPLIT_CATALOG])
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")

        config = FeaturesConfig(**json.loads(exec_properties[FEATURES]))
        source = reading.find(reading.CATALOG, exec_properties[CATALOG], json.loads(exec_properties[COLUMNS]),
                              config.item_content)
        good, rejected = _store(source, config, artifact_utils.get_split_uri([examples], features.SPLIT_CATALOG))
        _tell(rejected, good + len(rejected), exec_properties)


def _store(source: reading.Source, config: FeaturesConfig, directory: str) -> tuple[int, list[reading.Rejected]]:
    """Writes the well-formed rows into a folder; returns how many they are, and the others."""
    good, rejected = 0, []
    tf.io.gfile.makedirs(directory)
    with tf.io.TFRecordWriter(os.path.join(directory, "data_tfrecord-00000-of-00001.gz"), "GZIP") as file:
        for path in source.files:
            for rows, malformed in reading.read_catalog(path, source.columns, source.describing):
                rejected += malformed
                item, category, title, content = (ids.decode() for ids in rows)
                for record in catalog_examples(
                        Catalog(item, category, title, content, seen=np.ones(len(item), bool)), config):
                    file.write(record)
                good += len(item)
    return good, rejected


def _tell(rejected: Sequence[reading.Rejected], read: int, exec_properties: dict[str, Any]) -> None:
    """Lists the malformed rows and says how many there are, as an error if they are too many."""
    listed, most = exec_properties[REJECTED_FILE], exec_properties[MAX_REJECTED_SHARE]
    if tf.io.gfile.exists(listed):
        tf.io.gfile.remove(listed)  # of an earlier catalogue
    if not rejected:
        return
    tf.io.gfile.makedirs(os.path.dirname(listed))
    with tf.io.gfile.GFile(listed, "w") as file:
        file.write(REJECTED_HEADER + "\n")
        csv.writer(file, lineterminator="\n").writerows(rejected)
    counts = Counter(row.reason for row in rejected)
    told = (f"{len(rejected):,} of {read:,} rows of --catalog {exec_properties[CATALOG]} are malformed: "
            f"{', '.join(f'{count:,} {reason}' for reason, count in counts.items())}. The first is row "
            f"{rejected[0].row} of {rejected[0].file}: {rejected[0].raw}. All are listed in {listed}")
    if len(rejected) > most * read:
        raise ValueError(f"{told}. At most {most:.0%} may be. Correct them, map the right columns with --columns, or "
                         "raise ingest.max_rejected_share.")
    print(f"    {told}", flush=True)
