"""What the blocking client and the asyncio client are told alike, and how they ask."""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import grpc

from serving.client.answers import Row
from serving.client.filters import Filters
from serving.client.history import History
from serving.client.messages import PredictRequest, PredictResponse
from serving.client.requests import encode_items_request, predict_request
from serving.client.split import LabelSplit
from serving.client.tensors import to_array
from serving.client.texts import as_texts

METHOD = "/tensorflow.serving.PredictionService/Predict"
_MOST_ATTEMPTS = 5  # gRPC makes no more, whatever it is told

Metadata = Sequence[tuple[str, str | bytes]]
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Retry:
    """How often a request is sent that the server was not there for (UNAVAILABLE); no other error is retried.

    gRPC itself retries, inside the request's deadline. It waits a random time, up to `first_wait` before the second
    attempt and up to twice as long before each further one.

    Attributes:
        attempts: 1 (never again) to 5.
        first_wait: seconds.
        longest_wait: seconds.

    Raises:
        ValueError: out of these ranges.
    """

    attempts: int = 3
    first_wait: float = 0.1
    longest_wait: float = 1.0

    def __post_init__(self):
        if not 1 <= self.attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"attempts must be 1 to {_MOST_ATTEMPTS}, the most that gRPC makes, got {self.attempts}")
        if not 0 < self.first_wait <= self.longest_wait:
            raise ValueError(f"first_wait must be above 0 and at most longest_wait, got {self.first_wait} "
                             f"and {self.longest_wait}")

    def channel_options(self) -> list[tuple[str, Any]]:
        """As gRPC takes them; messages may have any size."""
        # A name with several addresses, as dns:///NAME:PORT: requests go to each in turn, a retry to another.
        service_config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
        if self.attempts > 1:
            service_config["methodConfig"] = [{"name": [{}], "retryPolicy": {
                "maxAttempts": self.attempts, "initialBackoff": f"{self.first_wait}s",
                "maxBackoff": f"{self.longest_wait}s", "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"]}}]
        return [
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", int(self.attempts > 1)), ("grpc.service_config", json.dumps(service_config)),
            # A lost connection is tried again as soon as a request is.
            ("grpc.initial_reconnect_backoff_ms", round(1000 * self.first_wait)),
            ("grpc.max_reconnect_backoff_ms", round(1000 * self.longest_wait))]


class Asked(NamedTuple):
    """A request, and the places of its rows among the histories that were asked about."""

    places: list[int]
    request: PredictRequest


@dataclasses.dataclass(frozen=True)
class Settings:
    """See `Client`."""

    model_name: str
    timeout: float
    hedge_after: float | None
    label: str | LabelSplit | None
    metadata: Metadata

    def __post_init__(self):
        if not self.timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, got {self.timeout}")
        if self.hedge_after is not None and not 0 < self.hedge_after < self.timeout:
            raise ValueError(f"hedge_after must be above 0 and below timeout ({self.timeout} seconds), "
                             f"got {self.hedge_after}")

    def requests(self, histories: Sequence[History], signature: str, filters: Filters | Sequence[Filters] = Filters()
                 ) -> list[Asked]:
        """One request for each label that the histories' users are served.

        Args:
            histories: what is asked about.
            signature: that is asked.
            filters: of each history, or one for all.
        """
        filters = [filters] * len(histories) if isinstance(filters, Filters) else filters
        if len(filters) != len(histories):
            raise ValueError(f"filters must be one for all, or as many as the histories ({len(histories)}), "
                             f"got {len(filters)}")
        places: dict[str | None, list[int]] = {}
        for place, history in enumerate(histories):
            places.setdefault(self._label_of(history), []).append(place)
        return [Asked(of_label, predict_request([histories[place] for place in of_label], signature, self.model_name,
                                                label, [filters[place] for place in of_label]))
                for label, of_label in places.items()]

    def deadline(self, timeout: float | None) -> float:
        """When an answer must be there, on the monotonic clock."""
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def items_request(self, item_ids: Sequence[str]) -> PredictRequest:
        """The request that asks about items."""
        if isinstance(self.label, LabelSplit):
            raise ValueError("items are encoded by one version, but a LabelSplit chooses it by the user. "
                             "Make a client of one label, Client(.., label=..).")
        return encode_items_request(as_texts("item_ids", item_ids), self.model_name, self.label)

    def _label_of(self, history: History) -> str | None:
        if not isinstance(self.label, LabelSplit):
            return self.label
        if not history.user_id:
            raise ValueError("a history must have a user_id where a LabelSplit chooses the version, got none. "
                             "Write History(.., user_id=..).")
        return self.label.label(history.user_id)


def read_rows(asked: Sequence[Asked], responses: Sequence[PredictResponse], read: Callable[[Row], Answer]
              ) -> list[Answer]:
    """One answer for each history.

    Args:
        asked: the requests.
        responses: to each of them.
        read: makes an answer of a row of the outputs.
    """
    answers: dict[int, Answer] = {}
    for (places, _), response in zip(asked, responses):
        answers.update((places[number], read(row)) for number, row in enumerate(rows(response, len(places))))
    return [answers[place] for place in range(len(answers))]


def rows(response: PredictResponse, count: int) -> list[Row]:
    """The outputs, as name -> array for each of `count` rows."""
    arrays = {name: to_array(tensor) for name, tensor in response.outputs.items()}
    return [{name: array[row] for name, array in arrays.items()} for row in range(count)]


def left(deadline: float) -> float:
    """Seconds until a deadline; 0 if it has passed."""
    return max(0.0, deadline - time.monotonic())


def is_final(error: grpc.RpcError) -> bool:
    """Whether another server would say the same."""
    return error.code() != grpc.StatusCode.UNAVAILABLE
