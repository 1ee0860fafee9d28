"""What a pipeline may say about servers that run the model elsewhere."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from edge_vision.core.options import Number, Options, RelativePath, Seconds, Secret

_SCHEMES: Final = ("http", "https", "grpc", "grpcs")
_ADDRESS: Final = re.compile(r"[a-z]+://(\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?")


def _server(url: str) -> str:
    if not _ADDRESS.fullmatch(url) or urlsplit(url).scheme not in _SCHEMES:
        msg = "must be http, https, grpc or grpcs://HOST:PORT, without user name, password or query"
        raise ValueError(msg)
    parts = urlsplit(url)
    port = parts.port  # raises ValueError by itself when it is above 65535
    if parts.scheme.startswith("grpc") and (port is None or parts.path.strip("/")):
        msg = "an address for gRPC is grpc://HOST:PORT, with a port and without a path"
        raise ValueError(msg)
    return url.rstrip("/")


ServerUrl = Annotated[str, Field(max_length=1024), AfterValidator(_server)]


class RemoteOptions(Options):
    """Servers that speak the Open Inference Protocol v2: Triton, KServe, OpenVINO Model Server and others."""

    urls: tuple[ServerUrl, ...] = Field(
        min_length=1, max_length=8, description="Addresses, http(s)://HOST:PORT or grpc(s)://HOST:PORT; first is best."
    )
    model: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Name of the model on the servers; the bundle's name if not given.",
    )
    version: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Version of the model; the server chooses if not given."
    )
    timeout_s: Number = Field(
        2.0, gt=0, le=30, description="How long a server may take to connect or answer before the next one is asked."
    )
    retry_s: Seconds = Field(
        2.0,
        description="Wait before a lost server is tried again; up to 10 s for one that is refused or soon lost again.",
    )
    prove_every_s: Number = Field(
        600.0, ge=1, le=86400, description="How often a server that works is shown the golden pictures again."
    )
    ca_file: RelativePath | None = Field(
        None, description="Certificates (PEM) to trust; if not given those of the system, for grpcs those of gRPC."
    )
    token: Secret | None = Field(None, description="Where the bearer token is: {env|file|credential: NAME}.")

    @field_validator("urls")
    @classmethod
    def _no_doubles(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        double = next((url for url in urls if urls.count(url) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        return urls
