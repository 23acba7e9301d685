"""Requests that run together: each gets its own rows, and none is hurt by another."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import concurrent.futures
import threading
import time

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.server import batching, text_configs
from serving.server.batching import Batcher, BatchingParameters
from serving.server.errors import ServingError, invalid
from serving.server.metrics import Metrics

LONG = 30_000_000  # microseconds; a batch runs because it is full, or the test fails


def checksum(inputs, timeout=None):
    """[n] of each row: its first `length` values weighted by place. Refuses rows with a -1."""
    real = np.arange(inputs["value"].shape[1]) < inputs["length"][:, None]
    if (inputs["value"][real] == -1).any():
        raise invalid("a row has a -1")
    return {"sum": (inputs["value"] * real * (1 + np.arange(inputs["value"].shape[1]))).sum(axis=1)}


class Counted:
    """Computes, and remembers what it was given."""

    def __init__(self, compute=checksum):
        self.compute, self.runs = compute, []

    def __call__(self, inputs, timeout):
        self.runs.append({name: array.copy() for name, array in inputs.items()})
        return self.compute(inputs)


def rows(*values):
    longest = max(map(len, values))
    return {"value": np.array([[*row, *[99] * (longest - len(row))] for row in values], np.int64).reshape(
                len(values), longest),
            "length": np.array([len(row) for row in values], np.int32)}


def ask_all(batcher, requests, compute):
    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        asked = [pool.submit(batcher.run, "key", request, compute) for request in requests]
        concurrent.futures.wait(asked)
    return [one.exception() or one.result()["sum"].tolist() for one in asked]


@pytest.fixture
def batcher_of():
    made = []

    def make(**parameters):
        made.append(Batcher(BatchingParameters(**parameters), Metrics()))
        return made[-1]

    yield make
    for batcher in made:
        batcher.stop()


def test_sixteen_clients_are_answered_by_one_run(batcher_of):
    batcher = batcher_of(max_batch_size=16, batch_timeout_micros=LONG, pad_variable_length_inputs=True)
    compute = Counted()
    answers = ask_all(batcher, [rows([number] * (number % 5)) for number in range(16)], compute)
    assert answers == [[number * sum(range(1, number % 5 + 1))] for number in range(16)]
    [run] = compute.runs
    assert run["value"].shape == (16, 4)


def test_a_batch_that_does_not_fill_runs_when_its_time_is_up(batcher_of):
    batcher = batcher_of(max_batch_size=100, batch_timeout_micros=50_000)
    start = time.monotonic()
    assert batcher.run("key", rows([1, 2]), checksum)["sum"].tolist() == [5]
    assert time.monotonic() - start >= 0.05


def test_requests_of_several_rows_get_theirs_back(batcher_of):
    batcher = batcher_of(max_batch_size=5, batch_timeout_micros=LONG, pad_variable_length_inputs=True)
    compute = Counted()
    assert ask_all(batcher, [rows([1], [2], [3]), rows([4, 5], [])], compute) == [[1, 2, 3], [14, 0]]
    assert len(compute.runs) == 1


def test_other_keys_and_without_padding_other_shapes_are_not_merged(batcher_of):
    batcher = batcher_of(max_batch_size=2, batch_timeout_micros=20_000)
    compute = Counted()
    answers = ask_all(batcher, [rows([1]), rows([2, 3]), rows([4]), rows([5, 6])], compute)
    assert answers == [[1], [8], [4], [17]]
    assert sorted(run["value"].tolist() for run in compute.runs) in ([[[1], [4]], [[2, 3], [5, 6]]],
                                                                     [[[2, 3], [5, 6]], [[4], [1]]])
    compute.runs.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda key: batcher.run(key, rows([1]), compute), ["one", "other"]))
    assert len(compute.runs) == 2


def test_what_the_graph_refuses_fails_alone(batcher_of):
    batcher = batcher_of(max_batch_size=4, batch_timeout_micros=LONG, pad_variable_length_inputs=True)
    compute = Counted()
    good, bad, *others = ask_all(batcher, [rows([1, 2]), rows([-1]), rows([3]), rows([])], compute)
    assert (good, others) == ([5], [[3], [0]])
    assert isinstance(bad, ServingError) and bad.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [len(run["value"]) for run in compute.runs] == [4, 1, 1, 1, 1]


def test_outputs_that_have_no_rows_are_never_split(batcher_of):
    batcher = batcher_of(max_batch_size=2, batch_timeout_micros=LONG)
    compute = Counted(lambda inputs: {"sum": inputs["value"].sum(axis=0)})
    assert sorted(ask_all(batcher, [rows([1, 2, 3]), rows([4, 5, 6])], compute)) == [[1, 2, 3], [4, 5, 6]]


def test_a_full_queue_refuses(batcher_of):
    batcher = batcher_of(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1)
    running, going_on = threading.Event(), threading.Event()

    def slow(inputs, timeout):
        running.set()
        assert going_on.wait(10)
        return checksum(inputs)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(batcher.run, "key", rows([1]), slow)]
        assert running.wait(10)
        asked += [pool.submit(batcher.run, "key", rows([number]), slow) for number in (2, 3)]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with pytest.raises(ServingError, match="queue to which this task was submitted is full") as refused:
                    batcher.run("key", rows([4]), slow, timeout=0.01)
                break
            except AssertionError:  # refused for its time: the others had not come yet
                continue
        assert refused.value.code == grpc.StatusCode.UNAVAILABLE
        going_on.set()
        assert [one.result()["sum"].tolist() for one in asked] == [[1], [2], [3]]


def test_more_rows_than_a_batch_may_hold_are_refused(batcher_of):
    batcher = batcher_of(max_batch_size=2, batch_timeout_micros=LONG)
    with pytest.raises(ServingError, match="Task size 3 is larger than maximum input batch size 2") as refused:
        batcher.run("key", rows([1], [2], [3]), checksum)
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_whose_time_is_up_is_not_run(batcher_of):
    batcher = batcher_of(max_batch_size=2, batch_timeout_micros=LONG)
    compute = Counted()
    with pytest.raises(ServingError) as refused:
        batcher.run("key", rows([1]), compute, timeout=0.01)
    assert refused.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert batcher.run("key", rows([2]), compute)["sum"].tolist() == [2]
    assert [run["value"].tolist() for run in compute.runs] == [[[2]]]


def test_those_who_wait_when_the_server_stops_are_refused(batcher_of):
    batcher = batcher_of(max_batch_size=2, batch_timeout_micros=LONG)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(batcher.run, "key", rows([1]), checksum)
        time.sleep(0.05)
        batcher.stop()
        for refused in (waiting.exception(10), pool.submit(batcher.run, "key", rows([1]), checksum).exception(10)):
            assert refused.code == grpc.StatusCode.UNAVAILABLE


def test_a_very_long_request_is_not_paid_for_by_short_ones(batcher_of):
    batcher = batcher_of(max_batch_size=4, batch_timeout_micros=20_000, pad_variable_length_inputs=True)
    compute = Counted()
    answers = ask_all(batcher, [rows([1] * 600_000), rows([2]), rows([3])], compute)
    assert answers == [[600_000 * 600_001 // 2], [2], [3]]
    assert sorted(run["value"].size for run in compute.runs) in ([2, 600_000], [1, 1, 600_000])


def test_padding_is_the_own_first_value_and_that_of_nothing_is_empty():
    merged = batching.merge([
        {"item": np.array([[b"a", b"b"]], object), "time": np.array([[7, 8]])},
        {"item": np.array([[b"c"], [b"d"]], object), "time": np.array([[9], [10]])},
        {"item": np.zeros([1, 0], object), "time": np.zeros([1, 0], int)}])
    assert merged["item"].tolist() == [[b"a", b"b"], [b"c", b"c"], [b"d", b"c"], [b"", b""]]
    assert merged["time"].tolist() == [[7, 8], [9, 9], [10, 9], [0, 0]]


def test_batches_are_filled_up_to_an_allowed_size(batcher_of):
    batcher = batcher_of(max_batch_size=8, batch_timeout_micros=20_000, allowed_batch_sizes=[1, 4, 8])
    compute = Counted()
    assert batcher.run("key", rows([1], [2], [3]), compute)["sum"].tolist() == [1, 2, 3]
    assert compute.runs[0]["value"].tolist() == [[1], [2], [3], [3]]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.lists(st.integers(-1, 5), max_size=4), min_size=1, max_size=4), min_size=1, max_size=8))
def test_each_gets_what_it_would_get_alone(batcher_of, requests):
    batcher = batcher_of(max_batch_size=6, batch_timeout_micros=2_000, max_enqueued_batches=100,
                         pad_variable_length_inputs=True, allowed_batch_sizes=[2, 6])
    answers = ask_all(batcher, [rows(*request) for request in requests], Counted())
    batcher.stop()
    for answer, request in zip(answers, requests):
        if any(-1 in row for row in request):
            assert isinstance(answer, ServingError) and str(answer) == "a row has a -1"
        else:
            assert answer == [sum(place * value for place, value in enumerate(row, 1)) for row in request]


@pytest.mark.parametrize(("text", "message"), [
    ("max_batch_size { value: 0 }", "max_batch_size must be at least 1, got 0"),
    ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be at least 0, got -1"),
    ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be at least 1, got 0"),
    ("num_batch_threads { value: -2 }", "num_batch_threads must be at least 1, got -2"),
    ("max_batch_size { value: 8 } allowed_batch_sizes: 4",
     r"allowed_batch_sizes must rise from at least 1 to max_batch_size \(8\), got \[4\]"),
    ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 4, 8]", r"got \[8, 4, 8\]"),
    ("max_batch_size: 8", 'BatchingParameters in protobuf\'s text format; .*Expected "{"'),
    ("max_batch { value: 8 }", 'has no field named "max_batch"'),
])
def test_a_file_that_asks_for_what_cannot_be_is_refused(tmp_path, text, message):
    file = tmp_path / "batching.config"
    file.write_text(text)
    with pytest.raises(ServingError, match=message) as refused:
        batching.from_message(text_configs.read("--batching_parameters_file", str(file), "BatchingParameters"),
                              str(file))
    assert str(refused.value).startswith("--batching_parameters_file ") and str(file) in str(refused.value)


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path):
    file = tmp_path / "batching.config"
    file.write_text("""max_batch_size { value: 32 } batch_timeout_micros { value: 1500 }
        thread_pool_name { value: "pool" } allowed_batch_sizes: [8, 32] pad_variable_length_inputs: true""")
    read = batching.from_message(text_configs.read("--batching_parameters_file", str(file), "BatchingParameters"), "")
    assert (read.max_batch_size, read.batch_timeout_micros, read.max_enqueued_batches, read.thread_pool_name,
            list(read.allowed_batch_sizes), read.pad_variable_length_inputs) == (32, 1500, 10, "pool", [8, 32], True)
