"""What the server counts, under the names that TF Serving exports to Prometheus."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import re
import time
from collections.abc import Iterator

import prometheus_client

from serving.server.errors import code_of

DEFAULT_PATH = "/monitoring/prometheus/metrics"

# The exporter adds this to a counter's name; TF Serving's counters have no such ending.
_ADDED = re.compile(r"(?m)^((?:# (?:HELP|TYPE) )?[\w:]+)_total(?=[ {])")
_MICROSECONDS = 1e6

# When a series began is no series of TF Serving's.
prometheus_client.disable_created_metrics()


class Metrics:
    """Counters and histograms of one server; safe in any thread.

    A request counts under the name of the model that was found for it, or under "" if none was: names that clients
    make up must not make the page grow.
    """

    def __init__(self) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._request_count = self._counter(
            ":tensorflow:serving:request_count", "The total number of requests.", "model_name", "status")
        self._request_latency = self._histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            10, 33, "model_name", "API", "entrypoint")
        self._queuing_latency = self._histogram(
            ":tensorflow:serving:batching_session:queuing_latency",
            "Distribution of wall time spent (in microseconds) in queuing", 100, 52, "thread_pool_name", power=1.2)
        self._warmup_latency = self._histogram(
            ":tensorflow:serving:model_warmup_latency",
            "Distribution of wall time (in microseconds) for warming up the model.", 10, 33, "model_path", "status")
        self._load_count = self._counter(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "The number of times a SavedModel was requested to be loaded.", "model_path", "status")
        self._graph_runs = self._counter(
            ":tensorflow:core:graph_runs", "The number of graph executions used to collect "
            "/tensorflow/core/graph_run_time_usecs")
        self._graph_run_time = self._counter(
            ":tensorflow:core:graph_run_time_usecs", "The total time spent on executing graphs in microseconds.")

    @contextlib.contextmanager
    def request(self, api: str, entrypoint: str) -> Iterator["Request"]:
        """Counts the request that is answered inside, with its outcome, and times it if it succeeds.

        Args:
            api: the method, such as "Predict".
            entrypoint: "GRPC" or "REST".
        """
        asked, start, status = Request(), time.monotonic(), "OK"
        try:
            yield asked
        except Exception as error:
            status = code_of(error).name
            raise
        finally:
            self._request_count.labels(asked.model_name, status).inc()
            if status == "OK":
                self._request_latency.labels(asked.model_name, api, entrypoint).observe(
                    (time.monotonic() - start) * _MICROSECONDS)

    @contextlib.contextmanager
    def graph_run(self) -> Iterator[None]:
        """Counts and times what is done inside as one run of a graph."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._graph_runs.inc()
            self._graph_run_time.inc((time.monotonic() - start) * _MICROSECONDS)

    @contextlib.contextmanager
    def load(self, directory: str) -> Iterator[None]:
        """Counts what is done inside as an attempt to load the SavedModel in `directory`."""
        status = "fail"
        try:
            yield
            status = "success"
        finally:
            self._load_count.labels(directory, status).inc()

    @contextlib.contextmanager
    def warm_up(self, directory: str) -> Iterator[None]:
        """Times what is done inside as the warm-up of the SavedModel in `directory`."""
        start, status = time.monotonic(), "OK"
        try:
            yield
        except Exception as error:
            status = code_of(error).name
            raise
        finally:
            self._warmup_latency.labels(directory, status).observe((time.monotonic() - start) * _MICROSECONDS)

    def queued(self, thread_pool: str, seconds: float) -> None:
        """A request has waited so long for others to be merged with."""
        self._queuing_latency.labels(thread_pool).observe(seconds * _MICROSECONDS)

    def page(self) -> bytes:
        """All of it in Prometheus' text format."""
        text = prometheus_client.generate_latest(self._registry).decode()
        return _ADDED.sub(r"\1", text).encode()

    def _counter(self, name: str, help_: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, help_, labels, registry=self._registry)

    def _histogram(self, name: str, help_: str, scale: float, buckets: int, *labels: str,
                   power: float = 1.8) -> prometheus_client.Histogram:
        limits = [scale * power**step for step in range(buckets)]
        return prometheus_client.Histogram(name, help_, labels, buckets=limits, registry=self._registry)


class Request:
    """What is known of a request while it is answered.

    Attributes:
        model_name: of the model that was found for it.
    """

    def __init__(self) -> None:
        self.model_name = ""
