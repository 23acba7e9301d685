"""What the Transform step leaves of a small log, made by TensorFlow Transform itself."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from tests.serving.servables import shared
from tfx_pipeline.preprocessing import preprocessing_fn
from ulim_tf import features

Row = dict[str, list[Any]]
Transformed = tuple[tft.TFTransformOutput, list[Row]]

_INTEGERS = (*features.INTEGERS, features.CATALOG_CONTENT_LENGTH)


def user(events: Sequence[tuple[str, int]], category_of: Mapping[str, str], name: str = "u",
         target: Sequence[str] = ()) -> Row:
    """A user as the ingest stores them, from (item, day) in the order of time; a day is a basket."""
    item, day = (np.array(column) for column in zip(*events))
    category = np.array([category_of[one] for one in item])
    order = np.argsort(category, kind="stable")
    distinct, length = np.unique(category, return_counts=True)
    first = np.searchsorted(day, day)
    return row(user_id=[name.encode()], event_item_id=[one.encode() for one in item[order]],
               event_timestamp=(10**9 + 86_400 * day[order]).tolist(), event_rank=order.tolist(),
               event_basket_start=first[order].tolist(), category_id=[one.encode() for one in distinct],
               category_length=length.tolist(), target_item_id=[one.encode() for one in target])


def catalog(category_of: Mapping[str, str]) -> Row:
    """All items in one example."""
    return row(catalog_item_id=[one.encode() for one in category_of],
               catalog_category_id=[one.encode() for one in category_of.values()])


def row(**values: list[Any]) -> Row:
    """With an empty list for every other feature."""
    return {**{name: [] for name in (*features.BYTES, *features.INTEGERS)}, **values}


def transform(folder: Path, analysed: Sequence[Row], others: Sequence[Row] = (),
              **config: int) -> Transformed:
    """Runs the preprocessing with some settings of `vocabulary`.

    Args:
        folder: where the graph goes.
        analysed: users of the split train, and the catalogue.
        others: transformed alone.
        config: of `VocabularyConfig`.

    Returns:
        the graph, and the transformed rows, one after the other.
    """
    metadata = _metadata(analysed)
    with tft_beam.Context(temp_dir=str(folder / "temporary")):
        done, graph = (list(analysed), metadata) | tft_beam.AnalyzeAndTransformDataset(
            functools.partial(preprocessing_fn, custom_config=config))
        graph | tft_beam.WriteTransformFn(str(folder / "transform"))
        rows = [*done[0], *(((list(others), metadata), graph) | tft_beam.TransformDataset())[0]] if others else done[0]
    return (tft.TFTransformOutput(str(folder / "transform")),
            [{name: np.asarray(values).tolist() for name, values in one.items()} for one in rows])


def analyse(folder: Path, rows: Sequence[Row], **config: int) -> tft.TFTransformOutput:
    """The graph of `transform` alone, sooner."""
    with tft_beam.Context(temp_dir=str(folder / "temporary")):
        (list(rows), _metadata(rows)) | tft_beam.AnalyzeDataset(
            functools.partial(preprocessing_fn, custom_config=config)) | tft_beam.WriteTransformFn(
                str(folder / "transform"))
    return tft.TFTransformOutput(str(folder / "transform"))


def shared_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, for all tests, with the `transform` of nothing but a catalogue: "item 1", .. "item 12", in turn of
    "category 1", "category 2" and "category 3"."""
    return shared(tmp_path_factory, "catalog", lambda folder: analyse(folder, [catalog(
        {f"item {item}": f"category {1 + (item - 1) % 3}" for item in range(1, 13)})]))


def _metadata(rows: Sequence[Row]) -> dataset_metadata.DatasetMetadata:
    return dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec({
        name: tf.io.VarLenFeature(tf.int64 if name in _INTEGERS else tf.string) for name in rows[0]}))


def write(file: Path, rows: Sequence[Row]) -> None:
    """As the Transform step writes transformed rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for one in rows:
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in one.items()})).SerializeToString())
