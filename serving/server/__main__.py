"""python -m serving.server --model_name=ulim --model_base_path=DIR --port=8500 --rest_api_port=8501

Flags are spelled as tensorflow_model_server's, but for --bind_address, which is this server's own. SIGTERM and SIGINT
end it when the requests in flight are answered.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence

import tensorflow as tf

from serving import contract
from serving.server.model_server import ModelServer, PortError


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal. Returns the exit code: 0 after a drain, 1 if a port cannot be listened at."""
    flags = _flags().parse_args(argv)
    _log_to_streams()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        server = ModelServer(
            flags.model_name, flags.model_base_path, flags.port, flags.rest_api_port,
            bind_address=flags.bind_address, poll_seconds=flags.file_system_poll_wait_seconds,
            intra_op_threads=flags.tensorflow_intra_op_parallelism,
            inter_op_threads=flags.tensorflow_inter_op_parallelism)
    except PortError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    server.start()
    stopping.wait()
    server.stop()
    return 0


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving.server", allow_abbrev=False,
                                     description="Serves the newest version of one SavedModel, as TF Serving does.")
    parser.add_argument("--model_name", default=contract.MODEL_NAME)
    parser.add_argument("--model_base_path", required=True, help="folder with one folder a version: 1/, 2/, ..")
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0: no gRPC")
    parser.add_argument("--rest_api_port", type=int, default=0, help="REST port; 0: no REST")
    parser.add_argument("--bind_address", default="127.0.0.1", help="0.0.0.0 serves other machines too")
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0,
                        help="time between two looks for a new version")
    parser.add_argument("--tensorflow_intra_op_parallelism", type=int, default=0, help="0: TensorFlow chooses")
    parser.add_argument("--tensorflow_inter_op_parallelism", type=int, default=0, help="0: TensorFlow chooses")
    return parser


def _log_to_streams() -> None:
    """What goes well to stdout, what does not to stderr."""
    told, warned = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    told.addFilter(lambda record: record.levelno < logging.WARNING)
    warned.setLevel(logging.WARNING)
    log = logging.getLogger("serving")
    log.setLevel(logging.INFO)
    log.handlers = [told, warned]
    # The session loader says at every load that it is deprecated; it is the one TF Serving uses.
    tf.get_logger().setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
