"""Whether a servable may be pushed: it is loaded by a server in a fresh process and asked what users will ask.

    load         a fresh embedded server serves it in time
    signatures   names, dtypes and shapes are those of `serving/contract.py`
    answers      every warm-up request is answered as the contract says
    ids          what is answered is in the catalogue, in its category there
    latency      the median of each request of one user, repeated, is within the budget
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
from tfx.utils import io_utils

from serving import contract, warmup
from serving.server.process import NotServed, serve
from tfx_pipeline.components.servable_validator import checks
from tfx_pipeline.config import PushConfig
from ulim_tf.config import FeaturesConfig

FILE = "validation.json"

_REPEATS = 15
_REQUEST_SECONDS = 60.0
_LINES = 5  # of what the server printed, where it ended by itself
_ANY_SIZE = (("grpc.max_receive_message_length", -1),)


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    seconds: float
    faults: list[str]  # a sentence each; empty if it passed
    told: str  # what was found, for people

    @property
    def passed(self) -> bool:
        """Whether there is no fault."""
        return not self.faults


class Validation(NamedTuple):
    """All that was looked at, in that order; of a servable that cannot be loaded or asked, nothing more is."""

    checks: list[Check]

    @property
    def blessed(self) -> bool:
        """Whether the servable may be pushed."""
        return all(check.passed for check in self.checks)

    def faults(self) -> list[str]:
        """All faults, each with the check's name."""
        return [f"{check.name}: {fault}" for check in self.checks for fault in check.faults]


def validate(servable: str, features: FeaturesConfig, catalog: Iterable[tuple[bytes, bytes]], config: PushConfig,
             progress: Callable[[str], None] = lambda _: None, name: str = contract.MODEL_NAME) -> Validation:
    """Loads a servable as a server will and checks what it answers. A bad servable is told of, never raised.

    Args:
        servable: folder of the SavedModel, or its URI, from where it is copied.
        features: what the model reads, which decides the inputs.
        catalog: each item that may be answered, with its category.
        config: gives the time to load and the latency budget.
        progress: is told what begins.
        name: in `contract.SERVABLES`, which says what signatures it must have.
    """
    found: list[Check] = []
    with tempfile.TemporaryDirectory() as scratch, open(Path(scratch, "log"), "w+") as log:
        base = Path(scratch, "base")
        base.mkdir()
        if "://" in servable:
            progress(f"copying {name}")
            io_utils.copy_dir(servable, str(base / "1"))
        else:
            (base / "1").symlink_to(os.path.abspath(servable), target_is_directory=True)
        progress(f"loading {name} in a fresh server")
        start = time.monotonic()
        try:
            with serve(base, config.load_seconds, log) as target, grpc.insecure_channel(target, _ANY_SIZE) as channel:
                seconds = time.monotonic() - start
                found.append(Check("load", seconds, [], f"in {seconds:.1f} s"))
                for check in _ask(PredictionServiceStub(channel), servable, contract.SERVABLES[name], features,
                                  catalog, config, progress):
                    found.append(check)
        except NotServed as error:
            log.seek(0)
            printed = " ".join(log.read().splitlines()[-_LINES:])
            fault = f"{' '.join(str(error).split())}. The server printed: {printed or 'nothing'}"
            found.append(Check("load", time.monotonic() - start, [fault], ""))
    return Validation(found)


def validate_all(servables: Mapping[str, str], features: FeaturesConfig,
                 catalog: Callable[[], Iterable[tuple[bytes, bytes]]], config: PushConfig,
                 progress: Callable[[str], None] = lambda _: None) -> Validation:
    """Validates one servable after the other; the checks of all but `ulim` begin with the servable's name.

    Args:
        servables: folder of each, by its name in the contract.
        features: as of `validate`, like what follows.
        catalog: gives what it has anew for each servable.
        config: see above.
        progress: see above.
    """
    found: list[Check] = []
    for name, folder in servables.items():
        of_one = validate(folder, features, catalog(), config, progress, name).checks
        found += of_one if name == contract.MODEL_NAME else [
            check._replace(name=f"{name} {check.name}") for check in of_one]
    return Validation(found)


def write(validation: Validation, directory: str) -> None:
    """Writes `validation.json` into a folder."""
    told = {"blessed": validation.blessed,
            "checks": [check._asdict() | {"passed": check.passed} for check in validation.checks]}
    with tf.io.gfile.GFile(os.path.join(directory, FILE), "w") as file:
        file.write(json.dumps(told, indent=2) + "\n")


def read(directory: str) -> Validation:
    """What `write` wrote."""
    with tf.io.gfile.GFile(os.path.join(directory, FILE)) as file:
        told = json.load(file)["checks"]
    return Validation([Check(*(check[field] for field in Check._fields)) for check in told])


