"""The protocol over gRPC, with tensors as raw bytes."""

import itertools
import threading
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import InferenceError
from edge_vision.core.plugin import require
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.remote.messages import SERVICE, messages
from edge_vision.inference.remote.tensors import (
    MOST_BYTES,
    About,
    Answer,
    datatype_of,
    from_bytes,
    from_numbers,
    spec_of,
)
from edge_vision.inference.shapes import short

_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""Where a server puts the numbers that does not answer in raw bytes."""
_UNWATCHED_S: Final = 0.5
"""gRPC's own thread looks for watchers every 0.2 s, and ends with a traceback when the channel is closed under it."""


class GrpcClient:
    """One channel. gRPC connects again by itself when it breaks: here it is watched, and closed instead."""

    def __init__(self, url: str, model: str, version: str | None, authorities: bytes | None, token: str) -> None:
        self._url = url
        self._model = model
        self._version = version or ""
        self._authorities = authorities
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._numbers = itertools.count(1)
        self._channel: Any = None
        self._connected = threading.Event()
        self._dead = ""

    def connect(self, timeout_s: float) -> None:
        """Open the connection. Raises InferenceError, MissingLibraryError without the library."""
        if self._dead or self._channel is not None:
            return
        grpc: Any = require("grpc", "remote")
        parts = urlsplit(self._url)
        options = [
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),  # to the address that was written, and nowhere else
            ("grpc.use_local_subchannel_pool", 1),  # a connection of our own, not that of another channel
        ]
        if parts.scheme == "grpcs":
            credentials = grpc.ssl_channel_credentials(self._authorities)
            self._channel = grpc.secure_channel(parts.netloc, credentials, options)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, options)
        self._channel.subscribe(self._watch, try_to_connect=True)
        if not self._connected.wait(timeout_s) and not self._dead:
            raise self._lose(f"no connection within {timeout_s:g} s")

    def about(self, timeout_s: float) -> About:
        """Whether server and model are ready, and what the model takes and gives. Raises InferenceError."""
        which = {"name": self._model, "version": self._version}
        if not self._call("ServerReady", {}, timeout_s).ready:
            raise self._lose("the server is not ready")
        if not self._call("ModelReady", which, timeout_s).ready:
            raise self._lose(f"model {self._model} is not ready")
        server = self._call("ServerMetadata", {}, timeout_s)
        model = self._call("ModelMetadata", which, timeout_s)
        return About(f"{server.name or 'server'} {server.version}".strip(), _specs(model.inputs), _specs(model.outputs))

    def infer(self, tensors: Tensors, timeout_s: float) -> Answer:
        """Run the model once. Raises InferenceError."""
        name = str(next(self._numbers))
        response = self._call(
            "ModelInfer",
            {
                "model_name": self._model,
                "model_version": self._version,
                "id": name,
                "inputs": [
                    {"name": key, "datatype": datatype_of(value), "shape": value.shape}
                    for key, value in tensors.items()
                ],
                "raw_input_contents": [np.ascontiguousarray(value).tobytes() for value in tensors.values()],
            },
            timeout_s,
        )
        if response.id and response.id != name:
            raise self._lose(f"answers request {response.id}, not {name}")
        try:
            return Answer(_outputs(response), response.model_version)
        except InferenceError as error:
            raise self._lose(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        self._dead = self._dead or f"{self._url}: closed"
        if channel is not None:
            channel.unsubscribe(self._watch)
            later = threading.Timer(_UNWATCHED_S, channel.close)
            later.daemon = True
            later.start()

    def _watch(self, state: Any) -> None:
        """Hears on gRPC's thread how the connection is: once it was made, it must stay as it is."""
        if state.name == "READY" and not self._dead:
            self._connected.set()
        elif self._connected.is_set():
            self._dead = self._dead or f"{self._url}: the connection broke off"
        elif state.name == "TRANSIENT_FAILURE":  # the call that follows is told why
            self._connected.set()

    def _lose(self, reason: str) -> InferenceError:
        self._dead = f"{self._url}: {reason}"
        self.close()
        return InferenceError(self._dead)

    def _call(self, method: str, fields: dict[str, Any], timeout_s: float) -> Any:
        self.connect(timeout_s)
        if self._dead:
            reason = self._dead
            self.close()
            raise InferenceError(reason)
        grpc: Any = require("grpc", "remote")
        kinds = messages()
        request = getattr(kinds, f"{method}Request")(**fields).SerializeToString()
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        try:
            content = call(request, timeout=timeout_s, metadata=self._metadata)
            return getattr(kinds, f"{method}Response").FromString(content)
        except grpc.RpcError as error:
            code = error.code().name
            if code == "DEADLINE_EXCEEDED":
                raise self._lose(f"no answer within {timeout_s:g} s") from error
            raise self._lose(f"{method}: {code}: {short(ValueError(error.details()))}") from error
        except Exception as error:  # protobuf has an error of its own for each of its implementations
            raise self._lose(f"the answer is not of the protocol: {short(error)}") from error


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(spec_of(one.name, one.datatype, one.shape) for one in tensors)


def _outputs(response: Any) -> dict[str, NDArray[Any]]:
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        msg = f"{len(response.outputs)} outputs, and contents of {len(raw)}"
        raise InferenceError(msg)
    if raw:
        return {
            one.name: from_bytes(one.name, one.datatype, tuple(one.shape), content)
            for one, content in zip(response.outputs, raw, strict=True)
        }
    return {
        one.name: from_numbers(
            one.name, one.datatype, tuple(one.shape), getattr(one.contents, _CONTENTS.get(one.datatype, ""), ())
        )
        for one in response.outputs
    }
