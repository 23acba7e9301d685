"""Columns of a log as bytes between Beam's steps: one Arrow buffer a chunk, each distinct id once.

Beam would pickle a chunk anew at every step that it passes, id by id. Bytes it copies, so they are compressed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ulim_tf.sequences import Ids

Columns = Mapping[str, Ids | np.ndarray]

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


def pack(columns: Columns) -> bytes:
    """Columns [E], of ids or int64, as bytes."""
    batch = batch_of(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_COMPRESSED) as stream:
        stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


def unpack(packed: bytes) -> pa.RecordBatch:
    """What was packed, for `merge`."""
    return pa.ipc.open_stream(packed).read_next_batch()


def batch_of(columns: Columns) -> pa.RecordBatch:
    """Columns [E], of ids or int64, for `merge`."""
    return pa.RecordBatch.from_arrays([
        pa.array(column) if isinstance(column, np.ndarray) else pa.DictionaryArray.from_arrays(
            column.code.astype(np.int32), pa.array(column.value, pa.binary()))
        for column in columns.values()], list(columns))


def merge(batches: Iterable[pa.RecordBatch]) -> dict[str, Any]:
    """The columns of at least one batch, one below the other: each Ids [E] or int64 [E], as it was packed."""
    table = pa.Table.from_batches(batches).unify_dictionaries()
    return {name: _merged(table[name]) for name in table.column_names}


def _merged(column: pa.ChunkedArray) -> Ids | np.ndarray:
    if not pa.types.is_dictionary(column.type):
        return column.to_numpy()
    code = np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks])
    return ids_of(pa.DictionaryArray.from_arrays(code, column.chunk(0).dictionary))


def ids_of(encoded: pa.DictionaryArray) -> Ids:
    """Ids of text or bytes, dictionary-encoded, without nulls and without values that do not occur."""
    value = encoded.dictionary.cast(pa.binary())
    order = pc.sort_indices(value)
    place = np.empty(len(order), np.int64)
    place[order.to_numpy()] = np.arange(len(order))
    return Ids(place[encoded.indices.to_numpy()], value.take(order).to_numpy(zero_copy_only=False))
