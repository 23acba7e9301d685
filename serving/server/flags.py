"""The server's command line, apart from the server: nothing here waits for TensorFlow."""

import argparse
import os

from serving import contract

_EXAMPLES = """examples:
  %(prog)s --model_name=ulim --model_base_path=runs/shop/serving/ulim --port=8500 --rest_api_port=8501
  %(prog)s --model_config_file=models.config --model_config_file_poll_wait_seconds=60 --port=8500
"""


def parser() -> argparse.ArgumentParser:
    """The flags of tensorflow_model_server that this server takes, and --bind_address."""
    made = argparse.ArgumentParser("python -m serving.server", allow_abbrev=False, epilog=_EXAMPLES,
                                   description="Serves SavedModels, as TF Serving does.",
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model_name", default=contract.MODEL_NAME, help="ignored with --model_config_file")
    made.add_argument("--model_base_path", metavar="DIR",
                      help="folder with one folder a version: 1/, 2/, .., whose newest is served; ignored with "
                           "--model_config_file")
    made.add_argument("--model_config_file", default="", metavar="FILE",
                      help="ModelServerConfig in text format: several models, version policies, version labels")
    made.add_argument("--model_config_file_poll_wait_seconds", type=_seconds, default=0.0,
                      help="time between two readings of --model_config_file; 0: it is read once")
    made.add_argument("--allow_version_labels_for_unavailable_models", type=_boolean, nargs="?", const=True,
                      default=False, help="a new label may be of a version that is not available yet")
    made.add_argument("--port", type=int, default=8500, help="gRPC port; 0: no gRPC")
    made.add_argument("--rest_api_port", type=int, default=0, help="REST port; 0: no REST")
    made.add_argument("--bind_address", default="127.0.0.1", help="0.0.0.0 serves other machines too")
    made.add_argument("--file_system_poll_wait_seconds", type=_seconds, default=1.0,
                      help="time between two looks for a new version; 0: one look at the start")
    made.add_argument("--max_num_load_retries", type=int, default=5,
                      help="times that a version is tried again which failed to load; 0: once is enough")
    made.add_argument("--load_retry_interval_micros", type=int, default=60_000_000,
                      help="time between two such tries, in microseconds")
    made.add_argument("--tensorflow_intra_op_parallelism", type=int, default=0, help="0: TensorFlow chooses")
    made.add_argument("--tensorflow_inter_op_parallelism", type=int, default=0, help="0: TensorFlow chooses")
    made.add_argument("--enable_model_warmup", type=_boolean, nargs="?", const=True, default=True, metavar="BOOL",
                      help="answer the requests in assets.extra/tf_serving_warmup_requests before a version becomes "
                           "AVAILABLE; one that fails fails the version")
    made.add_argument("--enable_batching", type=_boolean, nargs="?", const=True, default=False, metavar="BOOL",
                      help="merge requests of several clients into one run of the graph")
    made.add_argument("--batching_parameters_file", default="", metavar="FILE",
                      help="BatchingParameters in protobuf's text format")
    made.add_argument("--monitoring_config_file", default="", metavar="FILE",
                      help="MonitoringConfig in protobuf's text format: metrics for Prometheus, on the REST port")
    made.add_argument("--ssl_config_file", default="", metavar="FILE",
                      help="SSLConfig in protobuf's text format: TLS for gRPC, with client_verify mutual TLS; REST "
                           "stays in the clear")
    made.add_argument("--grpc_channel_arguments", type=_channel_arguments, default=(), metavar="NAME=VALUE,..",
                      help="of the gRPC server, such as grpc.max_receive_message_length=1000000 (no limit by "
                           "default), grpc.max_concurrent_streams=100 or grpc.max_connection_age_ms=2000")
    made.add_argument("--rest_api_num_threads", type=_at_least_one, default=4 * (os.cpu_count() or 1),
                      help="REST requests answered at once")
    made.add_argument("--rest_api_timeout_in_ms", type=_at_least_one, default=30_000,
                      help="a REST client that takes longer to send its request is cut off")
    return made


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
