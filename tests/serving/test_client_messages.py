"""The client's own messages against those of tensorflow-serving-api, and the client where nothing else is installed."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.client import messages
from serving.client.tensors import fill, to_array
from tests.serving.in_process import serve
from tests.serving.toy_servable import ToyServable

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("ours", "upstream"), [
    (messages.TensorProto, tensor_pb2.TensorProto),
    (messages.PredictRequest, predict_pb2.PredictRequest),
    (messages.PredictResponse, predict_pb2.PredictResponse),
    (messages.PredictionLog, prediction_log_pb2.PredictionLog),
])
def test_every_field_has_upstreams_number_and_type(ours, upstream):
    compared = compare(ours.DESCRIPTOR, upstream.DESCRIPTOR)
    assert compared >= 4


def compare(ours, upstream) -> int:
    """Asserts that each field is upstream's; gives how many there are, those of fields included."""
    for field in ours.fields:
        theirs = upstream.fields_by_name[field.name]
        # An enum is written as an int32 is.
        kind = FieldDescriptor.TYPE_INT32 if theirs.type == FieldDescriptor.TYPE_ENUM else theirs.type
        assert (field.number, field.type, field.label) == (theirs.number, kind, theirs.label), field.full_name
    return len(ours.fields) + sum(compare(field.message_type, upstream.fields_by_name[field.name].message_type)
                                  for field in ours.fields if field.message_type)


@pytest.mark.parametrize(("dtype", "values"), [
    ("string", [[b"a", b"b\xc3\xa9"], [b"", b"c"]]), ("int32", [[1, -2]]), ("int64", [[2**40], [-1]]),
    ("float32", [0.5, -3.25]), ("bool", [True, False])])
def test_tensors_are_tensorflows_both_ways(dtype, values):
    array = np.array(values, object if dtype == "string" else dtype)
    made = messages.TensorProto()
    fill(made, dtype, array.shape, array.ravel().tolist())
    read = tf.make_ndarray(tensor_pb2.TensorProto.FromString(made.SerializeToString()))
    assert read.tolist() == values and tf.as_dtype(read.dtype) == tf.as_dtype(dtype)
    for proto in (tf.make_tensor_proto(array, dtype), tensor_pb2.TensorProto.FromString(made.SerializeToString())):
        again = to_array(messages.TensorProto.FromString(proto.SerializeToString()))
        assert again.tolist() == values and again.dtype == array.dtype


# All that may be imported beside the standard library.
ALONE = textwrap.dedent("""
    import importlib.abc, json, sys
    ALLOWED = {*sys.stdlib_module_names, "grpc", "google", "numpy", "serving", "cython_runtime", "_cython_3_0_11"}

    class Nothing(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] not in ALLOWED:
                raise ModuleNotFoundError(f"{name} is not installed here")

    sys.meta_path.insert(0, Nothing())
    from serving.client import AsyncClient, Client, History
    import asyncio
    asked = History(["milk"], [1700000000])
    with Client(sys.argv[1]) as client:
        items = [one.item_id for one in client.recommend(asked)]
        categories = [one.category_id for one in client.predict_categories(asked)]

    async def ask():
        async with AsyncClient(sys.argv[1]) as client:
            return [one.item_id for one in await client.recommend(asked)]

    print(json.dumps([items, categories, asyncio.run(ask())]))
    from serving.client.__main__ import main
    open("events.csv", "w").write("user_id,item_id,timestamp\\nu,milk,5\\n")
    sys.exit(main(["--server", sys.argv[1], "--history", "events.csv"]))
""")


def test_the_client_asks_the_embedded_server_where_only_grpcio_protobuf_and_numpy_are(tmp_path):
    ToyServable(1).save(str(tmp_path / "ulim" / "1"))
    with serve(tmp_path / "ulim", timeout=60) as target:
        done = subprocess.run([sys.executable, "-c", ALONE, target], cwd=tmp_path, capture_output=True, text=True,
                              env={"PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1"}, timeout=120)
    assert done.returncode == 0, done.stderr
    asked, _, first, second = done.stdout.splitlines()
    assert asked == '[["milk", "v1-b"], ["dairy", "bakery"], ["milk", "v1-b"]]'
    assert first.split()[:3] == ["1", "milk", "dairy"] and second.split()[1] == "v1-b"