class _Answer(NamedTuple):
    request: PredictRequest
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]

    @property
    def requests(self) -> int:
        """B."""
        return len(self.inputs[contract.ITEM_ID])

    @property
    def signature(self) -> str:
        """The name of what was asked."""
        return self.request.model_spec.signature_name

    @property
    def name(self) -> str:
        """What was asked, for people."""
        if contract.LENGTH not in self.inputs:
            return f"{self.signature} of {self.requests} items"
        lengths = " and ".join(f"{length:,}" for length in self.inputs[contract.LENGTH])
        return f"{self.signature} of {lengths} events"


def _ask(stub: PredictionServiceStub, servable: str, signatures: Sequence[str], features: FeaturesConfig,
         catalog: Iterable[tuple[bytes, bytes]], config: PushConfig,
         progress: Callable[[str], None]) -> Iterator[Check]:
    """The checks of a servable that is served; those after one that failed make no sense."""
    check = _checked("signatures", lambda: checks.signature_faults(_signatures(stub), {
        name: contract.inputs(name, bool(features.event_types), features.user_profile) for name in signatures}))
    yield check
    if not check.passed:
        return
    answers: list[_Answer] = []
    check = _checked("answers", lambda: _replay(stub, servable, signatures, answers, progress))
    yield check._replace(told=f"{len(answers)} requests")
    if not check.passed:
        return
    items, categories = _answered(answers)
    check = _checked("ids", lambda: checks.id_faults(items, categories, catalog))
    yield check._replace(told=f"{len(items):,} items, {len(categories):,} categories")
    if not check.passed:
        return
    progress(f"timing, each request {_REPEATS} times")
    medians: list[float] = []
    check = _checked("latency", lambda: _slow(stub, answers, config.latency_budget_ms, medians))
    yield check._replace(told=f"at most {max(medians, default=0):.1f} ms, of {config.latency_budget_ms:g} allowed")


def _checked(name: str, look: Callable[[], Iterable[str]]) -> Check:
    """The faults that a look finds, one of them that the server refuses."""
    start = time.monotonic()
    faults: list[str] = []
    try:
        faults += look()
    except grpc.RpcError as error:
        faults.append(f"the server answered {error.code().name}: {' '.join(error.details().split())}")
    return Check(name, time.monotonic() - start, faults, "")


def _signatures(stub: PredictionServiceStub) -> SignatureDefMap:
    request = GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = contract.MODEL_NAME
    answer = stub.GetModelMetadata(request, timeout=_REQUEST_SECONDS)
    signatures = SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    return signatures.signature_def


def _replay(stub: PredictionServiceStub, servable: str, signatures: Sequence[str], answers: list[_Answer],
            progress: Callable[[str], None]) -> Iterator[str]:
    """The faults of the answers to all warm-up requests, which are put into the list."""
    try:
        requests = warmup.read(servable)
    except (ValueError, tf.errors.OpError) as error:
        yield f"the warm-up requests cannot be read: {error}"
        return
    progress(f"asking {len(requests)} warm-up requests")
    for signature in sorted(set(signatures) - {request.model_spec.signature_name for request in requests}):
        yield f"no warm-up request asks {signature}"
    for request in requests:
        outputs = stub.Predict(request, timeout=_REQUEST_SECONDS).outputs
        answer = _Answer(request, _arrays(request.inputs), _arrays(outputs))
        answers.append(answer)
        faults = list(checks.answer_faults(answer.signature, answer.outputs, answer.requests))
        if not faults and answer.signature in contract.FILTERED:
            faults += checks.filter_faults(answer.inputs, answer.outputs)
        yield from (f"{answer.name}: {fault}" for fault in faults)


def _arrays(tensors: Mapping[str, TensorProto]) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(tensor) for name, tensor in tensors.items()}


def _answered(answers: Iterable[_Answer]) -> tuple[dict[bytes, set[bytes]], set[bytes]]:
    """The items with their categories, and the categories that were predicted."""
    items: dict[bytes, set[bytes]] = {}
    categories: set[bytes] = set()
    for answer in answers:
        category = answer.outputs[contract.CATEGORY_ID]
        if contract.ITEM_ID not in answer.outputs:
            categories.update(filter(None, category.ravel()))  # none is that of an unknown item
            continue
        for row, count in enumerate(answer.outputs[contract.COUNT]):
            for item, of in zip(answer.outputs[contract.ITEM_ID][row, :count], category[row, :count]):
                items.setdefault(item, set()).add(of)
    return items, categories


def _slow(stub: PredictionServiceStub, answers: Iterable[_Answer], budget: float,
          medians: list[float]) -> Iterator[str]:
    """The requests of one user that take longer than the budget; the medians, ms, are put into the list."""
    for answer in answers:
        if answer.requests > 1:
            continue
        took = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            stub.Predict(answer.request, timeout=_REQUEST_SECONDS)
            took.append(1000 * (time.perf_counter() - start))
        medians.append(statistics.median(took))
        if medians[-1] > budget:
            yield (f"{answer.name} takes {medians[-1]:.1f} ms, median of {_REPEATS}, more than "
                   f"serving.latency_budget_ms = {budget:g} allows. Give the machine air, make retrieval smaller, or "
                   "raise the budget")
