"""Asks a server for recommendations: `Client` in Python, `AsyncClient` for asyncio, and a command.

    python -m serving.client --server 127.0.0.1:8500 --history events.csv --user 42

It needs this package, `serving/contract.py`, grpcio, protobuf and NumPy, and no TensorFlow; a request log
(`serving/client/request_log.py`) needs google-crc32c besides.
"""

from serving.client.aio import AsyncClient
from serving.client.answers import (
    CategoryPrediction,
    Explanation,
    ItemEncoding,
    Recommendation,
    UserEncoding,
    WeighedEvent,
)
from serving.client.blocking import Client
from serving.client.filters import Filters
from serving.client.history import History, histories_from_frame
from serving.client.requests import encode_items_request, predict_request
from serving.client.settings import Retry
from serving.client.split import LabelSplit

__all__ = [
    "AsyncClient", "CategoryPrediction", "Client", "Explanation", "Filters", "History", "ItemEncoding", "LabelSplit",
    "Recommendation", "Retry", "UserEncoding", "WeighedEvent", "encode_items_request", "histories_from_frame",
    "predict_request",
]
