"""A real servable behind a server that merges requests, under attack: it answers or refuses, and never dies.

Meanwhile others ask as they always do, and must get what they got before. A minute's worth by default;
ULIM_FUZZ_REQUESTS=50000 is the long form, of most of an hour.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import grpc
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client import History, predict_request
from serving.server.process import wait_until_served
from tests.serving.server_process import free_port
from tests.serving.test_signatures import CATEGORIES, ITEM_CATEGORY, ITEMS, RESULTS, exported, history

pytestmark = pytest.mark.e2e

REPOSITORY = pathlib.Path(__file__).parents[2]
REQUESTS = int(os.environ.get("ULIM_FUZZ_REQUESTS", "800"))
MOST_ROWS = 32
MOST_GROWTH_MB = 50  # of resident memory; a kilobyte kept of each request would be as much in the long form

REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}
SHAPES = {"serving_default": {"item_id": RESULTS, "score": RESULTS, "category_id": RESULTS, "channel": RESULTS,
                              "count": None},
          "predict_category": {"category_id": 3, "probability": 3, "copy_share": 3}}


class Victim:
    """The server, and those who ask it meanwhile."""

    def __init__(self, base: pathlib.Path):
        (base / "batching.config").write_text(
            f"max_batch_size {{ value: {MOST_ROWS} }} batch_timeout_micros {{ value: 1000 }} "
            "max_enqueued_batches { value: 100 } pad_variable_length_inputs: true")
        self.port, self.rest_port = free_port(), free_port()
        with open(base / "log", "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving.server", f"--model_base_path={base}/ulim", f"--port={self.port}",
                 f"--rest_api_port={self.rest_port}", "--enable_batching",
                 f"--batching_parameters_file={base}/batching.config"],
                cwd=REPOSITORY, stdout=log, stderr=log, env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"})
        target = f"127.0.0.1:{self.port}"
        wait_until_served(target, 120, self.process)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(target, options))
        self._known = [(request, self.stub.Predict(request, timeout=30)) for request in (
            stock_request([History(*history(length, seed)) for length, seed in users], "serving_default")
            for users in ([(0, 0)], [(5, 1)], [(30, 2), (1, 3)], [(200, 4)]))]
        assert len({str(answer) for _, answer in self._known}) == len(self._known)
        self._stopping, self.looked, self.wrong = threading.Event(), 0, []
        self._neighbours = [threading.Thread(target=self._ask_on, args=(seed,)) for seed in range(3)]
        for neighbour in self._neighbours:
            neighbour.start()

    def stop(self):
        self._stopping.set()
        for neighbour in self._neighbours:
            neighbour.join()

    def resident_mb(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def well(self):
        """Alive, and right to all others so far."""
        assert self.process.poll() is None
        assert not self.wrong, self.wrong[0]

    def _ask_on(self, seed: int):
        choose = random.Random(seed)
        while not self._stopping.wait(0.01):
            request, expected = choose.choice(self._known)
            try:
                answer = self.stub.Predict(request, timeout=60)
                for name in ("item_id", "category_id", "channel", "count"):
                    assert answer.outputs[name] == expected.outputs[name]
                np.testing.assert_allclose(answer.outputs["score"].float_val, expected.outputs["score"].float_val,
                                           rtol=1e-3)
                self.looked += 1
            except (AssertionError, grpc.RpcError) as error:
                self.wrong.append(repr(error)[:2000])


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    base = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(exported(tmp_path_factory), base / "ulim" / "1")
    victim = Victim(base)
    try:
        yield victim
        victim.stop()
        victim.well()
        assert victim.looked > 50
        victim.process.send_signal(signal.SIGTERM)
        assert victim.process.wait(60) == 0
    finally:
        victim.stop()
        victim.process.kill()


# What is sent --------------------------------------------------------------------------------------------------------

INT64, INT32 = (-2**63, 2**63 - 1), (-2**31, 2**31 - 1)
ids = st.one_of(
    st.integers(0, ITEMS + 2).map(lambda number: f"item {number}".encode()), st.binary(max_size=40),
    st.just(b"\xff\xfe item"), st.just(b"item 1\x00"), st.just(b""), st.just(b"x" * 1_000_000))
times = st.one_of(st.integers(0, 2_000_000), st.just(7), st.sampled_from([*INT64, -1, 0, 2**40]),
                  st.integers(*INT64))
lengths = st.one_of(st.integers(0, 12), st.sampled_from([*INT32, -1, 1000, 2**20]), st.integers(*INT32))


def tensor(dtype, field: str, shape, values) -> TensorProto:
    proto = TensorProto(dtype=dtype)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(values)
    return proto


@st.composite
def near_requests(draw) -> predict_pb2.PredictRequest:
    """Shapes as they should be, values as they like."""
    rows, width = draw(st.sampled_from([(1, 0), (1, 1), (1, 9), (2, 4), (5, 2), (33, 1), (0, 3)]))
    some = rows * width

    def filled(values, count):
        few = draw(st.lists(values, min_size=min(count, 1), max_size=min(count, 12)))
        return [few[place % len(few)] for place in range(count)]

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "ulim", draw(st.sampled_from([*SHAPES]))
    for name, proto in (
            ("item_id", tensor(types_pb2.DT_STRING, "string_val", (rows, width), filled(ids, some))),
            ("timestamp", tensor(types_pb2.DT_INT64, "int64_val", (rows, width), filled(times, some))),
            ("length", tensor(types_pb2.DT_INT32, "int_val", (rows,), filled(lengths, rows))),
            ("now", tensor(types_pb2.DT_INT64, "int64_val", (rows,), filled(times, rows)))):
        request.inputs[name].CopyFrom(proto)
    return request


sizes = st.one_of(st.integers(-2, 5), st.sampled_from([-2**63, 2**20, 2**31, 2**40, 2**63 - 1]))
any_tensors = st.builds(
    tensor, st.sampled_from([*types_pb2.DataType.values()]), st.just("int64_val"), st.lists(sizes, max_size=4),
    st.lists(st.integers(*INT64), max_size=6))
float_tensors = st.builds(
    tensor, st.just(types_pb2.DT_FLOAT), st.just("float_val"), st.lists(sizes, max_size=3),
    st.lists(st.floats(width=32), max_size=6))
junk_tensors = st.builds(
    lambda dtype, shape, content: TensorProto(
        dtype=dtype, tensor_content=content, tensor_shape=tensor(1, "int_val", shape, []).tensor_shape),
    st.sampled_from([types_pb2.DT_STRING, types_pb2.DT_INT64, types_pb2.DT_INT32]), st.lists(sizes, max_size=3),
    st.binary(max_size=64))
# One value, said to be many.
vast_tensors = st.builds(
    lambda kind, shape: tensor(*kind, shape, [b"item 1" if kind[1] == "string_val" else 1]),
    st.sampled_from([(types_pb2.DT_STRING, "string_val"), (types_pb2.DT_INT64, "int64_val"),
                     (types_pb2.DT_INT32, "int_val")]),
    st.sampled_from([(1, 2**20), (2**20,), (2**20, 1), (2**20, 0), (1024, 1024), (1025,), (2**24, 1)]))


@st.composite
def far_requests(draw) -> predict_pb2.PredictRequest:
    """A request that was right, with parts of it replaced."""
    request = draw(near_requests())
    for name in draw(st.lists(st.sampled_from(["item_id", "timestamp", "length", "now", "nosuch", ""]), min_size=1,
                              max_size=4)):
        change = draw(st.one_of(any_tensors, float_tensors, junk_tensors, vast_tensors, st.none()))
        request.inputs[name].CopyFrom(change or TensorProto())
        if change is None:
            del request.inputs[name]
    request.model_spec.name = draw(st.sampled_from(["ulim", "ulim", "ulim", "", "../ulim", "\x00"]))
    request.output_filter.extend(draw(st.sampled_from([[], [], ["count"], ["count", "count"], [""]])))
    return request


def stock_request(histories: list[History], signature: str) -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest.FromString(predict_request(histories, signature).SerializeToString())


def check(request: predict_pb2.PredictRequest, answer: predict_pb2.PredictResponse) -> None:
    """What holds of every answer, whatever was asked."""
    rows = request.inputs["length"].tensor_shape.dim[0].size
    wanted = SHAPES[request.model_spec.signature_name]
    for name, output in answer.outputs.items():
        shape = [dim.size for dim in output.tensor_shape.dim]
        assert shape == ([rows] if wanted[name] is None else [rows, wanted[name]]), (name, shape)
    if request.output_filter:
        return
    assert answer.outputs.keys() == wanted.keys()
    scores = [value for name in ("score", "probability") for value in answer.outputs[name].float_val]
    assert np.isfinite(scores).all(), scores
    if request.model_spec.signature_name == "serving_default":
        assert list(answer.outputs["count"].int_val) == [RESULTS] * rows
        items, categories = ([value.decode() for value in answer.outputs[name].string_val]
                             for name in ("item_id", "category_id"))
        for start in range(0, len(items), RESULTS):
            row = items[start:start + RESULTS]
            assert len(set(row)) == RESULTS
            assert (np.diff(scores[start:start + RESULTS]) <= 0).all()
        for item, category in zip(items, categories):
            assert category == f"category {ITEM_CATEGORY[int(item.removeprefix('item '))]}"
    else:
        assert (np.array(scores) >= 0).all() and (np.array(scores) <= 1).all()
        assert {value.decode() for value in answer.outputs["category_id"].string_val} <= {
            f"category {number}" for number in range(1, CATEGORIES + 1)}


def ask(victim: Victim, request: predict_pb2.PredictRequest) -> bool:
    """Whether it was answered."""
    try:
        answer = victim.stub.Predict(request, timeout=60)
    except grpc.RpcError as error:
        assert error.code() in REFUSALS, error
        victim.well()
        return False
    check(request, answer)
    return True


def attack(examples: int) -> hypothesis.settings:
    return hypothesis.settings(max_examples=examples, deadline=None, database=None, derandomize=True,
                               suppress_health_check=list(hypothesis.HealthCheck))


def test_requests_of_right_shape_are_answered_whatever_they_hold(victim):
    @attack(REQUESTS // 2)
    @hypothesis.given(near_requests())
    def run(request):
        rows = request.inputs["length"].tensor_shape.dim[0].size
        assert ask(victim, request) == (1 <= rows <= MOST_ROWS)

    run()
    victim.well()


def test_any_other_request_is_answered_or_refused(victim):
    @attack(REQUESTS // 2)
    @hypothesis.given(far_requests())
    def run(request):
        ask(victim, request)

    run()
    victim.well()


def test_memory_is_flat(victim):
    draw = random.Random(0)

    def some(count):
        for _ in range(count):
            width = draw.choice([0, 1, 5, 50])
            request = stock_request([History([f"item {draw.randrange(ITEMS)}" for _ in range(width)],
                                               [draw.randrange(10**6) for _ in range(width)])], "serving_default")
            if draw.random() < 0.3:
                request.inputs["now"].int64_val.append(1)
                request.model_spec.name = draw.choice(["ulim", f"made up {draw.random()}"])
            with contextlib.suppress(grpc.RpcError):
                victim.stub.Predict(request, timeout=60)

    some(REQUESTS // 3)
    before = victim.resident_mb()
    some(REQUESTS)
    assert victim.resident_mb() - before < MOST_GROWTH_MB
    victim.well()


@pytest.mark.parametrize("port", ["port", "rest_port"])
def test_random_bytes_are_survived(victim, port):
    draw = random.Random(1)
    openings = [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST /v1/models/ulim:predict HTTP/1.1\r\n",
                b"POST /v1/models/ulim:predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET " + b"/" * 70_000]
    for _ in range(max(50, REQUESTS // 20)):
        with contextlib.suppress(OSError), socket.create_connection(
                ("127.0.0.1", getattr(victim, port)), timeout=5) as connection:
            connection.sendall(draw.choice(openings) + draw.randbytes(draw.choice([1, 30, 5000])))
            if draw.random() < 0.3:
                connection.settimeout(0.05)
                connection.recv(1000)
    victim.well()


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(), st.text(max_size=10),
              st.just({"b64": "AA=="}), st.just({"b64": "?"})),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8)
good_row = {"item_id": ["item 1", "item 2"], "timestamp": [1, 2], "length": 2, "now": 0}
json_rows = st.dictionaries(st.sampled_from([*good_row]), json_values).map(lambda change: {**good_row, **change})
json_bodies = st.one_of(
    st.lists(json_rows, max_size=3).map(lambda rows: {"instances": rows}),
    json_rows.map(lambda row: {"inputs": row}), st.dictionaries(
        st.sampled_from(["instances", "inputs", "signature_name"]), json_values), json_values)


def test_any_json_is_answered_or_refused(victim):
    @attack(REQUESTS // 5)
    @hypothesis.given(st.one_of(json_bodies.map(lambda body: json.dumps(body).encode()), st.binary(max_size=50)))
    def run(body):
        connection = http.client.HTTPConnection("127.0.0.1", victim.rest_port, timeout=30)
        connection.request("POST", "/v1/models/ulim:predict", body)
        answer = connection.getresponse()
        said = json.load(answer)
        assert answer.status in (200, 400) and ("error" in said) == (answer.status == 400), (answer.status, said)
        connection.close()

    run()
    victim.well()


# What nonsense means -------------------------------------------------------------------------------------------------


def test_a_negative_length_is_no_event_and_a_length_beyond_them_is_answered(victim):
    """Beyond them, a request that was widened to be merged reads its padding too; alone, see `test_signatures.py`."""
    items, stamps = history(6)

    def answered(length):
        request = stock_request([History(items, stamps, now=10**6)], "serving_default")
        request.inputs["length"].int_val[:] = [length]
        answer = victim.stub.Predict(request, timeout=30)
        check(request, answer)
        return dict(zip(answer.outputs["item_id"].string_val, answer.outputs["score"].float_val))

    assert answered(-5) == pytest.approx(answered(0), abs=1e-5)
    assert answered(-2**31) == pytest.approx(answered(0), abs=1e-5)
    assert answered(0) != pytest.approx(answered(6), abs=1e-5)
    for length in (7, 2**31 - 1):
        assert answered(length)


def test_histories_as_long_as_time_have_probabilities(victim):
    """The seconds between these two events of a category are more than an int64 holds."""
    for signature in SHAPES:
        request = stock_request([History(["item 1", "item 1"], [-2**63, 2**63 - 1], now=2**63 - 1)], signature)
        check(request, victim.stub.Predict(request, timeout=30))


@pytest.mark.parametrize("time", [-2**63, 2**63 - 1])
def test_padding_is_not_read_at_the_ends_of_time(victim, time):
    """Padding in front of real events in time's order must not take their place."""
    def asked(*padding):
        request = stock_request([History(["item 3", *padding], [time] * (1 + len(padding)))], "serving_default")
        request.inputs["length"].int_val[:] = [1]
        return victim.stub.Predict(request, timeout=30).outputs["item_id"]

    assert asked() == asked("item 9", "item 12")


def test_no_rows_and_too_many_are_refused_before_the_graph_runs(victim):
    for rows in (0, 1025, 2**20):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "ulim"
        for name, kind, shape, value in (
                ("item_id", (types_pb2.DT_STRING, "string_val"), (rows, 0), []),
                ("timestamp", (types_pb2.DT_INT64, "int64_val"), (rows, 0), []),
                ("length", (types_pb2.DT_INT32, "int_val"), (rows,), [0][:rows]),
                ("now", (types_pb2.DT_INT64, "int64_val"), (rows,), [1][:rows])):
            request.inputs[name].CopyFrom(tensor(*kind, shape, value))
        with pytest.raises(grpc.RpcError) as refused:
            victim.stub.Predict(request, timeout=30)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details() == f"a request must have 1 to 1024 rows (first dimension), got {rows}"
