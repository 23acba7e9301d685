"""python -m serving.server --model_name=ulim --model_base_path=DIR --port=8500 --rest_api_port=8501
python -m serving.server --model_config_file=models.config --model_config_file_poll_wait_seconds=60 --port=8500

Flags are spelled as tensorflow_model_server's, but for --bind_address, which is this server's own. SIGTERM and SIGINT
end it when the requests in flight are answered.

    --batching_parameters_file, --monitoring_config_file and --ssl_config_file are protobuf text format:
        max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } pad_variable_length_inputs: true
        prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }
        server_key: "-----BEGIN PRIVATE KEY-----\\n.." server_cert: ".." custom_ca: ".." client_verify: true
"""

import serving.server.kernels  # noqa: F401  isort: skip  before TensorFlow is imported
import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

import tensorflow as tf

from serving.server import batching, metrics, model_config, stop_signal, text_configs, tls
from serving.server.config_file import ConfigFile
from serving.server.errors import ServingError, invalid
from serving.server.flags import parser
from serving.server.model_server import ModelServer, PortError
from serving.server.served_model import Patience
from ulim_tf import command_line

_LOG = logging.getLogger("serving.server")


def main(argv: Sequence[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(parser().parse_args(argv))


def command(flags: argparse.Namespace) -> int:
    """Serves until a signal. Returns the exit code: 0 after a drain, 1 if it cannot serve what it is told to, 2 if it
    is not told what."""
    if not flags.model_base_path and not flags.model_config_file:
        print("error: --model_base_path or --model_config_file must say what to serve", file=sys.stderr)
        return 2
    _log_to_streams()
    with stop_signal.awaited() as wait_for_stop:
        return _serve(flags, wait_for_stop)


def _serve(flags: argparse.Namespace, wait_for_stop: Callable[[], object]) -> int:
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
    wait_for_stop()
    server.stop()
    following.stop()
    return 0


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
    sys.exit(command_line.interruptible(main))
