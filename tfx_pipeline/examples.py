"""Columns -> serialized tf.Examples, without a Python object a value, and their files."""

import os
from collections.abc import Mapping, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io import tfrecordio
from apache_beam.io.filesystem import CompressionTypes
from isal import igzip
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from ulim_tf.sequences import Ids

Columns = Mapping[str, pa.LargeListArray]

_FEATURES_TAG = b"\x0a"  # field 1 of tf.Example, of length-delimited type


def lists(bounds: Sequence[int] | np.ndarray, values: Ids | np.ndarray | Sequence[bytes]) -> pa.LargeListArray:
    """One feature of n examples.

    Args:
        bounds: [n + 1], where the values of each example begin and end.
        values: of all examples, one after the other: int64, or bytes.
    """
    if isinstance(values, Ids):
        flat = pa.array(values.value, pa.large_binary()).take(pa.array(values.code))
    elif isinstance(values, np.ndarray) and values.dtype.kind == "i":
        flat = pa.array(values, pa.int64())
    else:
        flat = pa.array(values, pa.large_binary())
    return pa.LargeListArray.from_arrays(pa.array(bounds, pa.int64()), flat)


def encode(columns: Columns) -> list[bytes]:
    """Serialized tf.Examples [n] of features [n], as protobuf's deterministic serialization writes them."""
    # The encoder writes several features in an order that differs between processes, so it gets one at a time.
    encoder = RecordBatchToExamplesEncoder()
    entries = [encoder.encode(pa.RecordBatch.from_arrays([columns[name]], [name])) for name in sorted(columns)]
    return [_example(b"".join(map(_features, one))) for one in zip(*entries)]


def _features(example: bytes) -> bytes:
    """What is behind the tag and the length of an example's only field."""
    start = 2
    while example[start - 1] & 0x80:
        start += 1
    return example[start:]


def _example(features: bytes) -> bytes:
    length, varint = len(features), bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return _FEATURES_TAG + varint + features


def write_split(directory: str) -> beam.PTransform:
    """Writes serialized tf.Examples to the files that TFX's own components write, one for each bundle of a worker."""
    return beam.io.Write(_QuicklyCompressed(
        os.path.join(directory, "data_tfrecord"), beam.coders.BytesCoder(), file_name_suffix=".gz", num_shards=0,
        shard_name_template=None, compression_type=CompressionTypes.UNCOMPRESSED))


class _QuicklyCompressed(tfrecordio._TFRecordSink):
    """Gzip by ISA-L: a fifth of the time of zlib's quickest level, which takes a third of that of Beam's."""

    def open(self, temp_path: str) -> igzip.IGzipFile:
        return _OwningGzip(super().open(temp_path))


class _OwningGzip(igzip.IGzipFile):
    """Closes the file below it too."""

    def __init__(self, file):
        super().__init__(filename="", mode="wb", fileobj=file, mtime=0)
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()
