"""Requests of several clients merged into one run of the graph, as TF Serving's `--enable_batching` does."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import bisect
import concurrent.futures
import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence

import grpc
import numpy as np
from google.protobuf.message import Message

from serving.server.errors import ServingError, invalid
from serving.server.metrics import Metrics

Arrays = Mapping[str, np.ndarray]
Compute = Callable[[Arrays, float | None], dict[str, np.ndarray]]

# A history that is far longer than its neighbours' would be paid for by all of them: values of one padded input.
_MOST_PADDED = 1 << 20


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """What TF Serving's message of this name says; its defaults are TF Serving's.

    Attributes:
        max_batch_size: rows of a batch at most; a request with more is refused.
        batch_timeout_micros: a batch that is not full runs when its oldest request has waited so long.
        max_enqueued_batches: batches of one signature that may wait; requests beyond are refused.
        num_batch_threads: batches that may run at once.
        thread_pool_name: of the threads that run them, and the label of their metrics.
        allowed_batch_sizes: a batch is filled up to the next of these; empty for any size.
        pad_variable_length_inputs: whether requests whose inputs differ in length are merged too, the shorter ones
            padded behind with their own first value. Otherwise only requests of equal shapes are.

    Raises:
        ValueError: a value is out of its range.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: Sequence[int] = ()
    pad_variable_length_inputs: bool = False

    def __post_init__(self):
        for name, least in (("max_batch_size", 1), ("batch_timeout_micros", 0), ("max_enqueued_batches", 1),
                            ("num_batch_threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        sizes = list(self.allowed_batch_sizes)
        if sizes and (sizes != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != self.max_batch_size):
            raise ValueError(f"allowed_batch_sizes must rise from at least 1 to max_batch_size "
                             f"({self.max_batch_size}), got {sizes}")


def from_message(message: Message, file: str) -> BatchingParameters:
    """The parameters that a configuration file sets, and the defaults of those it does not.

    Raises:
        ServingError: INVALID_ARGUMENT, a value is out of its range.
    """
    given = {field.name: value.value if field.message_type else value for field, value in message.ListFields()}
    try:
        return BatchingParameters(**given)
    except ValueError as error:
        raise invalid(f"--batching_parameters_file {file}: {error}") from error


class Batcher:
    """Merges requests along their first dimension, runs them together, and gives each its own rows back.

    A merged run that fails is done again one request after the other, so that a request which the graph refuses fails
    alone.

    Args:
        parameters: how long requests wait for each other, and how many are merged.
        metrics: is told how long they waited.
    """

    def __init__(self, parameters: BatchingParameters, metrics: Metrics):
        self._parameters, self._metrics = parameters, metrics
        self._stopped = False
        # Guards _waiting and the batches in it; notified at every change.
        self._changed = threading.Condition()
        self._waiting: list[_Batch] = []  # oldest first
        for number in range(parameters.num_batch_threads):
            threading.Thread(target=self._work, name=f"{parameters.thread_pool_name}-{number}", daemon=True).start()

    def run(self, key: Hashable, inputs: Arrays, compute: Compute,
            timeout: float | None = None) -> dict[str, np.ndarray]:
        """Waits until the inputs have been computed, alone or with those of others.

        Args:
            key: requests of equal keys may be merged.
            inputs: arrays [n, ..], with the same n > 0 and, for one key, the same names, dtypes and ranks.
            compute: inputs [n, ..] and seconds -> outputs [n, ..], row by row; that of any of the merged requests is
                called.
            timeout: seconds; a request that still waits then is not run.

        Raises:
            ServingError: INVALID_ARGUMENT, n is more than a batch may hold; UNAVAILABLE, too many wait, or the server
                stops; DEADLINE_EXCEEDED; or what `compute` raised for this request.
        """
        task = _Task(inputs, compute, timeout)
        if task.rows > self._parameters.max_batch_size:
            raise invalid(f"Task size {task.rows} is larger than maximum input batch size "
                          f"{self._parameters.max_batch_size}")
        self._enqueue(key, task)
        try:
            return task.outputs.result(timeout)
        except concurrent.futures.TimeoutError:
            task.outputs.cancel()
            raise _late() from None

    def stop(self) -> None:
        """Ends the threads. Requests that still wait are refused."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _enqueue(self, key: Hashable, task: "_Task") -> None:
        parameters = self._parameters
        with self._changed:
            if self._stopped:
                raise ServingError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down")
            alike = [batch for batch in self._waiting if batch.key == key]
            for batch in alike:
                if batch.takes(task, parameters):
                    batch.add(task)
                    break
            else:
                if len(alike) >= parameters.max_enqueued_batches:
                    raise ServingError(grpc.StatusCode.UNAVAILABLE,
                                       "The batch scheduling queue to which this task was submitted is full")
                batch = _Batch(key, task, time.monotonic() + parameters.batch_timeout_micros / 1e6)
                self._waiting.append(batch)
            if batch.rows == parameters.max_batch_size:
                batch.due = 0.0
            self._changed.notify_all()

    def _work(self) -> None:
        while batch := self._next():
            batch.run(self._parameters, self._metrics)

    def _next(self) -> "_Batch | None":
        """The oldest batch that is full or has waited long enough; None at the end."""
        with self._changed:
            while True:
                if self._stopped:
                    for batch in self._waiting:
                        batch.fail(ServingError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down"))
                    self._waiting.clear()
                    return None
                now = time.monotonic()
                for place, batch in enumerate(self._waiting):
                    if batch.due <= now:
                        return self._waiting.pop(place)
                soonest = min((batch.due for batch in self._waiting), default=None)
                self._changed.wait(None if soonest is None else soonest - now)


class _Task:
    """One request."""

    def __init__(self, inputs: Arrays, compute: Compute, timeout: float | None):
        self.inputs, self.compute = inputs, compute
        self.rows = len(next(iter(inputs.values())))
        self.row_shapes = {name: array.shape[1:] for name, array in inputs.items()}
        self.outputs: concurrent.futures.Future[dict[str, np.ndarray]] = concurrent.futures.Future()
        self.since = time.monotonic()
        self._until = None if timeout is None else self.since + timeout

    def seconds_left(self) -> float | None:
        """Until the client's deadline; None if it has none."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())


class _Batch:
    """Requests that will run together."""

    def __init__(self, key: Hashable, task: _Task, due: float):
        self.key, self.due = key, due
        self._tasks, self.rows, self._row_shapes = [task], task.rows, task.row_shapes

    def takes(self, task: _Task, parameters: BatchingParameters) -> bool:
        rows = self.rows + task.rows
        if rows > parameters.max_batch_size:
            return False
        if task.row_shapes == self._row_shapes:
            return True
        return parameters.pad_variable_length_inputs and all(
            rows * math.prod(shape) <= _MOST_PADDED for shape in _largest([self._row_shapes, task.row_shapes]).values())

    def add(self, task: _Task) -> None:
        self._tasks.append(task)
        self.rows += task.rows
        self._row_shapes = _largest([self._row_shapes, task.row_shapes])

    def run(self, parameters: BatchingParameters, metrics: Metrics) -> None:
        """Computes, and wakes those who wait."""
        now = time.monotonic()
        # A request whose client has gone is left out.
        tasks = [task for task in self._tasks if task.outputs.set_running_or_notify_cancel()]
        for task in tasks:
            metrics.queued(parameters.thread_pool_name, now - task.since)
        if not tasks:
            return
        try:
            merged = merge([task.inputs for task in tasks], parameters.allowed_batch_sizes)
            left = [seconds for task in tasks if (seconds := task.seconds_left()) is not None]
            # As long as the most patient of them waits.
            outputs = tasks[0].compute(merged, max(left) if len(left) == len(tasks) else None)
            given = split(outputs, [task.rows for task in tasks], len(next(iter(merged.values()))))
        except Exception as error:  # whatever it is, it belongs to those who wait
            if len(tasks) == 1:
                tasks[0].outputs.set_exception(error)
            else:
                for task in tasks:
                    _run_alone(task)
            return
        for task, rows in zip(tasks, given):
            task.outputs.set_result(rows)

    def fail(self, error: Exception) -> None:
        for task in self._tasks:
            if task.outputs.set_running_or_notify_cancel():
                task.outputs.set_exception(error)


def merge(requests: Sequence[Arrays], allowed_rows: Sequence[int] = ()) -> dict[str, np.ndarray]:
    """Requests one below the other.

    Args:
        requests: arrays [n, ..] by name, the same names, dtypes and ranks in each. Where sizes after the first differ,
            the smaller arrays are padded behind with their own first value, or zeros or "" if they have none.
        allowed_rows: rising; the last row is repeated until there are as many rows as the next of these.

    Returns:
        Arrays [sum of n, or more, ..] by name.
    """
    rows = [len(next(iter(request.values()))) for request in requests]
    total = sum(rows)
    if allowed_rows:
        total = allowed_rows[bisect.bisect_left(allowed_rows, total)]
    shapes = _largest([{name: array.shape[1:] for name, array in request.items()} for request in requests])
    merged = {}
    for name, shape in shapes.items():
        whole = np.empty((total, *shape), requests[0][name].dtype)
        start = 0
        for request, count in zip(requests, rows):
            array = request[name]
            part = whole[start:start + count]
            if array.shape != part.shape:
                part[...] = array.flat[0] if array.size else b"" if array.dtype == object else 0
            part[tuple(map(slice, array.shape))] = array
            start += count
        whole[start:] = whole[start - 1]
        merged[name] = whole
    return merged


def split(outputs: Arrays, rows: Sequence[int], total: int) -> list[dict[str, np.ndarray]]:
    """The outputs [total, ..] of merged requests with so many `rows`, request by request.

    Raises:
        ServingError: FAILED_PRECONDITION, an output has not `total` rows, so they cannot be told apart.
    """
    for name, array in outputs.items():
        if array.shape[:1] != (total,):
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'output "{name}" {list(array.shape)} must have '
                               f"{total} rows, as the merged inputs")
    ends = np.cumsum(rows)
    return [{name: array[end - count:end] for name, array in outputs.items()} for count, end in zip(rows, ends)]


def _run_alone(task: _Task) -> None:
    try:
        if task.seconds_left() == 0:
            raise _late()
        task.outputs.set_result(task.compute(task.inputs, task.seconds_left()))
    except Exception as error:
        task.outputs.set_exception(error)


def _late() -> ServingError:
    return ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Run() timeout exceeded while waiting in batching queue")


def _largest(row_shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(map(max, *(shapes[name] for shapes in row_shapes))) if len(row_shapes) > 1
            else row_shapes[0][name] for name in row_shapes[0]}
