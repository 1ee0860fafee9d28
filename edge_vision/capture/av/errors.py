"""What PyAV's errors mean, in words without the address that it puts into each: the password is in there."""

import errno
from typing import Any, Final

from edge_vision.capture.options import AvOptions
from edge_vision.core.errors import SourceError, SourceTimeoutError

REFUSED_PATIENCE_S: Final = 60.0
"""Cameras lock an account after some wrong passwords in a row: usually five in half a minute to half an hour."""

_AT_OPEN: Final = (
    ("HTTPNotFoundError", "has no such stream (404)"),
    ("HTTPTooManyRequestsError", "is asked too often (429)"),
    ("HTTPOtherClientError", "does not give this stream (an answer of 4xx: too many viewers, or another transport)"),
    ("HTTPBadRequestError", "does not understand the request (400)"),
    ("HTTPServerError", "has a fault of its own (an answer of 5xx)"),
    ("ConnectionRefusedError", "refuses the connection: nobody listens there"),
    ("ConnectionResetError", "closed the connection"),
    ("BrokenPipeError", "closed the connection"),
    ("EOFError", "closed the connection"),
    ("InvalidDataError", "is not a video, or not what the address says"),
    ("DecoderNotFoundError", "has a video of a kind that is not known here"),
    ("DemuxerNotFoundError", "has a video of a kind that is not known here"),
    ("ProtocolNotFoundError", "cannot be opened: this PyAV does not speak the protocol"),
    ("PermissionError", "may not be opened"),
)


def failed_to_open(av: Any, error: Any, options: AvOptions, tried_s: float) -> SourceError:
    """Why a source could not be opened; the camera's own answer where it gave one."""
    name, kinds = options.shown, av.error
    if isinstance(error, (kinds.HTTPUnauthorizedError, kinds.HTTPForbiddenError)):
        if options.username is None:
            msg = f"{name}: the camera wants a user name and a password"
        else:
            msg = f"{name}: the camera refused the user name or password"
        return SourceError(msg, patience_s=REFUSED_PATIENCE_S)
    if _timed_out(av, error) or (options.url is not None and tried_s >= options.open_timeout_s):
        # Interrupted, some demuxers and TLS libraries call it a broken stream.
        limit = f"(tried for {tried_s:.1f} s; open_timeout_s is {options.open_timeout_s:g})"
        return SourceTimeoutError(f"{name}: the camera does not answer {limit}")
    for kind, words in _AT_OPEN:
        if isinstance(error, getattr(kinds, kind, ())):
            return SourceError(f"{name}: {words}")
    if options.url is not None and error.errno == errno.EIO:  # also what an unknown host is
        return SourceError(f"{name}: cannot be reached, or broke off (no such host, or a connection that ended early)")
    if error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}:
        return SourceError(f"{name}: cannot be reached: {error.strerror}")
    return SourceError(f"{name}: cannot be opened: {error.strerror}")


def failed_to_read(av: Any, error: Any, options: AvOptions, waited_s: float) -> SourceError:
    """Why a source that was open gave no more packets."""
    if _timed_out(av, error) or (options.url is not None and waited_s >= options.read_timeout_s):
        return silent(options, waited_s)
    if options.path is not None:
        return SourceError(f"{options.shown}: damaged: {error.strerror}")
    return SourceError(f"{options.shown}: the stream ended: {error.strerror}")


def silent(options: AvOptions, waited_s: float, packets: int = 0) -> SourceTimeoutError:
    """No picture came in time; perhaps packets did."""
    what = f", though {packets} packets came: no key frame among them, or not to be decoded" if packets else ""
    limit = f"(read_timeout_s is {options.read_timeout_s:g})"
    return SourceTimeoutError(f"{options.shown}: no picture for {waited_s:.1f} s {limit}{what}")


def _timed_out(av: Any, error: Any) -> bool:
    return isinstance(error, (av.error.TimeoutError, av.error.ExitError))
