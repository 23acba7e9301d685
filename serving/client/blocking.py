"""The client of programs that wait for an answer."""

import itertools
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import grpc

from serving import contract
from serving.client import answers
from serving.client.answers import (
    CategoryPrediction,
    Explanation,
    ItemEncoding,
    Recommendation,
    Row,
    UserEncoding,
)
from serving.client.filters import Filters
from serving.client.history import History
from serving.client.messages import PredictRequest, PredictResponse
from serving.client.settings import METHOD, Metadata, Retry, Settings, is_final, left, read_rows, rows
from serving.client.split import LabelSplit

if TYPE_CHECKING:
    from serving.client.request_log import RequestLog

_Answer = TypeVar("_Answer")


class Client:
    """A connection to a server, usable from many threads; close it, or use it in a `with`.

    Args:
        target: "host:port" of the gRPC interface. "dns:///NAME:port" of a name with several addresses, such as a
            headless service of Kubernetes, sends requests to each server in turn.
        model_name: as the server names it.
        timeout: seconds in which an answer must be there, retries and all; every method takes another for one call.
        retry: how often a request is sent that found no server.
        hedge_after: seconds after which a request that has no answer yet is sent a second time; the first answer
            counts. None never does. It pays where several servers stand behind the target.
        credentials: of TLS, as `grpc.ssl_channel_credentials` makes them; None does not encrypt.
        metadata: (key, value) pairs that go with every request.
        label: version label that is asked for; a LabelSplit chooses it by the histories' `user_id`. None asks the
            newest version.
        request_log: where a sample of the requests is kept; is left open.

    Every method raises grpc.RpcError as gRPC made it, with the server's code and message, and takes further metadata.
    """

    def __init__(self, target: str, model_name: str = contract.MODEL_NAME, timeout: float = 10.0, *,
                 retry: Retry = Retry(), hedge_after: float | None = None,
                 credentials: grpc.ChannelCredentials | None = None, metadata: Metadata = (),
                 label: str | LabelSplit | None = None, request_log: "RequestLog | None" = None):
        self._settings = Settings(model_name, timeout, hedge_after, label, tuple(metadata))
        self._log = request_log
        options = retry.channel_options()
        self._channel = (grpc.secure_channel(target, credentials, options) if credentials
                         else grpc.insecure_channel(target, options))
        self._predict = self._channel.unary_unary(
            METHOD, PredictRequest.SerializeToString, PredictResponse.FromString)

    def recommend(self, history: History, *, timeout: float | None = None, metadata: Metadata = ()
                  ) -> list[Recommendation]:
        """Items to show a user, best first."""
        return self.recommend_batch([history], timeout=timeout, metadata=metadata)[0]

    def recommend_batch(self, histories: Sequence[History], *, timeout: float | None = None, metadata: Metadata = ()
                        ) -> list[list[Recommendation]]:
        """Items to show each of some users, in one request for each version label."""
        return self._ask(contract.SIGNATURE_RECOMMEND, histories, answers.recommendations, timeout, metadata)

    def recommend_all(self, histories: Iterable[History], batch: int = 64, in_flight: int = 2) -> Iterator[
            list[Recommendation]]:
        """Items to show each of any number of users, in their order, some requests at a time.

        Args:
            histories: are taken as answers are read, `batch * in_flight` ahead at most.
            batch: users of a request.
            in_flight: requests that wait for an answer at once.
        """
        histories = iter(histories)
        batches = iter(lambda: list(itertools.islice(histories, batch)), [])
        waiting: deque[Future[list[list[Recommendation]]]] = deque()
        with ThreadPoolExecutor(in_flight) as pool:
            for one in batches:
                waiting.append(pool.submit(self.recommend_batch, one))
                if len(waiting) == in_flight:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def retrieve(self, history: History, filters: Filters = Filters(), *, timeout: float | None = None,
                 metadata: Metadata = ()) -> list[Recommendation]:
        """Items to show a user, best first, of what the filters let through."""
        return self.retrieve_batch([history], filters, timeout=timeout, metadata=metadata)[0]

    def retrieve_batch(self, histories: Sequence[History], filters: Filters | Sequence[Filters] = Filters(), *,
                       timeout: float | None = None, metadata: Metadata = ()) -> list[list[Recommendation]]:
        """Items to show each of some users, of what one set of filters lets through, or each user's own."""
        return self._ask(contract.SIGNATURE_RETRIEVE, histories, answers.recommendations, timeout, metadata, filters)

    def explain(self, history: History, filters: Filters = Filters(), *, timeout: float | None = None,
                metadata: Metadata = ()) -> list[Explanation]:
        """As `retrieve`, and why."""
        [answer] = self._ask(contract.SIGNATURE_EXPLAIN, [history], answers.explanations, timeout, metadata, filters)
        return answer

    def predict_categories(self, history: History, *, timeout: float | None = None, metadata: Metadata = ()
                           ) -> list[CategoryPrediction]:
        """Categories that the user may turn to next, most probable first."""
        [answer] = self._ask(contract.SIGNATURE_PREDICT_CATEGORY, [history], answers.category_predictions, timeout,
                             metadata)
        return answer

    def encode_user(self, history: History, *, timeout: float | None = None, metadata: Metadata = ()
                    ) -> UserEncoding:
        """A user's vectors."""
        return self.encode_user_batch([history], timeout=timeout, metadata=metadata)[0]

    def encode_user_batch(self, histories: Sequence[History], *, timeout: float | None = None,
                          metadata: Metadata = ()) -> list[UserEncoding]:
        """The vectors of each of some users."""
        return self._ask(contract.SIGNATURE_ENCODE_USER, histories, answers.user_encoding, timeout, metadata)

    def encode_items(self, item_ids: Sequence[str], *, timeout: float | None = None, metadata: Metadata = ()
                     ) -> list[ItemEncoding]:
        """The vectors of some items, in their order."""
        if len(item_ids) == 0:
            return []
        request = self._settings.items_request(item_ids)
        response = self._send(request, self._settings.deadline(timeout), metadata)
        return [answers.item_encoding(item, row) for item, row in zip(item_ids, rows(response, len(item_ids)))]

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, signature: str, histories: Sequence[History], read: Callable[[Row], _Answer],
             timeout: float | None, metadata: Metadata,
             filters: Filters | Sequence[Filters] = Filters()) -> list[_Answer]:
        """One answer for each history."""
        asked = self._settings.requests(histories, signature, filters)
        deadline = self._settings.deadline(timeout)
        responses = [self._send(one.request, deadline, metadata) for one in asked]
        return read_rows(asked, responses, read)

    def _send(self, request: PredictRequest, deadline: float, metadata: Metadata) -> PredictResponse:
        metadata = (*self._settings.metadata, *metadata)
        if self._settings.hedge_after is None:
            response = self._predict(request, timeout=left(deadline), metadata=metadata)
        else:
            response = self._send_twice(request, deadline, metadata, self._settings.hedge_after)
        if self._log:
            self._log.offer(request, response)
        return response

    def _send_twice(self, request: PredictRequest, deadline: float, metadata: Metadata, hedge_after: float
                    ) -> PredictResponse:
        """The first answer; of a request that is sent again only after `hedge_after` seconds."""
        ended: queue.SimpleQueue[grpc.Future] = queue.SimpleQueue()
        calls = []

        def send() -> None:
            calls.append(self._predict.future(request, timeout=left(deadline), metadata=metadata))
            calls[-1].add_done_callback(ended.put)

        try:
            send()
            try:
                first = ended.get(timeout=hedge_after)
            except queue.Empty:
                send()
                first = ended.get()
            if len(calls) == 1 or first.exception() is None or is_final(first.exception()):
                return first.result()
            return ended.get().result()
        finally:
            for call in calls:
                call.cancel()
