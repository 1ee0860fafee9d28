"""What a site file may say about a webhook."""

from typing import Literal

from pydantic import (
    Field,
    field_serializer,
    model_validator,
)

from edge_vision.core.options import Identifier, Integer, RelativePath, Seconds, Secret
from edge_vision.publish.http.address import Headers, WebAddress, origin_of, why_readable
from edge_vision.publish.sink_options import DurableBase


class HttpSinkOptions(DurableBase):
    """A webhook: messages are posted to an address, signed; an answer of 2xx says that they have arrived."""

    kind: Literal["http"]
    name: Identifier | None = Field(
        None, description="What logs, status and outbox call it; of two sinks on one server, one must have one."
    )
    url: WebAddress = Field(description="Address to post to, https://HOST[:PORT]/PATH.")
    plain: bool = Field(False, description="Whether another machine may be spoken to over http, for all to read.")
    secret: Secret | None = Field(
        None,
        description="Where the key of the signature (HMAC-SHA256) is: {env|file|credential: NAME}; none: no signature.",
    )
    headers: Headers = Field(
        default_factory=dict, description="Headers to send as well; the value is text or where it is."
    )
    timeout_s: Seconds = Field(10.0, description="How long one post may take, from connecting to the whole answer.")
    batch: Integer = Field(
        1, ge=1, le=1000, description="Most messages in one post: 1 posts the message itself, more a JSON array."
    )
    ca_file: RelativePath | None = Field(
        None, description="Certificates (PEM) to trust; those of the system if not given."
    )
    certificate: RelativePath | None = Field(
        None, description="Certificate (PEM) to show to the server, with what it is signed by."
    )
    key: RelativePath | None = Field(
        None, description="Its private key (PEM), not encrypted; in the certificate's file if not given."
    )

    @property
    def shown_url(self) -> str:
        """The address as logs may have it: without its path."""
        return origin_of(self.url)

    @field_serializer("url", when_used="json")
    def _dump_url(self, _url: str) -> str:
        return self.shown_url

    @model_validator(mode="after")
    def _not_in_the_clear_by_mistake(self) -> "HttpSinkOptions":
        if self.key is not None and self.certificate is None:
            msg = "a key needs its certificate beside it"
            raise ValueError(msg)
        if self.url.startswith("http:") and (self.ca_file is not None or self.certificate is not None):
            msg = f"{'certificate' if self.ca_file is None else 'ca_file'} is for https; the url says http"
            raise ValueError(msg)
        if not self.plain and (why := why_readable(self.url)):
            raise ValueError(why)
        return self
