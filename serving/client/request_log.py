"""A sample of the requests that a client sent, kept as TF Serving keeps them: TFRecord files of PredictionLog.

A record has the request, the version that answered, the rate of the sample and the time; no answer and no user id.
`python -m tfx_pipeline.skew_check` compares the histories in it with those that a model was trained on.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from serving import contract
from serving.client import tfrecord
from serving.client.history import History
from serving.client.messages import PredictionLog, PredictRequest, PredictResponse
from serving.client.tensors import to_array

_LOG = logging.getLogger(__name__)


class RequestLog:
    """Writes each offered request with a given probability, from any number of threads.

    Files are named PATH-00000.tfrecord, PATH-00001.tfrecord ..: the next that is not there yet, so several processes
    may have one path and a restart goes on beside what there is. A record is written in one piece. A log that cannot be
    written costs no answer: the first failure is logged, and the requests are counted in `lost`.

    Args:
        path: of the files, without "-NUMBER.tfrecord"; its folder is made.
        rate: share of the requests that is kept, above 0 to 1.
        seed: of the draws; None draws differently in each process.
        max_bytes: a file that has so many is closed, and the next begun.

    Raises:
        ValueError: an argument is out of its range.
        OSError: the folder cannot be made.
    """

    def __init__(self, path: str, rate: float = 0.01, seed: int | None = None, max_bytes: int = 64 << 20):
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, got {rate}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self._path, self._rate, self._max_bytes = path, rate, max_bytes
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._number = 0
        self.lost = 0

    def offer(self, request: PredictRequest, response: PredictResponse) -> None:
        """Writes a request that was answered, or not, as the draw says."""
        with self._lock:
            if self._random.random() >= self._rate:
                return
            record = PredictionLog()
            record.predict_log.request.CopyFrom(request)
            record.log_metadata.model_spec.CopyFrom(response.model_spec)
            record.log_metadata.sampling_config.sampling_rate = self._rate
            record.log_metadata.timestamp_secs = int(time.time())
            try:
                self._write(tfrecord.frame(record.SerializeToString()))
            except OSError as error:
                if not self.lost:
                    _LOG.error("requests are not logged to %s: %s", self._path, error)
                self.lost += 1

    def close(self) -> None:
        """Ends the file; a later request begins another."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def __enter__(self) -> "RequestLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, framed: bytes) -> None:
        if self._file and self._file.tell() >= self._max_bytes:
            self._file.close()
            self._file = None
        if not self._file:
            self._file = self._next_file()
        start = self._file.tell()
        if self._file.write(framed) < len(framed):
            self._file.truncate(start)
            self._file.seek(start)
            raise OSError("no room for a whole record")

    def _next_file(self) -> BinaryIO:
        while True:
            try:
                return open(f"{self._path}-{self._number:05d}.tfrecord", "xb", buffering=0)
            except FileExistsError:
                self._number += 1


def read_histories(files: Iterable[str]) -> Iterator[History]:
    """The histories of logged requests, of whichever signature; requests that hold none are passed over.

    Args:
        files: TFRecord files of PredictionLog, this module's or TF Serving's own.

    Raises:
        ValueError: a file is damaged, or no such log. One that ends inside a record, as one does whose writer was
            killed, is read up to there and logged.
    """
    for file in files:
        with open(file, "rb") as opened:
            try:
                for record in tfrecord.read(opened):
                    yield from _histories(PredictionLog.FromString(record).predict_log.request)
            except EOFError:
                _LOG.warning("%s ends inside a record; it was read up to there", file)
            except Exception as error:
                raise ValueError(f"{file} must be a TFRecord file of PredictionLog: {error}") from error


def _histories(request: PredictRequest) -> Iterator[History]:
    if not {contract.ITEM_ID, contract.TIMESTAMP, contract.LENGTH} <= request.inputs.keys():
        return
    inputs = {name: to_array(request.inputs[name]).tolist() for name in request.inputs}
    for row, length in enumerate(inputs[contract.LENGTH]):
        types = inputs.get(contract.EVENT_TYPE)
        yield History(
            _texts(inputs[contract.ITEM_ID][row][:length]), inputs[contract.TIMESTAMP][row][:length],
            inputs[contract.NOW][row], None if types is None else _texts(types[row][:length]),
            {name.removeprefix(contract.PROFILE): values[row].decode() for name, values in inputs.items()
             if name.startswith(contract.PROFILE)})


def _texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode() for value in values]
