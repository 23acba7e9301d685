"""The server as a process of its own, called with TensorFlow Serving's stock stubs and over HTTP."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import socket
import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.client import CategoryPrediction, Client, History, Recommendation
from serving.server.__main__ import main
from tests.serving.server_process import START_SECONDS, OneModelsServer
from tests.serving.toy_servable import ToyServable


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """A server started before there is anything to serve."""
    server = OneModelsServer(tmp_path_factory.mktemp("server"))
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Waiting" not in server.err() and time.monotonic() < deadline:
            time.sleep(0.1)
        server.publish(1, ToyServable(1).save)
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(launched):
    return launched.ready()


def request_for(signature: str = "", **changes) -> predict_pb2.PredictRequest:
    """Two users: milk then bread, and an empty history asked about at time 7; `changes` replace or add inputs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ulim"
    request.model_spec.signature_name = signature
    inputs = {
        "item_id": tf.make_tensor_proto([["milk", "bread"], ["x", "x"]]),
        "timestamp": tf.make_tensor_proto([[5, 9], [0, 0]], tf.int64),
        "length": tf.make_tensor_proto([2, 0], tf.int32),
        "now": tf.make_tensor_proto([0, 7], tf.int64),
    }
    for name, tensor in {**inputs, **changes}.items():
        if tensor is not None:
            request.inputs[name].CopyFrom(tensor)
    return request


def only(signature: str, **inputs) -> predict_pb2.PredictRequest:
    nothing = dict.fromkeys(("item_id", "timestamp", "length", "now"))
    return request_for(signature, **{**nothing, **inputs})


def refused(call, request) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=30)
    return error.value.code(), error.value.details()


# Predict ------------------------------------------------------------------------------------------------------------


def test_predict_answers_every_output_and_says_what_answered(server):
    answer = server.stub.Predict(request_for(), timeout=30)
    assert set(answer.outputs) == {"item_id", "score", "category_id", "channel", "count"}
    more = [f"v{server.version}-b".encode(), f"v{server.version}-c".encode()]
    assert list(answer.outputs["item_id"].string_val) == [b"bread", *more, b"none", b"", b""]
    assert [dim.size for dim in answer.outputs["item_id"].tensor_shape.dim] == [2, 3]
    assert list(answer.outputs["score"].float_val) == [9.0, 8.5, 8.0, 7.0, 6.5, 6.0]
    assert list(answer.outputs["category_id"].string_val) == [b"bakery", b"?", b"?", b"?", b"?", b"?"]
    assert list(answer.outputs["channel"].int_val) == [0, 1, 2, 0, 1, 2]
    assert list(answer.outputs["count"].int_val) == [3, 1]
    assert (answer.model_spec.name, answer.model_spec.version.value, answer.model_spec.signature_name) == (
        "ulim", server.version, "serving_default")


def test_predict_takes_histories_without_a_single_event(server):
    answer = server.stub.Predict(request_for(
        item_id=TensorProto(dtype=tf.string.as_datatype_enum, tensor_shape=tf.TensorShape([2, 0]).as_proto()),
        timestamp=TensorProto(dtype=tf.int64.as_datatype_enum, tensor_shape=tf.TensorShape([2, 0]).as_proto()),
        length=tf.make_tensor_proto([0, 0], tf.int32)), timeout=30)
    assert list(answer.outputs["item_id"].string_val) == [b"none", b"", b"", b"none", b"", b""]


def test_predict_runs_the_signature_asked_for(server):
    answer = server.stub.Predict(request_for("predict_category"), timeout=30)
    assert list(answer.outputs["category_id"].string_val) == [b"dairy", b"bakery"] * 2
    assert answer.model_spec.signature_name == "predict_category"


def test_predict_answers_scalars(server):
    answer = server.stub.Predict(only("total", value=tf.make_tensor_proto([1.5, 2.0, 3.0]),
                                      flag=tf.make_tensor_proto([True, False])), timeout=30)
    assert list(answer.outputs["sum"].float_val) == [6.5]
    assert list(answer.outputs["flags"].int_val) == [1]
    assert not answer.outputs["sum"].tensor_shape.dim


def test_output_filter_chooses_outputs(server):
    request = request_for()
    request.output_filter[:] = ["count"]
    assert list(server.stub.Predict(request, timeout=30).outputs) == ["count"]


def test_a_constant_may_be_sent_once(server):
    once = tf.make_tensor_proto(4, tf.int64, [2])
    assert len(once.int64_val) == 1
    answer = server.stub.Predict(request_for(now=once), timeout=30)
    assert list(answer.outputs["score"].float_val) == [4.0, 3.5, 3.0] * 2


