"""A refused request as a gRPC status, and the time that a request has."""

import contextlib
import threading
from collections.abc import Iterator

import grpc

from serving.server.errors import ServingError

# gRPC drops the whole answer when the message outgrows the headers' limit. TF Serving cuts at the same length.
_LONGEST_MESSAGE = 1024


@contextlib.contextmanager
def refusing(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call with the code and message of a ServingError raised inside; before that, if its time is up."""
    if not context.is_active() or context.time_remaining() == 0:
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "The deadline passed before the request was begun.")
    try:
        yield
    except ServingError as error:
        context.abort(error.code, str(error)[:_LONGEST_MESSAGE])


def seconds_left(context: grpc.ServicerContext) -> float | None:
    """Until the client's deadline; None if it set none."""
    left = context.time_remaining()
    # gRPC's own value for no deadline is a date so far that no timer takes it.
    return None if left is None or left > threading.TIMEOUT_MAX else left
