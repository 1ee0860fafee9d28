"""What a site file may say about a source."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from edge_vision.core.options import Integer, Login, Number, Options, RelativePath, Seconds, Url

Wh: TypeAlias = tuple[Annotated[Integer, Field(ge=16, le=8192)], Annotated[Integer, Field(ge=16, le=8192)]]
"""Width and height in pixels, 16 to 8192 each."""

_LineSide: TypeAlias = Annotated[Integer, Field(ge=64, le=8192)]  # below that, parts are a few pixels

_QUERY_SECRET = re.compile(r"((?:pass|pwd|token|secret|auth|key)[a-z_]*=)[^&;/?#]+", re.IGNORECASE)


def _shown(url: str) -> str:
    """The address as logs may have it: what cheap cameras want in the query (password=...) is blotted out."""
    return _QUERY_SECRET.sub(r"\1***", url)


def _with_login(url: str, login: Login) -> str:
    """The address with the credentials in it. Raises ConfigError when the secret cannot be read."""
    if login.username is None:
        return url
    parts = urlsplit(url)
    password = f":{quote(login.password.reveal(), safe='')}" if login.password else ""
    return urlunsplit(parts._replace(netloc=f"{quote(login.username, safe='')}{password}@{parts.netloc}"))


class _NetworkOptions(Login):
    """A camera behind an address."""

    url: Url = Field(description="Address of the stream, without user name and password.")
    open_timeout_s: Seconds = Field(5.0, description="How long opening may take before it counts as failed.")
    read_timeout_s: Seconds = Field(5.0, description="How long a camera may stay silent before it counts as lost.")
    decoder_threads: Integer = Field(1, ge=1, le=16, description="Decoder threads; each beyond 1 delays by a frame.")

    @property
    def shown_url(self) -> str:
        """The address as logs may have it: what cheap cameras want in the query (password=...) is blotted out."""
        return _shown(self.url)

    @field_serializer("url", when_used="json")
    def _dump_url(self, _url: str) -> str:
        return self.shown_url

    def address(self) -> str:
        """The address with the credentials in it: for the library that opens it, never for a log.

        Raises ConfigError when the secret cannot be read.
        """
        return _with_login(self.url, self)


def _scheme(url: str, *allowed: str) -> str:
    scheme = urlsplit(url).scheme
    if scheme not in allowed:
        msg = f"must start with {' or '.join(f'{name}://' for name in allowed)}"
        raise ValueError(msg)
    return scheme + url[len(scheme) :]  # FFmpeg knows only small letters


class RtspOptions(_NetworkOptions):
    """An RTSP camera, over TCP."""

    kind: Literal["rtsp"]

    @field_validator("url")
    @classmethod
    def _rtsp(cls, url: str) -> str:
        return _scheme(url, "rtsp", "rtsps")


class HttpOptions(_NetworkOptions):
    """An HTTP camera: MJPEG, or anything else FFmpeg plays from an address."""

    kind: Literal["http"]

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        return _scheme(url, "http", "https")


def _device_file(device: Any) -> Any:
    """The file of camera number n is /dev/videoN."""
    return f"/dev/video{device}" if isinstance(device, int) and not isinstance(device, bool) else device


class V4l2Options(Options):
    """A USB or CSI camera of this machine."""

    kind: Literal["v4l2"]
    device: Annotated[Path, BeforeValidator(_device_file)] = Field(
        Path("/dev/video0"), description="Device file of the camera, or its number."
    )
    size: Wh | None = Field(None, description="Picture size to ask for, [width, height]; else the camera's own.")
    fps: Number | None = Field(None, gt=0, le=1000, description="Frame rate to ask for; else the camera's own.")
    fourcc: str | None = Field(None, pattern=r"^[A-Z0-9]{4}$", description="Pixel format to ask for, such as MJPG.")
    open_timeout_s: Seconds = Field(5.0, description="How long opening may take before it counts as failed.")
    read_timeout_s: Seconds = Field(5.0, description="How long a camera may stay silent before it counts as lost.")


class FileOptions(Options):
    """A recording: every frame, in order, as fast as it is analyzed."""

    kind: Literal["file"]
    path: RelativePath = Field(description="The video file.")
    loop: bool = Field(False, description="Start again at the end, for ever.")
    realtime: bool = Field(False, description="Play at its own speed, like a camera: late frames are dropped.")
    decoder_threads: Integer = Field(1, ge=1, le=16, description="Decoder threads; 1 costs least.")


class ImagesOptions(Options):
    """A folder of pictures, sorted by name; the frame's index is the picture's position."""

    kind: Literal["images"]
    path: RelativePath = Field(description="The folder; files that are not pictures are ignored.")
    fps: Number = Field(1.0, gt=0, le=1000, description="The rate at which media time runs.")


class SyntheticOptions(Options):
    """A rendered conveyor line with known truth: no camera needed."""

    kind: Literal["synthetic"]
    size: tuple[_LineSide, _LineSide] = Field((640, 360), description="Picture size, [width, height].")
    fps: Number = Field(25.0, ge=0.2, le=1000, description="Frames per second of the line.")
    frames: Integer | None = Field(None, ge=1, description="How many frames before it ends; for ever if not given.")
    seed: Integer = Field(0, ge=0, description="Which parts come along; the same seed gives the same line.")
    realtime: bool = Field(True, description="Run at `fps` like a camera; false: as fast as it is analyzed.")


class AvOptions(Login):
    """A camera at an address, or a recording, through PyAV, which says why it failed and keeps what it read."""

    kind: Literal["av"]
    url: Url | None = Field(None, description="Address of a camera, without user name and password.")
    path: RelativePath | None = Field(None, description="The video file, in place of a camera.")
    transport: Literal["tcp", "udp"] = Field(
        "tcp", description="How an RTSP camera sends: tcp, or udp, which may lose."
    )
    open_timeout_s: Seconds = Field(5.0, description="How long opening may take before it counts as failed.")
    read_timeout_s: Seconds = Field(5.0, description="How long a camera may stay silent before it counts as lost.")
    loop: bool = Field(False, description="A recording: start again at the end, for ever.")
    realtime: bool = Field(False, description="A recording: play at its own speed; late frames are dropped.")
    decoder_threads: Integer = Field(1, ge=1, le=16, description="Decoder threads; each beyond 1 delays by a frame.")

    @field_validator("url")
    @classmethod
    def _of_a_camera(cls, url: str | None) -> str | None:
        return None if url is None else _scheme(url, "rtsp", "rtsps", "http", "https")

    @model_validator(mode="after")
    def _camera_or_recording(self) -> "AvOptions":
        if (self.url is None) == (self.path is None):
            msg = "a source is a camera or a recording: exactly one of url and path"
            raise ValueError(msg)
        of_others = ("loop", "realtime") if self.path is None else ("username", "password", "transport")
        for name in of_others:
            if name in self.model_fields_set:
                msg = f"{name} is for a {'recording (path)' if self.path is None else 'camera (url)'}"
                raise ValueError(msg)
        return self

    @property
    def shown(self) -> str:
        """What logs call it: the path, or the address without what is secret in it."""
        return str(self.path) if self.url is None else _shown(self.url)

    @field_serializer("url", when_used="json")
    def _dump_url(self, url: str | None) -> str | None:
        return None if url is None else _shown(url)

    def address(self) -> str:
        """The path, or the address with the credentials in it: for the library that opens it, never for a log.

        Raises ConfigError when the secret cannot be read.
        """
        return str(self.path) if self.url is None else _with_login(self.url, self)


SourceOptions: TypeAlias = Annotated[
    RtspOptions | HttpOptions | V4l2Options | FileOptions | ImagesOptions | SyntheticOptions | AvOptions,
    Field(discriminator="kind"),
]
