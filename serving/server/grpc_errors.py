"""A refused request as a gRPC status."""

import contextlib
from collections.abc import Iterator

import grpc

from serving.server.errors import ServingError

# gRPC drops the whole answer when the message outgrows the headers' limit. TF Serving cuts at the same length.
_LONGEST_MESSAGE = 1024


@contextlib.contextmanager
def refusing(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call with the code and message of a ServingError raised inside."""
    try:
        yield
    except ServingError as error:
        context.abort(error.code, str(error)[:_LONGEST_MESSAGE])
