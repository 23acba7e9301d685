"""The messages of TF Serving that a client needs, made here so that it needs no TensorFlow.

The stubs of tensorflow-serving-api import TensorFlow. These have the field numbers and types of upstream's .proto files
and leave out what a client does not read; what travels and what is logged is the same bytes. They live in a descriptor
pool of their own, so that a program may import TensorFlow as well.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tensorflow.serving"
# As in a .proto file; "map T" is map<string, T>. A dtype is an enum there, which is written as an int32 is.
_MESSAGES = {
    "Dim": ("int64 size = 1",),
    "TensorShapeProto": ("repeated Dim dim = 2", "bool unknown_rank = 3"),
    "TensorProto": (
        "int32 dtype = 1", "TensorShapeProto tensor_shape = 2", "bytes tensor_content = 4",
        "repeated float float_val = 5", "repeated int32 int_val = 7", "repeated bytes string_val = 8",
        "repeated int64 int64_val = 10", "repeated bool bool_val = 11"),
    "Int64Value": ("int64 value = 1",),
    "ModelSpec": ("string name = 1", "Int64Value version = 2", "string signature_name = 3",
                  "string version_label = 4"),
    "PredictRequest": ("ModelSpec model_spec = 1", "map TensorProto inputs = 2"),
    "PredictResponse": ("map TensorProto outputs = 1", "ModelSpec model_spec = 2"),
    "SamplingConfig": ("double sampling_rate = 1",),
    "LogMetadata": ("ModelSpec model_spec = 1", "SamplingConfig sampling_config = 2", "int64 timestamp_secs = 4"),
    "PredictLog": ("PredictRequest request = 1", "PredictResponse response = 2"),
    "PredictionLog": ("LogMetadata log_metadata = 1", "PredictLog predict_log = 6"),
}
_FIELD = descriptor_pb2.FieldDescriptorProto


def _field(text: str) -> descriptor_pb2.FieldDescriptorProto:
    *repeated, kind, name, _, number = text.split()
    field = _FIELD(name=name, number=int(number), label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL)
    if kind in _MESSAGES:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = _FIELD.Type.Value(f"TYPE_{kind.upper()}")
    return field


def _message(name: str, fields: tuple[str, ...]) -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name=name)
    for text in fields:
        field = message.field.add()
        field.CopyFrom(_field(text))
        if text.startswith("map "):
            entry = message.nested_type.add(name=f"{field.name.capitalize()}Entry")
            entry.field.extend([_field("string key = 1"), _field(f"{text.split()[1]} value = 2")])
            entry.options.map_entry = True
            field.type_name = f".{_PACKAGE}.{name}.{entry.name}"
    return message


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(descriptor_pb2.FileDescriptorProto(
    name="serving_client.proto", package=_PACKAGE, syntax="proto3",
    message_type=[_message(name, fields) for name, fields in _MESSAGES.items()]).SerializeToString())
# protobuf 4.22 renamed it, 5 dropped the old name.
_class_of = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(_pool).GetPrototype

TensorProto, PredictRequest, PredictResponse, PredictLog, PredictionLog = (
    _class_of(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
    for name in ("TensorProto", "PredictRequest", "PredictResponse", "PredictLog", "PredictionLog"))
