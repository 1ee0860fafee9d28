"""A small server of the Open Inference Protocol v2 for the tests, with faults to be switched on; no real product."""

import http.server
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import grpc
import numpy as np
from numpy.typing import NDArray

from edge_vision.inference.remote.messages import messages

Arrays = dict[str, NDArray[Any]]
NAMES = {"float32": "FP32", "uint8": "UINT8", "int64": "INT64", "float64": "FP64"}
TYPES = {name: dtype for dtype, name in NAMES.items()}


class OipServer:
    """One model, "m" unless named otherwise, behind HTTP or gRPC on a loopback port.

    `fault` names what goes wrong from now on; `requests` counts inferences, `connections` those who connected.
    `binary` says whether tensors may come as raw bytes.
    """

    def __init__(
        self,
        answer: Callable[[Arrays], Arrays],
        inputs: list[tuple[str, str, list[int]]],
        outputs: list[tuple[str, str, list[int]]],
    ) -> None:
        self.answer = answer
        self.inputs = inputs
        self.outputs = outputs
        self.model = "m"
        self.version = "1"
        self.binary = True
        self.token = ""
        self.fault = ""
        self.delay_s = 0.0
        self.requests = 0
        self.connections = 0
        self.scheme = "http"
        self.port = 0
        self.headers_seen: list[dict[str, str]] = []
        self.open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def drop_connections(self) -> None:
        """Break every connection off, as the death of the process would."""
        for one in list(self.open):
            with suppress(OSError):  # the client was faster
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "oip"
    site: ClassVar[OipServer]
    # Headers and body leave in two packets, and the second must not wait for an acknowledgement of the first.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.site.connections += 1
        self.site.open.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.site.open.discard(self.request)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """The tests read assertions."""

    def do_GET(self) -> None:
        site, path = self.site, self.path
        if site.token and self.headers.get("Authorization") != f"Bearer {site.token}":
            self._json(401, {"error": "who are you?"})
        elif path == "/v2/health/live":
            self._json(200, {"live": True})
        elif path == "/v2/health/ready":
            self._json(503 if site.fault == "not ready" else 200, {"ready": site.fault != "not ready"})
        elif path == "/v2":
            self._json(200, {"name": "oip", "version": "0.1", "extensions": []})
        elif path == f"/v2/models/{site.model}":
            about = {"name": site.model, "versions": [site.version], "platform": "test"}
            sides = {
                side: [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in tensors]
                for side, tensors in (("inputs", site.inputs), ("outputs", site.outputs))
            }
            self._send(200, b"<html>hello</html>") if site.fault == "html" else self._json(200, {**about, **sides})
        elif path == f"/v2/models/{site.model}/ready":
            self._json(200, {"ready": True})
        else:
            self._json(404, {"error": f"Request for unknown model: {path}"})

    def do_POST(self) -> None:
        site = self.site
        content = self.rfile.read(int(self.headers["Content-Length"]))
        site.requests += 1
        site.headers_seen.append(dict(self.headers))
        time.sleep(site.delay_s)
        if site.token and self.headers.get("Authorization") != f"Bearer {site.token}":
            self._json(401, {"error": "who are you?"})
        elif site.fault == "500":
            self._json(500, {"error": "out of memory"})
        elif site.fault == "reset":
            site.drop_connections()
            self.close_connection = True
        else:
            self._infer(content)

    def _infer(self, content: bytes) -> None:
        site = self.site
        length = self.headers.get("Inference-Header-Content-Length")
        if length and not site.binary:
            self._json(400, {"error": "unexpected content"})
            return
        head = json.loads(content[: int(length)] if length else content)
        arrays, start = {}, int(length or 0)
        for one in head["inputs"]:
            dtype = TYPES[one["datatype"]]
            size = one.get("parameters", {}).get("binary_data_size")
            raw = np.array(one["data"], dtype) if size is None else np.frombuffer(content[start : start + size], dtype)
            arrays[one["name"]] = raw.reshape(one["shape"])
            start += size or 0
        found = _spoiled(site.answer(arrays), site.fault)
        raw_out = head.get("parameters", {}).get("binary_data_output", False)
        outputs, parts = [], []
        for name, value in found.items():
            about: dict[str, Any] = {"name": name, "datatype": NAMES[value.dtype.name], "shape": list(value.shape)}
            if raw_out:
                about["parameters"] = {"binary_data_size": value.nbytes}
                parts.append(value.tobytes())
            else:
                about["data"] = value.ravel().tolist()
            outputs.append(about)
        number = "somebody else's" if site.fault == "other id" else head.get("id", "")
        version = "2" if site.fault == "other version" else site.version
        body = json.dumps({"model_name": site.model, "model_version": version, "id": number, "outputs": outputs})
        payload = b"".join(parts)
        if site.fault == "short tensor":
            payload = payload[:-4]
        fields = {"Inference-Header-Content-Length": str(len(body))} if raw_out else {}
        if site.fault == "long head":
            fields["Inference-Header-Content-Length"] = "999999999"
        self._send(200, body.encode() + payload, fields)

    def _json(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode())

    def _send(self, status: int, content: bytes, fields: dict[str, str] | None = None) -> None:
        fault = self.site.fault if self.command == "POST" else ""
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        if fault == "huge":
            self.send_header("Content-Length", str(10**12))
        elif fault == "close":
            self.send_header("Connection", "close")
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault == "drip":
            self._drip(content)
        else:
            self.wfile.write(content)

    def _drip(self, content: bytes) -> None:
        """A byte now and then: never silent, never done."""
        for start in range(40):
            try:
                self.wfile.write(content[start : start + 1])
            except OSError:
                self.close_connection = True
                return
            time.sleep(0.05)
        self.close_connection = True


