"""Makes bundles of what the catalogue names: from its public addresses, or from a mirror in a closed network."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from edge_vision.core.errors import ConfigError, DownloadError
from edge_vision.core.files import sha256_of, why_not_file, why_not_folder
from edge_vision.core.options import Url
from edge_vision.models.bundle import Bundle
from edge_vision.models.catalog.download import Downloader, Patience, Progress
from edge_vision.models.catalog.entries import Entry, RemoteFile
from edge_vision.models.writing import write_bundle

Get = Callable[[Entry, RemoteFile, Progress], Path]
"""Brings a file of a model here, its size and checksum proven. Raises DownloadError."""


@dataclass(frozen=True, slots=True)
class _Public:
    """The addresses of the catalogue."""

    downloader: Downloader

    def __call__(self, entry: Entry, file: RemoteFile, progress: Progress) -> Path:
        del entry
        return self.downloader.fetch(file, file.url, progress)


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that has `<name>/<file>` below an address."""

    downloader: Downloader
    base: str

    def __call__(self, entry: Entry, file: RemoteFile, progress: Progress) -> Path:
        url = f"{self.base.rstrip('/')}/{quote(entry.name)}/{quote(file.path)}"
        return self.downloader.fetch(file, url, progress)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that has `<name>/<file>` in it, such as a stick."""

    folder: Path

    def __call__(self, entry: Entry, file: RemoteFile, progress: Progress) -> Path:
        path = self.folder / entry.name / file.path
        if why := why_not_file(path):
            msg = f"{path}: {why}; the mirror must have it: edge-vision models pull {entry.name} --to-mirror DIR"
            raise DownloadError(msg)
        _check(path, file)
        progress(file.size, file.size)
        return path


def getter(mirror: str | None, patience: Patience | None = None) -> Get:
    """What fetches files: from a mirror alone (a folder, or an http or https address) when there is one.

    Raises ConfigError for a mirror that cannot be one.
    """
    if mirror is None:
        return _Public(Downloader(patience=patience))
    if "://" not in mirror:
        if why := why_not_folder(Path(mirror)):
            msg = f"--mirror {mirror}: {why}"
            raise ConfigError(msg)
        return _Folder(Path(mirror))
    scheme = mirror.partition("://")[0]
    if scheme not in {"http", "https"}:
        msg = f"--mirror: {scheme}:// is no address of a mirror: http://, https:// or a folder"
        raise ConfigError(msg)
    try:
        TypeAdapter(Url).validate_python(mirror)
    except ValidationError as error:
        msg = f"--mirror: {error.errors()[0]['ctx']['error']}"
        raise ConfigError(msg) from None  # the cause would repeat what may be a password
    return _Server(Downloader(plain_http=scheme == "http", patience=patience), mirror)


def pull(entry: Entry, target: Path, get: Get, progress: Progress) -> Bundle:
    """Make the bundle of a model in the folder `target`, whole or not at all.

    Raises ConfigError when `target` exists, before anything is fetched, and DownloadError.
    """
    if target.exists():
        msg = f"{target}: exists already; a bundle is never written over: name a new folder"
        raise ConfigError(msg)
    files: dict[str, Path | bytes] = {**_fetch_all(entry, get, progress)}
    return write_bundle(target, entry.content(), files)


def fill_mirror(entry: Entry, mirror: Path, get: Get, progress: Progress) -> Path:
    """Put the files of a model where `--mirror` looks for them; the folder. Raises ConfigError and DownloadError."""
    folder = mirror / entry.name
    for name, source in _fetch_all(entry, get, progress).items():
        path = folder / name
        fresh = folder / f".{name}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, fresh)
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            msg = f"{path}: cannot be written: {error.strerror}"
            raise ConfigError(msg) from error
    return folder


def is_pulled(entry: Entry, folder: Path) -> bool:
    """Whether a folder is the bundle of a model, as far as names and sizes tell."""
    there = [folder / file.path for file in entry.files]
    return (folder / "model.yaml").is_file() and all(
        path.is_file() and path.stat().st_size == file.size for path, file in zip(there, entry.files, strict=True)
    )


def _fetch_all(entry: Entry, get: Get, progress: Progress) -> dict[str, Path]:
    """Every file of a model; `progress` hears of all of them together."""
    before = 0
    files: dict[str, Path] = {}
    for file in entry.files:
        files[file.path] = get(entry, file, _shifted(progress, before, entry.size))
        before += file.size
    return files


def _shifted(progress: Progress, before: int, whole: int) -> Progress:
    return lambda done, _size: progress(before + done, whole)


def _check(path: Path, file: RemoteFile) -> None:
    """Raises DownloadError for a file that is not the one declared."""
    size = path.stat().st_size
    if size != file.size:
        msg = f"{path}: has {size} bytes, the catalogue says {file.size}"
        raise DownloadError(msg)
    actual = sha256_of(path)
    if actual != file.sha256:
        msg = f"{path}: has sha256 {actual}, the catalogue says {file.sha256}"
        raise DownloadError(msg)
