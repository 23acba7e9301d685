"""The client of asyncio programs."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
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


class AsyncClient:
    """`serving.client.Client` for asyncio: the same arguments and methods, to be awaited. Make it inside the loop."""

    def __init__(self, target: str, model_name: str = contract.MODEL_NAME, timeout: float = 10.0, *,
                 retry: Retry = Retry(), hedge_after: float | None = None,
                 credentials: grpc.ChannelCredentials | None = None, metadata: Metadata = (),
                 label: str | LabelSplit | None = None, request_log: "RequestLog | None" = None):
        self._settings = Settings(model_name, timeout, hedge_after, label, tuple(metadata))
        self._log = request_log
        options = retry.channel_options()
        self._channel = (grpc.aio.secure_channel(target, credentials, options) if credentials
                         else grpc.aio.insecure_channel(target, options))
        self._predict = self._channel.unary_unary(
            METHOD, PredictRequest.SerializeToString, PredictResponse.FromString)

    async def recommend(self, history: History, *, timeout: float | None = None, metadata: Metadata = ()
                        ) -> list[Recommendation]:
        """As `Client.recommend`."""
        return (await self.recommend_batch([history], timeout=timeout, metadata=metadata))[0]

    async def recommend_batch(self, histories: Sequence[History], *, timeout: float | None = None,
                              metadata: Metadata = ()) -> list[list[Recommendation]]:
        """As `Client.recommend_batch`."""
        return await self._ask(contract.SIGNATURE_RECOMMEND, histories, answers.recommendations, timeout, metadata)

    async def recommend_all(self, histories: Iterable[History], batch: int = 64, in_flight: int = 2
                            ) -> AsyncIterator[list[Recommendation]]:
        """As `Client.recommend_all`."""
        histories = iter(histories)
        waiting: deque[asyncio.Task[list[list[Recommendation]]]] = deque()
        try:
            for one in iter(lambda: list(itertools.islice(histories, batch)), []):
                waiting.append(asyncio.create_task(self.recommend_batch(one)))
                if len(waiting) == in_flight:
                    for answer in await waiting.popleft():
                        yield answer
            while waiting:
                for answer in await waiting.popleft():
                    yield answer
        finally:
            for task in waiting:
                task.cancel()

    async def retrieve(self, history: History, filters: Filters = Filters(), *, timeout: float | None = None,
                       metadata: Metadata = ()) -> list[Recommendation]:
        """As `Client.retrieve`."""
        return (await self.retrieve_batch([history], filters, timeout=timeout, metadata=metadata))[0]

    async def retrieve_batch(self, histories: Sequence[History], filters: Filters | Sequence[Filters] = Filters(), *,
                             timeout: float | None = None, metadata: Metadata = ()) -> list[list[Recommendation]]:
        """As `Client.retrieve_batch`."""
        return await self._ask(contract.SIGNATURE_RETRIEVE, histories, answers.recommendations, timeout, metadata,
                               filters)

    async def explain(self, history: History, filters: Filters = Filters(), *, timeout: float | None = None,
                      metadata: Metadata = ()) -> list[Explanation]:
        """As `Client.explain`."""
        [answer] = await self._ask(contract.SIGNATURE_EXPLAIN, [history], answers.explanations, timeout, metadata,
                               filters)
        return answer

    async def predict_categories(self, history: History, *, timeout: float | None = None, metadata: Metadata = ()
                                 ) -> list[CategoryPrediction]:
        """As `Client.predict_categories`."""
        [answer] = await self._ask(contract.SIGNATURE_PREDICT_CATEGORY, [history], answers.category_predictions,
                                   timeout, metadata)
        return answer

    async def encode_user(self, history: History, *, timeout: float | None = None, metadata: Metadata = ()
                          ) -> UserEncoding:
        """As `Client.encode_user`."""
        return (await self.encode_user_batch([history], timeout=timeout, metadata=metadata))[0]

    async def encode_user_batch(self, histories: Sequence[History], *, timeout: float | None = None,
                                metadata: Metadata = ()) -> list[UserEncoding]:
        """As `Client.encode_user_batch`."""
        return await self._ask(contract.SIGNATURE_ENCODE_USER, histories, answers.user_encoding, timeout, metadata)

    async def encode_items(self, item_ids: Sequence[str], *, timeout: float | None = None, metadata: Metadata = ()
                           ) -> list[ItemEncoding]:
        """As `Client.encode_items`."""
        if len(item_ids) == 0:
            return []
        request = self._settings.items_request(item_ids)
        response = await self._send(request, self._settings.deadline(timeout), metadata)
        return [answers.item_encoding(item, row) for item, row in zip(item_ids, rows(response, len(item_ids)))]

    async def close(self) -> None:
        """As `Client.close`."""
        await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, signature: str, histories: Sequence[History], read: Callable[[Row], _Answer],
                   timeout: float | None, metadata: Metadata,
                   filters: Filters | Sequence[Filters] = Filters()) -> list[_Answer]:
        asked = self._settings.requests(histories, signature, filters)
        deadline = self._settings.deadline(timeout)
        responses = await asyncio.gather(*(self._send(one.request, deadline, metadata) for one in asked))
        return read_rows(asked, responses, read)

    async def _send(self, request: PredictRequest, deadline: float, metadata: Metadata) -> PredictResponse:
        metadata = (*self._settings.metadata, *metadata)
        if self._settings.hedge_after is None:
            response = await self._predict(request, timeout=left(deadline), metadata=metadata)
        else:
            response = await self._send_twice(request, deadline, metadata, self._settings.hedge_after)
        if self._log:
            self._log.offer(request, response)
        return response

    async def _send_twice(self, request: PredictRequest, deadline: float, metadata: Metadata, hedge_after: float
                          ) -> PredictResponse:
        """The first answer; of a request that is sent again only after `hedge_after` seconds."""

        async def send() -> PredictResponse:
            return await self._predict(request, timeout=left(deadline), metadata=metadata)

        calls = [asyncio.create_task(send())]
        try:
            await asyncio.wait(calls, timeout=hedge_after)
            if not calls[0].done():
                calls.append(asyncio.create_task(send()))
            for number, first in enumerate(asyncio.as_completed(calls), 1):
                try:
                    return await first
                except grpc.RpcError as error:
                    if is_final(error) or number == len(calls):
                        raise
        finally:
            for call in calls:
                call.cancel()