def test_the_projects_client_understands_the_answers(server):
    with Client(f"127.0.0.1:{server.port}") as client:
        answers = client.recommend_batch([History(["milk", "bread"], [5, 9]), History()])
        assert answers[0][0] == Recommendation("bread", "bakery", "long-term", 9.0)
        assert [len(answer) for answer in answers] == [3, 1]
        assert client.recommend(History()) == [Recommendation("none", "?", "long-term", 0.0)]
        assert client.predict_categories(History())[0] == CategoryPrediction("dairy", 0.75, 0.5)


def test_a_version_can_be_asked_for(server):
    request = request_for()
    request.model_spec.version.value = server.version
    assert server.stub.Predict(request, timeout=30).model_spec.version.value == server.version


def test_a_request_larger_than_grpcs_own_limit_is_taken(server):
    six_megabytes = tf.make_tensor_proto(tf.ones([1_500_000]))
    answer = server.stub.Predict(only("total", value=six_megabytes, flag=tf.make_tensor_proto([True, True])),
                                 timeout=60)
    assert answer.outputs["sum"].float_val[0] == 1_500_000


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "code", "text"), [
    ({"name": "other"}, "NOT_FOUND", "Servable not found for request: Latest(other)"),
    ({"version": 999}, "NOT_FOUND", "Servable not found for request: Specific(ulim, 999)"),
    ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ({"version_label": "stable"}, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    ({"signature_name": "nosuch"}, "FAILED_PRECONDITION", 'Serving signature key "nosuch" not found.'),
    ({"signature_name": "__saved_model_init_op"}, "INVALID_ARGUMENT",
     "Expected prediction signature method_name to be one of"),
])
def test_a_model_that_is_not_there_is_refused(server, change, code, text):
    request = request_for()
    for field, value in change.items():
        if field == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, field, value)
    got, details = refused(server.stub.Predict, request)
    assert got.name == code
    assert text in details


