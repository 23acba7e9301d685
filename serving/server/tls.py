"""TLS of the gRPC port, from an SSLConfig file."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from concurrent.futures import ThreadPoolExecutor

import grpc

from serving.server import text_configs
from serving.server.errors import invalid

_FLAG = "--ssl_config_file"


def read_credentials(file: str) -> grpc.ServerCredentials:
    """What clients are shown and asked for.

    Args:
        file: an SSLConfig in text format. `server_key` and `server_cert` are PEM text, not file names; with
            `client_verify`, clients must show a certificate that `custom_ca` signed.

    Raises:
        ServingError: INVALID_ARGUMENT, the file is not an SSLConfig, or its key, certificate or authority cannot be
            used.
    """
    config = text_configs.read(_FLAG, file, "SSLConfig")
    if config.client_verify and not config.custom_ca:
        raise invalid(f"{_FLAG} {file}: client_verify needs custom_ca, the authority that signs clients' "
                          "certificates")
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())], config.custom_ca.encode() or None,
        config.client_verify)
    # gRPC looks at them when a port is opened, and then tells bad ones and a busy port alike.
    probe = grpc.server(ThreadPoolExecutor(1))
    try:
        probe.add_secure_port("127.0.0.1:0", credentials)
    except RuntimeError as error:
        raise invalid(f"{_FLAG} {file}: server_key must be a private key and server_cert its certificate chain, "
                          "both PEM text (and custom_ca certificates, if set)") from error
    finally:
        probe.stop(None)
    return credentials
