"""Keeps what a runtime compiled, one folder per model, and trusts it only while it is as it was written."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Final

from edge_vision.core.files import cache_folder, sha256_of, write_whole
from edge_vision.core.model import ModelFile

_log = logging.getLogger(__name__)

_SEAL: Final = "sums.json"
_BAN: Final = "banned_for"
"""Names the version of the runtime that reads back something else than it wrote."""
_OURS: Final = frozenset({_SEAL, _BAN})


def open_blobs(runtime: str, file: ModelFile, version: str = "") -> Path | None:
    """The folder for what `runtime` compiles of a file, without anything damaged; None when it cannot be written.

    None, too, when this version of the runtime is banned from it.

    OpenVINO runs a blob with flipped bits without a word, and the golden check of a warm start is remembered: what
    does not have the checksum it was written with is removed here.
    """
    parts = "".join(sha256_of(part) for part in file.parts())
    folder = cache_folder() / runtime / hashlib.sha256(parts.encode()).hexdigest()[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if version and (folder / _BAN).exists() and (folder / _BAN).read_text(encoding="utf-8") == version:
            return None
        sealed = _sealed(folder)
        for name, checksum in _sums(folder).items():
            if sealed.get(name) != checksum:
                _log.info("%s: is not as it was written: compiled again", folder / name)
                (folder / name).unlink(missing_ok=True)  # another process may be doing the same
    except OSError as error:
        _log.info("%s: compiled models cannot be kept: %s", folder, error.strerror)
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def seal_blobs(folder: Path) -> None:
    """Write down what the folder holds now."""
    try:
        sums = _sums(folder)
        if sums != _sealed(folder):
            write_whole(folder / _SEAL, json.dumps(sums).encode())
    except OSError as error:
        _log.info("%s: compiled models cannot be kept: %s", folder, error.strerror)


def is_sealed(folder: Path) -> bool:
    """Whether everything in the folder was there, and proven, before this load."""
    try:
        return _sums(folder) == _sealed(folder)
    except OSError:  # another process removed what was damaged
        return False


def ban_blobs(folder: Path, version: str) -> None:
    """Remove what the folder holds, and have `version` of the runtime compile this file anew every time."""
    try:
        for name in _sums(folder):
            (folder / name).unlink(missing_ok=True)
        write_whole(folder / _BAN, version.encode())
    except OSError as error:
        _log.info("%s: compiled models cannot be removed: %s", folder, error.strerror)


def _sums(folder: Path) -> dict[str, str]:
    blobs = [part for part in sorted(folder.iterdir()) if part.is_file() and part.name not in _OURS]
    return {part.name: sha256_of(part) for part in blobs}


def _sealed(folder: Path) -> dict[str, str]:
    try:
        sums = json.loads((folder / _SEAL).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return sums if isinstance(sums, dict) else {}
