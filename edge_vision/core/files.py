"""Looks at files without ever stumbling: what is wrong with a path is a sentence, not an exception."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path


def why_not_file(path: Path) -> str:
    """Why `path` is no regular file that can be read; empty when it is."""
    return _why_not(path, stat.S_ISREG, "file", os.R_OK)


def why_not_folder(path: Path) -> str:
    """Why `path` is no folder that can be listed; empty when it is."""
    return _why_not(path, stat.S_ISDIR, "folder", os.R_OK | os.X_OK)


def sha256_of(path: Path) -> str:
    """The checksum of a file, in hexadecimal.

    That of a folder is the checksum of the list of its files by path, as `sha256sum` prints it.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        names = sorted(part.relative_to(path).as_posix() for part in path.rglob("*") if part.is_file())
        digest.update("".join(f"{sha256_of(path / name)}  {name}\n" for name in names).encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where to keep what can be made again: systemd's CacheDirectory=, or the user's own cache."""
    given = os.environ.get("CACHE_DIRECTORY")
    if given:
        return Path(given.split(":")[0])
    try:
        home = Path.home()
    except RuntimeError:  # a user that the system does not know, without HOME: what cannot be kept is made again
        home = Path("/")
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "edge-vision"


def write_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file so that it is there whole or not at all; with `sync` also after a power cut. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        fresh.replace(path)
        if sync:
            _sync_folder(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _why_not(path: Path, kind: Callable[[int], bool], name: str, access: int) -> str:
    try:
        mode = path.stat().st_mode
        allowed = os.access(path, access)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in {errno.ENOENT, errno.ENOTDIR}:
            return f"no such {name}"
        return str(getattr(error, "strerror", None) or error)
    if not kind(mode):
        return f"is not a {name}"
    return "" if allowed else os.strerror(errno.EACCES)
