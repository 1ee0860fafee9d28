"""Fetches one file over HTTP: resumed where it stopped, never larger than declared, and checked before it counts."""

import errno
import fcntl
import http.client
import logging
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from edge_vision import __version__
from edge_vision.core.errors import DownloadError
from edge_vision.core.files import cache_folder, sha256_of
from edge_vision.models.catalog.entries import RemoteFile
from edge_vision.models.catalog.web import opener_for, translated
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.clock import Clock, SystemClock
from edge_vision.runtime.loops import keep_trying, until
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Is told the bytes that are there and the bytes expected."""

_BLOCK: Final = 1 << 16
_PROGRESS: Final = 1 << 16
"""An attempt that gets so much further than any before it is no failure in a row, however often the line drops."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def downloads_folder() -> Path:
    """Where downloads are kept, the finished and the unfinished; it may be emptied at any time."""
    return cache_folder() / "downloads"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what.

    `silence_s` is the wait for each connection and each piece; an attempt may take `start_s` and then a second for
    every `least_rate` bytes; after `failures` attempts in a row that got nowhere it is over. `lock_s` is the wait for
    another process that fetches the same file.
    """

    silence_s: float = 30.0
    start_s: float = 60.0
    least_rate: int = 4096
    failures: int = 5
    lock_s: float = 600.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0, most_s=15.0))


class Downloader:
    """Fetches files into `folder`, where a finished one is called by its checksum, an unfinished one `….part`.

    Addresses must be https, and so must what they redirect to; `plain_http` allows http as well, for a mirror that was
    named with it. Proxies are those of the environment (https_proxy, http_proxy, no_proxy).
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        plain_http: bool = False,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._folder = folder or downloads_folder()
        schemes = ("https", "http") if plain_http else ("https",)
        self._patience = patience or Patience()
        self._clock = clock or SystemClock()
        self._opener = opener_for(schemes)

    def fetch(self, file: RemoteFile, url: str, progress: Progress) -> Path:
        """The file, downloaded now or before; its size and checksum are those declared.

        Raises DownloadError. What had come by then is kept, and the next call goes on from there.
        """
        done = self._folder / file.sha256
        part = self._folder / f"{file.sha256}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._locked(file):
                if done.is_file() and sha256_of(done) == file.sha256:
                    progress(file.size, file.size)
                    return done
                self._download(file, url, part, progress)
                part.replace(done)
        except OSError as error:
            if isinstance(error, DownloadError):
                raise
            raise _unwritable(error, self._folder) from error
        return done

    @contextmanager
    def _locked(self, file: RemoteFile) -> Iterator[None]:
        """Keep out others that fetch the same file; the lock of a process that dies is free."""
        with (self._folder / f"{file.sha256}.lock").open("ab") as lock:

            def acquired() -> bool:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                return True

            limit_s = self._patience.lock_s
            if not until(acquired, lambda: self._clock.sleep(0.1), limit_s, self._clock):
                msg = f"{file.path}: another process has been fetching it for {limit_s:g} s"
                raise DownloadError(msg)
            yield

    def _download(self, file: RemoteFile, url: str, part: Path, progress: Progress) -> None:
        """Attempt it until the part is whole and right."""
        best = failures = 0
        further = False

        def attempt() -> None:
            nonlocal best, further
            had = best = max(best, _size(part))
            try:
                self._attempt(file, url, part, progress)
            finally:
                best = max(best, _size(part))
                further = best >= had + _PROGRESS

        def failed(error: Exception, delay_s: float) -> None:
            nonlocal failures
            failures = 1 if further else failures + 1
            if not isinstance(error, DownloadError) or not error.again:
                raise error
            if failures >= self._patience.failures:
                msg = f"{error}; given up after {failures} attempts"
                raise DownloadError(msg) from error
            _log.warning("%s; again in %.1f s", error, delay_s)

        here = Worker("download", lambda _: None, self._patience.silence_s, self._clock)
        keep_trying(attempt, here, self._patience.backoff, progressed=lambda: further, on_failure=failed)

    def _attempt(self, file: RemoteFile, url: str, part: Path, progress: Progress) -> None:
        """Fetch what is missing of the part; it is deleted when it turns out wrong."""
        have = _size(part)
        fresh = have == 0
        if have < file.size:
            fresh = self._get(file, url, part, have, progress)
        actual = sha256_of(part)
        if actual == file.sha256:
            return
        part.unlink()
        msg = f"{url}: has sha256 {actual}, the catalogue says {file.sha256}"
        # A part that was resumed may be of another version of the file: the whole of it is fetched once more.
        raise DownloadError(msg, again=not fresh)

    def _get(self, file: RemoteFile, url: str, part: Path, have: int, progress: Progress) -> bool:
        """Append what is missing; whether it came from the first byte on."""
        _check_room(part, file.size - have)
        headers = {"User-Agent": f"edge-vision/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the opener knows http and https only
        try:
            with self._opener.open(request, timeout=self._patience.silence_s) as answer:
                start = _where(answer, have, file, url, part)
                self._copy(answer, file, url, part, start, progress)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, DownloadError):
                raise
            if have and getattr(error, "code", 0) == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink()  # what lies there now is shorter than what was fetched: begin again
            raise translated(error, url) from error
        return start == 0

    def _copy(self, answer: Any, file: RemoteFile, url: str, part: Path, start: int, progress: Progress) -> None:
        patience = self._patience
        allowed_s = patience.start_s + (file.size - start) / patience.least_rate
        end_ns = self._clock.monotonic_ns() + int(allowed_s * 1e9)
        have = start
        with _opened(part, "ab" if start else "wb") as stream:
            for block in iter(lambda: answer.read1(_BLOCK), b""):
                have += len(block)
                if have > file.size:
                    stream.truncate(0)
                    msg = f"{url}: sends more than the {file.size} bytes that the catalogue says"
                    raise DownloadError(msg)
                _write(stream, block, part)
                progress(have, file.size)
                if self._clock.monotonic_ns() > end_ns and have < file.size:
                    msg = f"{url}: only {have} of {file.size} bytes within {allowed_s:.0f} s"
                    raise DownloadError(msg, again=True)
        if have < file.size:
            msg = f"{url}: ended after {have} of {file.size} bytes"
            raise DownloadError(msg, again=True)


