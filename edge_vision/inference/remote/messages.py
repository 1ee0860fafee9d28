"""The protocol's messages for gRPC, as far as they are needed, described at run time: no generated code."""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final

from edge_vision.core.plugin import require

_TENSOR: Final = {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")}
# Field numbers and types from the protocol's published definition; fields left out here are skipped on reading.
_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": {"inputs": (4, "*TensorMetadata"), "outputs": (5, "*TensorMetadata")},
    "Contents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
    },
    "Tensor": {**_TENSOR, "contents": (5, "Contents")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "inputs": (5, "*Tensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "outputs": (5, "*Tensor"),
        "raw_output_contents": (6, "*bytes"),
    },
}
_SCALARS: Final = {"bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes"}
SERVICE: Final = "inference.GRPCInferenceService"


@lru_cache(maxsize=1)
def messages() -> SimpleNamespace:
    """The message classes by name. Raises MissingLibraryError without protobuf."""
    descriptor: Any = require("google.protobuf.descriptor_pb2", "remote")
    pools: Any = require("google.protobuf.descriptor_pool", "remote")
    factory: Any = require("google.protobuf.message_factory", "remote")
    field = descriptor.FieldDescriptorProto
    file = descriptor.FileDescriptorProto(name="inference.proto", package="inference", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for label, (number, kind) in fields.items():
            plain = kind.lstrip("*")
            repeated = field.LABEL_REPEATED if kind != plain else field.LABEL_OPTIONAL
            entry = message.field.add(name=label, number=number, label=repeated)
            if plain in _SCALARS:
                entry.type = getattr(field, f"TYPE_{plain.upper()}")
            else:
                entry.type, entry.type_name = field.TYPE_MESSAGE, f".inference.{plain}"
    pool = pools.DescriptorPool()  # one of its own: other programs in this process may know the same messages
    pool.AddSerializedFile(file.SerializeToString())
    return SimpleNamespace(
        **{name: factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in _MESSAGES}
    )
