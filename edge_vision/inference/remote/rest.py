"""The protocol over HTTP: JSON, with tensors as raw bytes behind it where the server takes them."""

import http.client
import itertools
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import InferenceError
from edge_vision.core.tensor import Tensors
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
from edge_vision.runtime.connection import TimedSocket, connect, why_lost

_OK: Final = 200
_LONGEST: Final = 300
"""Letters of what a library says."""
_PORTS: Final = {"http": 80, "https": 443}
_HEAD: Final = "Inference-Header-Content-Length"

BodyT = TypeVar("BodyT")


class _Server(msgspec.Struct):
    name: str = "server"
    version: str = ""


class _TensorMetadata(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Metadata(msgspec.Struct):
    inputs: list[_TensorMetadata]
    outputs: list[_TensorMetadata]


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class _Response(msgspec.Struct):
    outputs: list[_Output]
    id: str | None = None
    model_version: str | None = None


class RefusedError(InferenceError):
    """The server answered, with an HTTP status that is an error: the connection is as good as before."""


class RestClient:
    """One connection that is kept alive.

    `binary` says how tensors go: as raw bytes, or as JSON numbers. `place` is the address to connect to where that is
    known from another connection: looking a name up has no time limit, and may lead to another server.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: str | None,
        tls: ssl.SSLContext | None,
        token: str,
        *,
        binary: bool = True,
        place: tuple[str, int] | None = None,
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None  # the options see to it
        self._url = url
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._root = parts.path.rstrip("/")
        self._model = f"{self._root}/v2/models/{model}{f'/versions/{version}' if version else ''}"
        self._tls = tls
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._numbers = itertools.count(1)
        self._connection: http.client.HTTPConnection | None = None
        self._dead = ""
        self.binary = binary
        self.place = place

    def connect(self, timeout_s: float) -> None:
        """Open the connection now rather than with the first request. Raises InferenceError."""
        self._exchange("GET", f"{self._root}/v2/health/live", timeout_s)

    def about(self, timeout_s: float) -> About:
        """Whether server and model are ready, and what the model takes and gives. Raises InferenceError."""
        self._exchange("GET", f"{self._root}/v2/health/ready", timeout_s)
        self._exchange("GET", f"{self._model}/ready", timeout_s)
        server = self._decode(self._exchange("GET", f"{self._root}/v2", timeout_s)[1], _Server)
        model = self._decode(self._exchange("GET", self._model, timeout_s)[1], _Metadata)
        inputs, outputs = (
            tuple(spec_of(one.name, one.datatype, one.shape) for one in side) for side in (model.inputs, model.outputs)
        )
        return About(f"{server.name} {server.version}".strip(), inputs, outputs)

    def infer(self, tensors: Tensors, timeout_s: float) -> Answer:
        """Run the model once. Raises InferenceError."""
        name = str(next(self._numbers))
        body, headers = _binary_request(name, tensors) if self.binary else _json_request(name, tensors)
        fields, content = self._exchange("POST", f"{self._model}/infer", timeout_s, body, headers)
        try:
            length = int(fields.get(_HEAD) or len(content))
        except ValueError:
            length = -1
        if not 0 <= length <= len(content):
            raise self._lose(f"says that {fields.get(_HEAD)} of {len(content)} bytes are JSON")
        response = self._decode(content[:length], _Response)
        if response.id and response.id != name:
            raise self._lose(f"answers request {response.id}, not {name}")
        try:
            return Answer(_outputs(response.outputs, memoryview(content)[length:]), response.model_version or "")
        except InferenceError as error:
            raise self._lose(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            if isinstance(self._connection.sock, TimedSocket):
                self._connection.sock.abort()
            self._connection.close()
            self._connection = None

    def _lose(self, reason: str) -> InferenceError:
        """Close for good."""
        self.close()
        self._dead = f"{self._url}: {reason}"
        return InferenceError(self._dead)

    def _decode(self, content: bytes, kind: type[BodyT]) -> BodyT:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._lose(f"the answer is not of the protocol: {short(error)}") from error

    def _exchange(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: list[bytes | memoryview] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """One request and its whole answer. Raises RefusedError for an error status, else InferenceError."""
        if self._dead:
            raise InferenceError(self._dead)
        end = time.monotonic() + timeout_s
        try:
            if self._connection is None:
                self._connection = self._connect(end)
            connection = self._connection
            assert isinstance(connection.sock, TimedSocket)
            connection.sock.end = end
            connection.request(method, path, body=body, headers={**self._headers, **(headers or {})})
            answer = connection.getresponse()
            too_long = (answer.length or 0) > MOST_BYTES
            content = b"" if too_long else answer.read(MOST_BYTES + 1)
            missing = answer.length or 0
        except TimeoutError as error:
            raise self._lose(f"no answer within {timeout_s:g} s") from error
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise self._lose(why_lost(error)[:_LONGEST]) from error
        if too_long or len(content) > MOST_BYTES:
            raise self._lose(f"the answer is longer than the limit of {MOST_BYTES} bytes")
        if missing:
            raise self._lose(f"the answer ended {missing} bytes early")
        if answer.will_close:  # said so in a complete answer: the next request may open another connection
            self.close()
        if answer.status != _OK:
            msg = f"{self._url}: {method} {path}: status {answer.status}: {_error_in(content) or answer.reason}"
            raise RefusedError(msg)
        return answer.headers, content

    def _connect(self, end: float) -> http.client.HTTPConnection:
        connection, timed = connect(self._host, self._port, self._tls, end, self.place)
        try:
            self.place = timed.peer
        except OSError:
            timed.abort()
            raise
        return connection


def _binary_request(name: str, tensors: Tensors) -> tuple[list[bytes | memoryview], dict[str, str]]:
    arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    head = msgspec.json.encode(
        {
            "id": name,
            "parameters": {"binary_data_output": True},
            "inputs": [
                {**_described(key, value), "parameters": {"binary_data_size": value.nbytes}}
                for key, value in arrays.items()
            ],
        }
    )
    body: list[bytes | memoryview] = [head, *(value.data.cast("B") for value in arrays.values())]
    length = len(head) + sum(value.nbytes for value in arrays.values())
    return body, {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(length),
        _HEAD: str(len(head)),
    }


def _json_request(name: str, tensors: Tensors) -> tuple[list[bytes | memoryview], dict[str, str]]:
    inputs = [{**_described(key, value), "data": value.ravel().tolist()} for key, value in tensors.items()]
    body = msgspec.json.encode({"id": name, "inputs": inputs})
    return [body], {"Content-Type": "application/json", "Content-Length": str(len(body))}


def _described(name: str, array: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype_of(array)}


def _outputs(outputs: list[_Output], raw: memoryview) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    start = 0
    for one in outputs:
        size = (one.parameters or {}).get("binary_data_size")
        if isinstance(size, int):
            found[one.name] = from_bytes(one.name, one.datatype, one.shape, raw[start : start + max(0, size)])
            start += max(0, size)
        else:
            found[one.name] = from_numbers(one.name, one.datatype, one.shape, one.data or ())
    if start != len(raw):
        msg = f"{len(raw) - start} bytes of the answer belong to no output"
        raise InferenceError(msg)
    return found


def _error_in(content: bytes) -> str:
    """The server's own words, from {"error": ...} or as they are."""
    try:
        body = msgspec.json.decode(content)
        return short(ValueError(str(body["error"])))
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return short(ValueError(content[:300].decode("utf-8", "replace"))) if content.strip() else ""
