"""The server's configuration files: protobuf text format, as tensorflow_model_server reads them.

The package tensorflow-serving-api ships no code for these messages, so they are described here, with TF Serving's names
and numbers, in a descriptor pool of their own: the process may hold the original descriptors too.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from serving.server.errors import invalid

_INT64, _STRING = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto
_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64), "batch_timeout_micros": (2, _INT64), "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64), "thread_pool_name": (5, _STRING), "allowed_batch_sizes": (6, "int64s"),
        "pad_variable_length_inputs": (7, "bool")},
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, f".{_PACKAGE}.PrometheusConfig")},
    "SSLConfig": {"server_key": (1, "string"), "server_cert": (2, "string"), "custom_ca": (3, "string"),
                  "client_verify": (4, "bool")},
}
_SCALARS = {"bool": (_Field.TYPE_BOOL, _Field.LABEL_OPTIONAL), "string": (_Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
            "int64s": (_Field.TYPE_INT64, _Field.LABEL_REPEATED)}


def read(flag: str, file: str, message: str) -> Message:
    """A configuration file.

    Args:
        flag: that names the file, for errors.
        file: its path.
        message: the file's type: "BatchingParameters", "MonitoringConfig" or "SSLConfig".

    Raises:
        ServingError: INVALID_ARGUMENT, the file cannot be read, or is not such a message in text format.
    """
    parsed = message_factory.MessageFactory(_POOL).GetPrototype(
        _POOL.FindMessageTypeByName(f"{_PACKAGE}.{message}"))()
    try:
        with open(file, encoding="utf-8") as text:
            return text_format.Parse(text.read(), parsed, descriptor_pool=_POOL)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise invalid(f"{flag} must name a {message} in protobuf's text format; {file}: "
                          f"{getattr(error, 'strerror', None) or error}") from error


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="server_configs.proto", package=_PACKAGE, syntax="proto3",
                                              dependency=[wrappers_pb2.DESCRIPTOR.name])
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            type_, label = _SCALARS.get(kind, (_Field.TYPE_MESSAGE, _Field.LABEL_OPTIONAL))
            message.field.add(name=field, number=number, type=type_, label=label,
                              type_name=kind if type_ == _Field.TYPE_MESSAGE else None)
    pool.Add(file)
    return pool


_POOL = _pool()