def _where(answer: Any, have: int, file: RemoteFile, url: str, part: Path) -> int:
    """The byte that an answer starts at: where the part ends, or 0 from a server that does not resume."""
    length = answer.headers.get("Content-Length")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        msg = f"{url}: comes as {answer.headers['Content-Encoding']}, not as it is"
        raise DownloadError(msg)
    if answer.status == http.client.PARTIAL_CONTENT:
        wanted = f"bytes {have}-{file.size - 1}/{file.size}"
        given = answer.headers.get("Content-Range", "nothing")
        if given == wanted and have:
            return have
        part.unlink(missing_ok=True)
        msg = f"{url}: sends the range {given}, asked for was {wanted}"
        raise DownloadError(msg, again=True)
    if answer.status != http.client.OK:
        msg = f"{url}: {answer.status} {answer.reason}"
        raise DownloadError(msg)
    if length is not None and length != str(file.size):
        msg = f"{url}: offers {length} bytes, the catalogue says {file.size}"
        raise DownloadError(msg)
    return 0


def _opened(part: Path, mode: str) -> IO[bytes]:
    try:
        return cast("IO[bytes]", part.open(mode, buffering=0))
    except OSError as error:
        raise _unwritable(error, part) from error


def _write(stream: IO[bytes], block: bytes, part: Path) -> None:
    try:
        written = stream.write(block)
    except OSError as error:
        raise _unwritable(error, part) from error
    if written < len(block):  # a write that stops short is the last one that fits
        raise _unwritable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), part)


def _unwritable(error: OSError, path: Path) -> DownloadError:
    what = "the disk is full" if error.errno in _FULL else error.strerror
    return DownloadError(f"{path}: {what}")


def _check_room(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        msg = f"{part.parent}: needs {missing} bytes more, {free} are free"
        raise DownloadError(msg)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