def test_a_request_without_a_model_spec_is_refused(server):
    for call, request in ((server.stub.Predict, predict_pb2.PredictRequest()),
                          (server.stub.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest()),
                          (server.models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest())):
        assert refused(call, request) == (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


@pytest.mark.parametrize(("changes", "text"), [
    ({"length": None}, "Sent extra: {}. Missing but required: {length}."),
    ({"user": tf.make_tensor_proto(["u", "v"])}, "Sent extra: {user}. Missing but required: {}."),
    ({"now": tf.make_tensor_proto([0, 7], tf.int32)}, 'input "now" must be int64 [?], got int32 [2]'),
    ({"item_id": tf.make_tensor_proto([[1, 2]], tf.int64)}, 'input "item_id" must be string [?, ?], got int64 [1, 2]'),
    ({"item_id": tf.make_tensor_proto(["milk", "bread"])}, 'input "item_id" must be string [?, ?], got string [2]'),
    ({"now": tf.make_tensor_proto([1, 2, 3], tf.int64)}, '"item_id": 2, "length": 2, "now": 3, "timestamp": 2'),
])
def test_inputs_that_the_signature_does_not_take_are_refused(server, changes, text):
    code, details = refused(server.stub.Predict, request_for(**changes))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text in details


def test_a_fixed_dimension_is_checked(server):
    request = only("total", value=tf.make_tensor_proto([1.0]), flag=tf.make_tensor_proto([True, True, True]))
    assert refused(server.stub.Predict, request) == (
        grpc.StatusCode.INVALID_ARGUMENT, 'input "flag" must be bool [2], got bool [3]')


def int64s(values, *shape, **fields) -> TensorProto:
    tensor = TensorProto(dtype=tf.int64.as_datatype_enum, int64_val=values, **fields)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@pytest.mark.parametrize(("tensor", "text"), [
    (int64s([1, 2, 3], 2), "shape [2] holds 2 values, but int64_val has 3"),
    (int64s([1, 2], 3), "shape [3] holds 3 values, but int64_val has 2"),
    (int64s([], 2), "shape [2] holds 2 values, but int64_val has 0"),
    (int64s([1], 1 << 40), f"shape [{1 << 40}] holds {1 << 40} values, but int64_val has 1"),
    (int64s([], 0, 1 << 62, 1 << 62), "tensor parsing error"),
    (int64s([1, 2], -2), "shape [-2] is not fully known"),
    (int64s([], tensor_content=b"123"), "buffer size must be a multiple of element size"),
    (int64s([], 3, tensor_content=bytes(16)), "cannot reshape array of size 2 into shape (3,)"),
    (TensorProto(dtype=tf.int64.as_datatype_enum, tensor_shape=tf.TensorShape(None).as_proto()),
     "shape of unknown rank is not fully known"),
    (TensorProto(), "dtype DT_INVALID is not supported"),
    (TensorProto(dtype=tf.resource.as_datatype_enum), "dtype DT_RESOURCE is not supported"),
    (TensorProto(dtype=99), "dtype 99 is not supported"),
])
def test_a_tensor_that_does_not_parse_is_refused_by_name(server, tensor, text):
    code, details = refused(server.stub.Predict, request_for(now=tensor))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith('tensor parsing error: input "now": ')
    assert text in details


def test_output_filter_refuses_what_is_not_an_output_or_comes_twice(server):
    request = request_for()
    request.output_filter[:] = ["count", "ranks"]
    assert refused(server.stub.Predict, request) == (
        grpc.StatusCode.INVALID_ARGUMENT, "output tensor alias not found in signature: ranks. "
        "Outputs expected to be in the set {category_id, channel, count, item_id, score}.")
    request.output_filter[:] = ["count", "count"]
    assert refused(server.stub.Predict, request) == (
        grpc.StatusCode.INVALID_ARGUMENT, "duplicate output tensor alias in output_filter: count, count")


def test_an_error_in_the_graph_keeps_its_code(server):
    code, details = refused(server.stub.Predict, only("pick", place=tf.make_tensor_proto([7], tf.int32)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("indices[0] = 7 is not in [0, 3)")


def test_a_message_too_long_for_a_grpc_status_is_cut(server):
    code, details = refused(server.stub.Predict, request_for(**{"x" * 20_000: tf.make_tensor_proto(1)}))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert len(details) == 1024


# Metadata and status ------------------------------------------------------------------------------------------------


def metadata_request(*fields: str) -> get_model_metadata_pb2.GetModelMetadataRequest:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "ulim"
    return request


def test_metadata_holds_the_signatures(server):
    answer = server.stub.GetModelMetadata(metadata_request("signature_def"), timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def["serving_default"].inputs
    assert {name: tf.as_dtype(info.dtype).name for name, info in inputs.items()} == {
        "item_id": "string", "timestamp": "int64", "length": "int32", "now": "int64"}
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("ulim", server.version)


def test_metadata_refuses_other_fields(server):
    assert refused(server.stub.GetModelMetadata, metadata_request()) == (
        grpc.StatusCode.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field")
    assert refused(server.stub.GetModelMetadata, metadata_request("signature_def", "cost")) == (
        grpc.StatusCode.INVALID_ARGUMENT, "Metadata field cost is not supported")


def test_status_tells_versions_and_refuses_unknown_ones(server):
    assert server.states()[server.version].state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "other"
    assert refused(server.models.GetModelStatus, request) == (
        grpc.StatusCode.NOT_FOUND, "Could not find any versions of model other")
    request.model_spec.name = "ulim"
    request.model_spec.version.value = 999
    assert refused(server.models.GetModelStatus, request) == (
        grpc.StatusCode.NOT_FOUND, "Could not find version 999 of model ulim")


# REST ---------------------------------------------------------------------------------------------------------------

ROWS = [{"item_id": ["milk", "bread"], "timestamp": [5, 9], "length": 2, "now": 0},
        {"item_id": [{"b64": "eA=="}, "x"], "timestamp": [0, 0], "length": 0, "now": 7}]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


def test_rest_answers_as_grpc_in_both_formats(server):
    outputs = {name: tf.make_ndarray(tensor) for name, tensor
               in server.stub.Predict(request_for(), timeout=30).outputs.items()}
    expected = {name: [[v.decode() for v in row] for row in array] if array.dtype == object else array.tolist()
                for name, array in outputs.items()}
    assert server.rest("/v1/models/ulim:predict", {"inputs": COLUMNS}) == (200, {"outputs": expected})
    rows = [{name: values[place] for name, values in expected.items()} for place in (0, 1)]
    for path in ("/v1/models/ulim:predict", f"/v1/models/ulim/versions/{server.version}:predict"):
        assert server.rest(path, {"signature_name": "serving_default", "instances": ROWS}) == (
            200, {"predictions": rows})


def test_rest_drops_the_names_of_a_single_input_and_output_and_writes_bytes_as_base64(server):
    path = "/v1/models/ulim:predict"
    # base64 of "10" and of "30"
    expected = [{"b64": "MTA="}, {"b64": "MzA="}]
    assert server.rest(path, {"signature_name": "pick", "instances": [0, 2]}) == (200, {"predictions": expected})
    assert server.rest(path, {"signature_name": "pick", "inputs": [0, 2]}) == (200, {"outputs": expected})


def test_rest_writes_floats_with_their_shortest_digits(server):
    assert server.rest("/v1/models/ulim:predict", {
        "signature_name": "total", "inputs": {"value": [0.2], "flag": [True, False]}}) == (
        200, {"outputs": {"sum": 0.2, "flags": 1}})


def test_rest_tells_states_and_signatures(server):
    states = {"model_version_status": [
        {"version": str(server.version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]}
    assert server.rest("/v1/models/ulim") == (200, states)
    assert server.rest(f"/v1/models/ulim/versions/{server.version}") == (200, states)
    status, answer = server.rest("/v1/models/ulim/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "ulim", "signature_name": "", "version": str(server.version)}
    length = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["length"]
    assert length["dtype"] == "DT_INT32"
    assert length["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}


@pytest.mark.parametrize(("path", "body", "status", "text"), [
    ("/v1/models/other:predict", {"instances": ROWS}, 404, "Servable not found for request: Latest(other)"),
    ("/v1/models/ulim/versions/999:predict", {"instances": ROWS}, 404, "Specific(ulim, 999)"),
    ("/v1/models/other", None, 404, "Could not find any versions of model other"),
    ("/v1/models/other/metadata", None, 404, "Servable not found for request: Latest(other)"),
    ("/v1/models/ulim:predict", None, 400, "Malformed request: GET /v1/models/ulim:predict"),
    ("/v2/health", None, 400, "Malformed request: GET /v2/health"),
    ("/v1/models/ulim:predict", b"{", 400, "JSON Parse error"),
    ("/v1/models/ulim:predict", b"[" * 100_000, 400, "JSON Parse error"),
    ("/v1/models/ulim:predict", b"\xff", 400, "JSON Parse error"),
    ("/v1/models/ulim:predict", [1], 400, "JSON Value: [1] Is not object"),
    ("/v1/models/ulim:predict", {"signature_name": 1, "inputs": COLUMNS}, 400, "must be a string value"),
    ("/v1/models/ulim:predict", {"signature_name": "nosuch", "inputs": COLUMNS}, 400, 'key "nosuch" not found'),
    ("/v1/models/ulim:predict", {}, 400, "exactly one of 'instances' and 'inputs'"),
    ("/v1/models/ulim:predict", {"inputs": COLUMNS, "instances": ROWS}, 400, "exactly one of"),
    ("/v1/models/ulim:predict", {"instances": []}, 400, "'instances' must be a list with at least one element"),
    ("/v1/models/ulim:predict", {"instances": [ROWS[0], {"now": 0}]}, 400, "Failed to process element: 1"),
    ("/v1/models/ulim:predict", {"instances": [1, 2]}, 400, "Failed to process element: 0"),
    ("/v1/models/ulim:predict", {"inputs": [1, 2]}, 400,
     "'inputs' must be an object with the keys: item_id, length, now, timestamp; got: none"),
    ("/v1/models/ulim:predict", {"inputs": {**COLUMNS, "now": [0]}}, 400, '"now": 1'),
    ("/v1/models/ulim:predict", {"inputs": {**COLUMNS, "extra": [0]}}, 400, "got: extra, item_id, length,"),
    ("/v1/models/ulim:predict", {"inputs": {"now": [0]}}, 400, "got: now"),
    ("/v1/models/ulim:predict", {"inputs": {**COLUMNS, "now": [0, 1.5]}}, 400,
     'input "now": JSON Value: 1.5 is not of expected type: int64'),
    ("/v1/models/ulim:predict", {"inputs": {**COLUMNS, "length": [0, 1 << 31]}}, 400, "not of expected type: int32"),
    ("/v1/models/ulim:predict", {"inputs": {**COLUMNS, "item_id": [["a", 1], ["b", "c"]]}}, 400,
     'input "item_id": JSON Value: 1 is not of expected type: string'),
    ("/v1/models/ulim:predict", {"inputs": {**COLUMNS, "item_id": [["a"], ["b", "c"]]}}, 400,
     'expecting a list of 1 values, as at the same level before; got ["b", "c"]'),
    ("/v1/models/ulim:predict", {"inputs": {**COLUMNS, "item_id": [[{"b64": "?"}]]}}, 400, "Unable to base64 decode"),
    ("/v1/models/ulim:predict", {"signature_name": "total", "inputs": {"value": [1e300], "flag": [True, True]}}, 400,
     'input "value": JSON Value: 1e+300 is not of expected type: float32'),
    ("/v1/models/ulim:predict", {"signature_name": "total", "inputs": {"value": [1], "flag": [True, 1]}}, 400,
     'input "flag": JSON Value: 1 is not of expected type: bool'),
    ("/v1/models/ulim:predict", {"signature_name": "total", "instances": [{"value": 1, "flag": True}] * 2}, 400,
     "outputs have no common batch size to be rows of: "),
])
def test_rest_refuses_as_grpc(server, path, body, status, text):
    got, answer = server.rest(path, body)
    assert got == status
    assert text in answer["error"]


# Start, versions, end -----------------------------------------------------------------------------------------------


def test_the_server_says_what_it_waits_for_what_it_serves_and_where(server):
    assert f"Waiting for model_base_path {server.versions}: No such file or directory" in server.err()
    assert server.out().splitlines()[:3] == [
        f"Version 1 of ulim is AVAILABLE, from {server.versions}/1",
        f"Running gRPC ModelServer at 127.0.0.1:{server.port} ...",
        f"Exporting HTTP/REST API at:127.0.0.1:{server.rest_port} ...",
    ]


@pytest.mark.parametrize(("flag", "text"), [("--port", "cannot listen for gRPC at 127.0.0.1:"),
                                            ("--rest_api_port", "cannot listen for REST at 127.0.0.1:")])
def test_a_busy_port_ends_the_start_with_the_remedy(tmp_path, capsys, flag, text):
    ports = {"--port": 0, "--rest_api_port": 0}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports[flag] = taken.getsockname()[1]
        assert main([f"--model_base_path={tmp_path}", *(f"{name}={port}" for name, port in ports.items())]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert f"{text}{ports[flag]}" in line
    assert f"choose another with {flag}." in line


def test_a_new_version_is_swapped_in_without_a_failed_request(server):
    old = server.version
    new = old + 1
    answered, stopping = [], threading.Event()

    def ask():
        while not stopping.is_set():
            answer = server.stub.Predict(request_for(), timeout=30)
            version = answer.model_spec.version.value
            # No answer mixes two versions.
            assert answer.outputs["item_id"].string_val[1] == f"v{version}-b".encode()
            answered.append(version)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            server.publish(new, ToyServable(new).save)
            server.wait_for_state(new, "AVAILABLE")
            server.wait_for_state(old, "END")
            time.sleep(0.3)
        finally:
            stopping.set()
        for each in asking:
            each.result()
    assert set(answered) == {old, new}
    assert answered[-1] == new
    assert server.states()[old].status.error_code == 0
    request = request_for()
    request.model_spec.version.value = old
    assert refused(server.stub.Predict, request)[0] == grpc.StatusCode.NOT_FOUND
    server.withdraw(old)


def test_a_broken_version_is_reported_and_the_old_goes_on(server):
    old = server.version

    def corrupt(directory):
        os.mkdir(directory)
        pathlib.Path(directory, "saved_model.pb").write_bytes(b"not a SavedModel")

    server.publish(old + 1, corrupt)
    status = server.wait_for_state(old + 1, "END")
    assert status.status.error_code != 0
    assert "saved_model.pb" in status.status.error_message
    assert server.stub.Predict(request_for(), timeout=30).model_spec.version.value == old
    assert f"Version {old + 1} of ulim failed to load: " in server.err()
    server.withdraw(old + 1)


def test_other_folders_are_ignored(server):
    before = set(server.states())
    for name in (".tmp-8", "beam-temp-9", "9x", "-9", "1_000", "66"):
        os.makedirs(server.versions / name)
        if name != "66":
            (server.versions / name / "saved_model.pb").touch()
    (server.versions / "77").touch()
    os.mkdir(os.fsencode(server.versions) + b"/\xff")  # not UTF-8
    time.sleep(0.5)
    assert set(server.states()) == before


def test_sigterm_answers_what_is_in_flight_and_exits_with_0(server):
    answer = server.stub.Predict.future(only("spin", turns=tf.make_tensor_proto(250_000, tf.int64)), timeout=60)
    body = json.dumps({"signature_name": "spin", "inputs": 250_000}).encode()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        rest_answer = pool.submit(server.rest, "/v1/models/ulim:predict", body)
        time.sleep(0.5)
        assert not answer.done() and not rest_answer.done()
        server.process.send_signal(signal.SIGTERM)
        assert answer.result().outputs["turned"].int64_val[0] == 250_000
        assert rest_answer.result() == (200, {"outputs": 250_000})
    assert server.process.wait(30) == 0
    with contextlib.suppress(grpc.RpcError):
        server.stub.Predict(request_for(), timeout=5)
        raise AssertionError("the port still answers")
