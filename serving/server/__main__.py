"""python -m serving.server --model_name=ulim --model_base_path=DIR --port=8500 --rest_api_port=8501
python -m serving.server --model_config_file=models.config --model_config_file_poll_wait_seconds=60 --port=8500

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
from serving.server import model_config
from serving.server.config_file import ConfigFile
from serving.server.errors import ServingError
from serving.server.model_server import ModelServer, PortError
from serving.server.served_model import Patience


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal. Returns the exit code: 0 after a drain, 1 if it cannot serve what it is told to."""
    parser = _flags()
    flags = parser.parse_args(argv)
    if not flags.model_base_path and not flags.model_config_file:
        parser.error("--model_base_path or --model_config_file must say what to serve")
    _log_to_streams()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    file = flags.model_config_file
    try:
        server = ModelServer(
            model_config.read(file) if file else model_config.single_model(flags.model_name, flags.model_base_path),
            flags.port, flags.rest_api_port, bind_address=flags.bind_address,
            patience=Patience(flags.file_system_poll_wait_seconds, flags.max_num_load_retries,
                              flags.load_retry_interval_micros / 1e6),
            label_unavailable=flags.allow_version_labels_for_unavailable_models,
            intra_op_threads=flags.tensorflow_intra_op_parallelism,
            inter_op_threads=flags.tensorflow_inter_op_parallelism)
    except (PortError, ServingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    following = ConfigFile(file, server.reload, flags.model_config_file_poll_wait_seconds)
    server.start()
    if file and flags.model_config_file_poll_wait_seconds > 0:
        following.start()
    stopping.wait()
    server.stop()
    following.stop()
    return 0


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving.server", allow_abbrev=False,
                                     description="Serves SavedModels, as TF Serving does.")
    parser.add_argument("--model_name", default=contract.MODEL_NAME, help="ignored with --model_config_file")
    parser.add_argument("--model_base_path", help="folder with one folder a version: 1/, 2/, .., whose newest is "
                                                  "served; ignored with --model_config_file")
    parser.add_argument("--model_config_file", default="",
                        help="ModelServerConfig in text format: several models, version policies, version labels")
    parser.add_argument("--model_config_file_poll_wait_seconds", type=_seconds, default=0.0,
                        help="time between two readings of --model_config_file; 0: it is read once")
    parser.add_argument("--allow_version_labels_for_unavailable_models", type=_boolean, nargs="?", const=True,
                        default=False, help="a new label may be of a version that is not available yet")
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0: no gRPC")
    parser.add_argument("--rest_api_port", type=int, default=0, help="REST port; 0: no REST")
    parser.add_argument("--bind_address", default="127.0.0.1", help="0.0.0.0 serves other machines too")
    parser.add_argument("--file_system_poll_wait_seconds", type=_seconds, default=1.0,
                        help="time between two looks for a new version; 0: one look at the start")
    parser.add_argument("--max_num_load_retries", type=int, default=5,
                        help="times that a version is tried again which failed to load; 0: once is enough")
    parser.add_argument("--load_retry_interval_micros", type=int, default=60_000_000,
                        help="time between two such tries, in microseconds")
    parser.add_argument("--tensorflow_intra_op_parallelism", type=int, default=0, help="0: TensorFlow chooses")
    parser.add_argument("--tensorflow_inter_op_parallelism", type=int, default=0, help="0: TensorFlow chooses")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more seconds, got {text}")
    return seconds


def _boolean(text: str) -> bool:
    """As TensorFlow's flags are spelled."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"must be true or false, got {text}")
    return values[text.lower()]


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
