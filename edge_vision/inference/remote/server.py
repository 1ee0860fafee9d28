"""A model on one server, used like a model loaded here; it may go away at any time, and come back as another."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from edge_vision.core.errors import BackendUnavailableError, ConfigError, InferenceError, MissingLibraryError
from edge_vision.core.model import ModelFile
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.remote.options import RemoteOptions
from edge_vision.inference.remote.rest import RefusedError, RestClient
from edge_vision.inference.remote.rpc import GrpcClient
from edge_vision.inference.remote.tensors import Answer, Client
from edge_vision.inference.shapes import check_input

_FIRST_S: Final = 30.0
"""How long the very first inference may take: servers load and compile when they are first asked."""


class RemoteModel:
    """A model on the server at `url`. Like a runtime, but for its address: what it loads is a promise of the server."""

    def __init__(self, url: str, name: str, options: RemoteOptions) -> None:
        self.url = url
        self._name = options.model or name
        self._options = options

    def load(self, file: ModelFile) -> "RemoteEngine":
        """Ask for the model and let it make a first inference.

        Raises BackendUnavailableError when the server does not answer as the protocol says, ModelError when the model
        does not take what the bundle says, ConfigError when a certificate or token cannot be read.
        """
        timeout_s = self._options.timeout_s
        make = self._maker()
        client = make()
        try:
            about = client.about(timeout_s)
            if not about.inputs or not about.outputs:
                msg = f"{self.url}: does not say what model {self._name} takes and gives"
                raise BackendUnavailableError(msg)
            check_input(about.inputs, file)
            blank = {about.inputs[0].name: np.zeros(file.input_shape, file.input_dtype)}
            answer = _first_answer(client, blank, max(timeout_s, _FIRST_S))
        except (InferenceError, MissingLibraryError) as error:
            raise BackendUnavailableError(str(error)) from error
        finally:
            client.close()
        place = urlsplit(self.url)
        again = partial(make, binary=client.binary, place=client.place) if isinstance(client, RestClient) else make
        engine = RemoteEngine(
            again, about.inputs, about.outputs, answer.version, f"{about.server} at {place.netloc}", timeout_s
        )
        try:
            engine.check(answer.tensors, answer.version)
        except InferenceError as error:
            raise BackendUnavailableError(str(error)) from error
        return engine

    def _maker(self) -> Callable[..., Client]:
        """What makes connections to the server."""
        options = self._options
        scheme = urlsplit(self.url).scheme
        try:
            token = "" if options.token is None else options.token.reveal()
        except ConfigError as error:
            msg = f"{self.url}: token: {error}"
            raise ConfigError(msg) from None
        try:
            context = ssl.create_default_context(cafile=options.ca_file) if scheme in {"https", "grpcs"} else None
            authorities = None if context is None or options.ca_file is None else options.ca_file.read_bytes()
        except OSError as error:
            msg = f"{options.ca_file}: no certificates can be read: {error.strerror or error}"
            raise ConfigError(msg) from None
        if scheme.startswith("grpc"):
            return partial(GrpcClient, self.url, self._name, options.version, authorities, token)
        return partial(RestClient, self.url, self._name, options.version, context, token)


def _first_answer(client: Client, tensors: Tensors, timeout_s: float) -> Answer:
    """The first inference. Raw bytes are an extension of HTTP that servers have without saying so: it is tried."""
    try:
        return client.infer(tensors, timeout_s)
    except RefusedError:
        if not isinstance(client, RestClient):
            raise
        client.binary = False
        return client.infer(tensors, timeout_s)


class RemoteEngine:
    """A model that a server has said it serves; every session is a connection."""

    def __init__(
        self,
        open_client: Callable[[], Client],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        version: str,
        device: str,
        timeout_s: float,
    ) -> None:
        self.inputs = inputs
        self.device = device
        self._open_client = open_client
        self._outputs = outputs
        self._version = version
        self._timeout_s = timeout_s

    @contextmanager
    def open_session(self) -> Iterator["RemoteSession"]:
        """A connection for the calling thread. Raises InferenceError when none can be made."""
        client = self._open_client()
        try:
            client.connect(self._timeout_s)
            yield RemoteSession(client, self, self._timeout_s)
        finally:
            client.close()

    def check(self, tensors: Tensors, version: str) -> Tensors:
        """The outputs that the model has, in its order. Raises InferenceError when they are not what it said."""
        if version != self._version:
            msg = f"{self.device}: version {version} of the model answered, not {self._version}"
            raise InferenceError(msg)
        for spec in self._outputs:
            found = tensors.get(spec.name)
            if found is None:
                msg = f"{self.device}: output {spec.name} is missing"
                raise InferenceError(msg)
            fits = len(found.shape) == len(spec.shape) and all(
                want in (-1, have) for want, have in zip(spec.shape, found.shape, strict=True)
            )
            if not fits or found.dtype.name != spec.dtype:
                msg = (
                    f"{self.device}: output {spec.name} came as {list(found.shape)} {found.dtype}, it should be {spec}"
                )
                raise InferenceError(msg)
        return {spec.name: tensors[spec.name] for spec in self._outputs}


class RemoteSession:
    """One connection. After a failure it answers no more: the server may have come back as another."""

    def __init__(self, client: Client, engine: RemoteEngine, timeout_s: float) -> None:
        self._client = client
        self._engine = engine
        self._timeout_s = timeout_s

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once, on the server. Raises InferenceError."""
        answer = self._client.infer(tensors, self._timeout_s)
        return self._engine.check(answer.tensors, answer.version)
