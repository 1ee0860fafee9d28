"""HTTP for downloads: which schemes are opened, and what a failure on the way means."""

import ssl
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import urlsplit

from edge_vision.core.errors import DownloadError

_TRANSIENT: Final = frozenset({408, 416, 425, 429, 500, 502, 503, 504})
"""Answers of a server that may be another one the next time (RFC 9110, 6585, 8470)."""


def translated(error: Exception, url: str) -> DownloadError:
    """What went wrong between here and a server, as a sentence, and whether it may be better soon."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return DownloadError(f"{url}: {error.code} {error.reason}", again=error.code in _TRANSIENT)
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(f"{url}: the server's certificate is not trusted: {reason.verify_message}")
    if isinstance(reason, TimeoutError):
        return DownloadError(f"{url}: no answer within the time limit", again=True)
    if isinstance(reason, OSError):
        return DownloadError(f"{url}: {reason.strerror or reason}", again=True)
    return DownloadError(f"{url}: {type(error).__name__}: {reason}", again=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the schemes allowed."""

    def __init__(self, schemes: tuple[str, ...]) -> None:
        self._schemes = schemes

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request that follows, or DownloadError."""
        if urlsplit(newurl).scheme not in self._schemes:
            fp.close()
            text = f"{req.full_url}: redirects to {newurl}, which is not {' or '.join(self._schemes)}"
            raise DownloadError(text)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener_for(schemes: tuple[str, ...]) -> urllib.request.OpenerDirector:
    """What opens addresses of these schemes and no others: no file:, no ftp:."""
    opener = urllib.request.OpenerDirector()
    handlers = [
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPSHandler(),
        _Redirects(schemes),
        *([urllib.request.HTTPHandler()] if "http" in schemes else []),
    ]
    for handler in handlers:
        opener.add_handler(handler)
    return opener