def _spoiled(found: Arrays, fault: str) -> Arrays:
    (name,) = found
    if fault == "wrong shape":
        return {name: found[name][..., :-1].copy()}
    if fault == "wrong type":
        return {name: found[name].astype(np.float64)}
    if fault == "other output":
        return {"stranger": found[name]}
    return found


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """The same behind gRPC."""

    def __init__(self, site: OipServer) -> None:
        self._site = site

    def service(self, details: Any) -> Any:
        method = details.method.rpartition("/")[2]
        answers = {
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        answer = answers.get(method)
        return None if answer is None else grpc.unary_unary_rpc_method_handler(partial(self._serve, method, answer))

    def _serve(self, method: str, answer: Callable[[Any, Any], Any], content: bytes, context: Any) -> bytes:
        site = self._site
        site.connections += method == "ServerReady"
        if site.token and ("authorization", f"Bearer {site.token}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "401: who are you?")
        request = getattr(messages(), f"{method}Request").FromString(content)
        made: bytes = answer(request, context)
        return b"\xff" * 9 if site.fault == "html" else made

    def _server_ready(self, _request: Any, _context: Any) -> bytes:
        return _packed("ServerReadyResponse", ready=self._site.fault != "not ready")

    def _model_ready(self, request: Any, context: Any) -> bytes:
        if request.name != self._site.model:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: {request.name}")
        return _packed("ModelReadyResponse", ready=True)

    def _server_metadata(self, _request: Any, _context: Any) -> bytes:
        return _packed("ServerMetadataResponse", name="oip", version="0.1")

    def _model_metadata(self, _request: Any, _context: Any) -> bytes:
        sides = {
            side: [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in tensors]
            for side, tensors in (("inputs", self._site.inputs), ("outputs", self._site.outputs))
        }
        return _packed("ModelMetadataResponse", **sides)

    def _model_infer(self, request: Any, context: Any) -> bytes:
        site = self._site
        site.requests += 1
        time.sleep(site.delay_s)
        if site.fault == "500":
            context.abort(grpc.StatusCode.INTERNAL, "out of memory")
        arrays = {
            one.name: np.frombuffer(raw, TYPES[one.datatype]).reshape(tuple(one.shape))
            for one, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        found = _spoiled(site.answer(arrays), site.fault)
        outputs: list[dict[str, Any]] = [
            {"name": name, "datatype": NAMES[value.dtype.name], "shape": value.shape} for name, value in found.items()
        ]
        raw = [value.tobytes() for value in found.values()]
        if site.fault == "short tensor":
            raw = [one[:-4] for one in raw]
        if not site.binary:
            for entry, value in zip(outputs, found.values(), strict=True):
                entry["contents"] = {"fp32_contents": value.ravel().tolist()}
            raw = []
        return _packed(
            "ModelInferResponse",
            id="somebody else's" if site.fault == "other id" else request.id,
            model_version="2" if site.fault == "other version" else site.version,
            outputs=outputs,
            raw_output_contents=raw,
        )


def _packed(kind: str, **fields: Any) -> bytes:
    packed: bytes = getattr(messages(), kind)(**fields).SerializeToString()
    return packed


class _Http(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    block_on_close = True
    daemon_threads = False

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no error of the server."""


@contextmanager
def serving_grpc(server: OipServer, port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[OipServer]:
    """The same over gRPC."""
    with ThreadPoolExecutor(8) as pool:
        listener = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        listener.add_generic_rpc_handlers((_Service(server),))
        address = f"127.0.0.1:{port}"
        if tls is None:
            server.port = listener.add_insecure_port(address)
        else:
            pair = (tls[1].read_bytes(), tls[0].read_bytes())
            server.port = listener.add_secure_port(address, grpc.ssl_server_credentials((pair,)))
        server.scheme = "grpc" if tls is None else "grpcs"
        listener.start()
        try:
            yield server
        finally:
            listener.stop(None).wait(60)


@contextmanager
def serving(server: OipServer, port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[OipServer]:
    """Run a server on a thread of its own; ends it, with every connection, at the end."""
    handler = type("Handler", (_Handler,), {"site": server})
    with _Http(("127.0.0.1", port), handler) as listener:
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        server.port = listener.server_address[1]
        server.scheme = "http" if tls is None else "https"
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), name="oip")
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join(60)
            server.drop_connections()
