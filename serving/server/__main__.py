"""python -m serving.server --model_name=ulim --model_base_path=DIR --port=8500 --rest_api_port=8501
python -m serving.server --model_config_file=models.config --model_config_file_poll_wait_seconds=60 --port=8500

Flags are spelled as tensorflow_model_server's, but for --bind_address, which is this server's own. SIGTERM and SIGINT
end it when the requests in flight are answered.

    --batching_parameters_file, --monitoring_config_file and --ssl_config_file are protobuf text format:
        max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } pad_variable_length_inputs: true
        prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }
        server_key: "-----BEGIN PRIVATE KEY-----\\n.." server_cert: ".." custom_ca: ".." client_verify: true
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

import tensorflow as tf

from serving import contract
from serving.server import batching, metrics, model_config, text_configs, tls
from serving.server.config_file import ConfigFile
from serving.server.errors import ServingError, invalid
from serving.server.model_server import ModelServer, PortError
from serving.server.served_model import Patience

_LOG = logging.getLogger("serving.server")


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
            inter_op_threads=flags.tensorflow_inter_op_parallelism, warm_up=flags.enable_model_warmup,
            batching=_batching(flags), credentials=tls.read_credentials(flags.ssl_config_file)
            if flags.ssl_config_file else None, channel_arguments=flags.grpc_channel_arguments,
            rest_threads=flags.rest_api_num_threads, rest_timeout=flags.rest_api_timeout_in_ms / 1000,
            metrics_path=_metrics_path(flags))
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
    parser.add_argument("--enable_model_warmup", type=_boolean, nargs="?", const=True, default=True, metavar="BOOL",
                        help="answer the requests in assets.extra/tf_serving_warmup_requests before a version becomes "
                             "AVAILABLE; one that fails fails the version")
    parser.add_argument("--enable_batching", type=_boolean, nargs="?", const=True, default=False, metavar="BOOL",
                        help="merge requests of several clients into one run of the graph")
    parser.add_argument("--batching_parameters_file", default="", metavar="FILE",
                        help="BatchingParameters in protobuf's text format")
    parser.add_argument("--monitoring_config_file", default="", metavar="FILE",
                        help="MonitoringConfig in protobuf's text format: metrics for Prometheus, on the REST port")
    parser.add_argument("--ssl_config_file", default="", metavar="FILE",
                        help="SSLConfig in protobuf's text format: TLS for gRPC, with client_verify mutual TLS; REST "
                             "stays in the clear")
    parser.add_argument("--grpc_channel_arguments", type=_channel_arguments, default=(), metavar="NAME=VALUE,..",
                        help="of the gRPC server, such as grpc.max_receive_message_length=1000000 (no limit by "
                             "default), grpc.max_concurrent_streams=100 or grpc.max_connection_age_ms=2000")
    parser.add_argument("--rest_api_num_threads", type=_at_least_one, default=4 * (os.cpu_count() or 1),
                        help="REST requests answered at once")
    parser.add_argument("--rest_api_timeout_in_ms", type=_at_least_one, default=30_000,
                        help="a REST client that takes longer to send its request is cut off")
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


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, got {text}")
    return int(text)


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """Whole numbers as such, all else as text; gRPC tells what it does not take."""
    arguments = []
    for pair in filter(None, text.split(",")):
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise argparse.ArgumentTypeError(f"takes NAME=VALUE,.. pairs, got {pair!r}")
        arguments.append((name, int(value) if value.removeprefix("-").isdecimal() else value))
    return arguments


def _batching(flags: argparse.Namespace) -> batching.BatchingParameters | None:
    flag, file = "--batching_parameters_file", flags.batching_parameters_file
    if not flags.enable_batching:
        if file:
            raise invalid(f"{flag} is of no use without --enable_batching")
        return None
    return batching.from_message(text_configs.read(flag, file, "BatchingParameters"), file) if file else (
        batching.BatchingParameters())


def _metrics_path(flags: argparse.Namespace) -> str | None:
    flag = "--monitoring_config_file"
    if not flags.monitoring_config_file:
        return None
    config = text_configs.read(flag, flags.monitoring_config_file, "MonitoringConfig").prometheus_config
    if not config.enable:
        return None
    if not flags.rest_api_port:
        _LOG.warning("%s has no effect without --rest_api_port, where metrics are read", flag)
    path = config.path or metrics.DEFAULT_PATH
    if not path.startswith("/"):
        raise invalid(f"{flag} {flags.monitoring_config_file}: path must begin with /, got {path!r}")
    return path


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
