"""What a request is refused with: a gRPC code and one message, the same over gRPC and REST."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import grpc
import tensorflow as tf

_CODE_OF_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: the gRPC status code.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


def invalid(message: str) -> ServingError:
    """The client's mistake."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """An error raised inside the graph. TensorFlow numbers its codes as gRPC does."""
    # Session.run raises again with the graph's source lines in front; the kernel's own message is in what it caught.
    kernel = error.__context__ if isinstance(error.__context__, tf.errors.OpError) else error
    return ServingError(_CODE_OF_NUMBER[error.error_code], kernel.message)


def code_of(error: Exception) -> grpc.StatusCode:
    """The code that an error is told with; UNKNOWN for one that neither the server nor TensorFlow raised."""
    if isinstance(error, ServingError):
        return error.code
    if isinstance(error, tf.errors.OpError):
        return _CODE_OF_NUMBER[error.error_code]
    return grpc.StatusCode.UNKNOWN
